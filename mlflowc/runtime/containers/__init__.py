"""Stages in containers: which image, by digest; starting and surely ending it."""
