"""Names that every service, shell and file system takes."""

from __future__ import annotations

import re

_LONGEST = 64


def slug(text: str) -> str:
    """`text` in `[a-z_][a-z0-9_-]*`, at most 64 characters: `train[de]` is `train-de`.

    A longer one ends in a piece of its hash, so that two long names stay two.
    """
    short = re.sub(r"[^a-z0-9_]+", "-", text.lower()).strip("-")
    if not short or not (short[0].isalpha() or short[0] == "_"):
        short = f"_{short}"
    if len(short) > _LONGEST:
        import hashlib  # few names are that long

        short = f"{short[: _LONGEST - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return short


def variable(text: str) -> str:
    """`text` as the name of an environment variable: `train.epochs` is `TRAIN_EPOCHS`."""
    return re.sub(r"[^A-Z0-9]+", "_", text.upper()).strip("_")


class Names:
    """Hands out names, each once: a second `train-de` becomes `train-de-2`."""

    def __init__(self, taken: tuple[str, ...] = ()) -> None:
        self._taken = set(taken)

    def take(self, wanted: str, separator: str = "-") -> str:
        """`wanted`, or with the first number that makes it new."""
        name, n = wanted, 1
        while name in self._taken:
            n += 1
            name = f"{wanted}{separator}{n}"
        self._taken.add(name)
        return name
