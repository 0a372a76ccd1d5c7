"""Diagnostics out: one module a format."""
