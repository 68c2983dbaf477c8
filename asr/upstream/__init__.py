"""Importers of what others published, each strict about the names and shapes that it knows."""
