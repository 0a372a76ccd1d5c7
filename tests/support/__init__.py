"""Builders and helpers that several tests share."""
