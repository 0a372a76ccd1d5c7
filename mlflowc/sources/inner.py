"""Names that others made up: whether a path stays in the folder that it is written in."""

from __future__ import annotations


def is_inner(path: str) -> bool:
    """Whether a relative path, with `/`, names something inside of its folder, whatever else is there."""
    return "\0" not in path and not {"", ".", ".."}.intersection(path.split("/"))
