"""Hashing, caching, running: the same on a laptop and in every CI service."""
