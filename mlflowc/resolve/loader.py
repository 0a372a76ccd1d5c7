"""The compiler's only window to the outside: a port that answers questions about the project's files.

The compiler asks, and never opens anything itself. `Recorder` remembers each question and its answer, so
that a compiled pipeline can be kept and found stale without compiling again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol


class Unreadable(NamedTuple):
    """Why a file gave no text: `reason` is a phrase that ends a sentence, such as `there is no such file`.

    `offset` is the byte where it stops being UTF-8, where that is the reason.
    """

    reason: str
    offset: int | None = None


class Loader(Protocol):
    """Answers about the project folder. Paths are POSIX, relative to it; `..` may lead outside."""

    def read(self, path: str) -> str | Unreadable:
        """The file's text (UTF-8, without a byte order mark)."""

    def kind(self, path: str) -> str:
        """`file`, `dir`, or `missing`."""

    def glob(self, pattern: str) -> tuple[str, ...]:
        """The files that match, sorted; `**` crosses folders."""

    def stdlib(self, name: str) -> str | None:
        """The text of the standard library's file (`std/notebook` is `notebook`), or None."""

    def stdlib_asset(self, name: str) -> bytes | None:
        """The bytes of a file that ships with the standard library's components, or None."""

    def stdlib_names(self) -> tuple[str, ...]:
        """All files of the standard library as `use` writes them, sorted."""


class Asked(NamedTuple):
    """Everything that was asked and answered: it decides the compiled pipeline, beside the tool's version."""

    texts: Mapping[str, str | None]
    kinds: Mapping[str, str]
    globs: Mapping[str, tuple[str, ...]]


class Recorder:
    """A loader that asks another one, once for each question, and remembers."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._texts: dict[str, str | Unreadable] = {}
        self._kinds: dict[str, str] = {}
        self._globs: dict[str, tuple[str, ...]] = {}

    def read(self, path: str) -> str | Unreadable:
        """See `Loader.read`."""
        if path not in self._texts:
            self._texts[path] = self._loader.read(path)
        return self._texts[path]

    def kind(self, path: str) -> str:
        """See `Loader.kind`."""
        if path not in self._kinds:
            self._kinds[path] = self._loader.kind(path)
        return self._kinds[path]

    def glob(self, pattern: str) -> tuple[str, ...]:
        """See `Loader.glob`."""
        if pattern not in self._globs:
            self._globs[pattern] = self._loader.glob(pattern)
        return self._globs[pattern]

    def stdlib(self, name: str) -> str | None:
        """See `Loader.stdlib`. Not recorded: the tool's version stands for it."""
        return self._loader.stdlib(name)

    def stdlib_asset(self, name: str) -> bytes | None:
        """See `Loader.stdlib_asset`. Not recorded: the tool's version stands for it."""
        return self._loader.stdlib_asset(name)

    def stdlib_names(self) -> tuple[str, ...]:
        """See `Loader.stdlib_names`."""
        return self._loader.stdlib_names()

    def asked(self) -> Asked:
        """The questions so far; a text is None where there was none to read."""
        texts = {p: t if isinstance(t, str) else None for p, t in self._texts.items()}
        return Asked(texts, dict(self._kinds), dict(self._globs))
