"""The parameter files of an imported project: which names the language can use, and which must be inputs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from mlflowc.diagnostic import Diagnostic
from mlflowc.ir.model import Value
from mlflowc.resolve import paramfile
from mlflowc.resolve.loader import Unreadable

_NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)


class ParamSet:
    """Files become `params` in the order in which they are first needed. `read` gives a file's text."""

    def __init__(self, read: Callable[[str], str | Unreadable]) -> None:
        self._read = read
        self._names: dict[str, frozenset[str]] = {}
        self._sections: dict[str, frozenset[str]] = {}
        self._values: dict[str, dict[str, Value]] = {}
        self._reasons: dict[str, str] = {}
        self._texts: dict[str, str | Unreadable] = {}

    @property
    def files(self) -> list[str]:
        """The files that are declared."""
        return list(self._names)

    def text(self, file: str) -> str | Unreadable:
        """A file's text, read once."""
        if file not in self._texts:
            self._texts[file] = self._read(file)
        return self._texts[file]

    def reason(self, file: str) -> str:
        """Why `file` cannot be a parameter file of the language; empty where it is one (and declared now)."""
        if file not in self._names and file not in self._reasons:
            reason = self._declare(file)
            if reason:
                self._reasons[file] = reason
        return self._reasons.get(file, "")

    def _declare(self, file: str) -> str:
        text = self.text(file)
        if isinstance(text, Unreadable):
            return f"it cannot be read: {text.reason}"
        raws = paramfile.read(file, text)
        if isinstance(raws, Diagnostic):
            return raws.message
        names = frozenset(r.name for r in raws)
        sections = _sections(names)
        for other, taken in self._names.items():
            clashes = (names & taken) | (names & self._sections[other]) | (sections & taken)
            if clashes:
                return f"`{min(clashes)}` is in `{other}`, too"
        if names & sections:
            return "it has a name that is a value and a section"
        self._names[file], self._sections[file] = names, sections
        self._values[file] = {r.name: r.value for r in raws}
        return ""

    def value(self, file: str, name: str) -> Value:
        """The value of a parameter of a declared file; None where there is none (or it is null)."""
        return self._values.get(file, {}).get(name)

    def has(self, file: str, key: str) -> bool:
        """Whether a declared file has a parameter or a section of that name, however it is spelled."""
        return "[" in key or key in self._names.get(file, ()) or key in self._sections.get(file, ())

    def spelled(self, file: str, key: str) -> str | None:
        """How the language writes the parameter or section `key` of a declared file: `a.b`, or `a.*`.
        None where it
        has no such name."""
        if not _NAME.fullmatch(key):
            return None
        if key in self._names.get(file, ()):
            return key
        return f"{key}.*" if key in self._sections.get(file, ()) else None


def _sections(names: Iterable[str]) -> frozenset[str]:
    """Every section around the names: `a` and `a.b` of `a.b.c`."""
    return frozenset(name[:n] for name in names for n, c in enumerate(name) if c == ".")
