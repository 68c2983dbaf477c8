"""Demonstrations in the browser."""
