"""Codecs that others published: importers and wrappers."""
