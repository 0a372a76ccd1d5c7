"""Diagnostics out: one module a format, each with one function `render`."""
