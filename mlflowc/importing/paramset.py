"""The parameter files of an imported project: which names the language can use, and which must be inputs."""

from __future__ import annotations

import re
from collections.abc import Callable

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
        for other, taken in self._names.items():
            clash = next((n for n in sorted(names) if _clashes(n, taken)), None)
            if clash is not None:
                return f"`{clash}` is in `{other}`, too"
        if any(_clashes(n, names - {n}) for n in names if "." in n):
            return "it has a name that is a value and a section"
        self._names[file] = names
        self._values[file] = {r.name: r.value for r in raws}
        return ""

    def value(self, file: str, name: str) -> Value:
        """The value of a parameter of a declared file; None where there is none (or it is null)."""
        return self._values.get(file, {}).get(name)

    def has(self, file: str, key: str) -> bool:
        """Whether a declared file has a parameter or a section of that name, however it is spelled."""
        names = self._names.get(file, frozenset())
        return any(n == key or n.startswith(f"{key}.") for n in names) or "[" in key

    def spelled(self, file: str, key: str) -> str | None:
        """How the language writes the parameter or section `key` of a declared file: `a.b`, or `a.*`.
        None where it
        has no such name."""
        names = self._names.get(file, frozenset())
        if not _NAME.fullmatch(key):
            return None
        if key in names:
            return key
        members = [n for n in names if n.startswith(key + ".")]
        return f"{key}.*" if members else None


def _clashes(name: str, taken: frozenset[str]) -> bool:
    parts = name.split(".")
    above = {".".join(parts[:n]) for n in range(1, len(parts) + 1)}
    return bool(above & taken) or any(t.startswith(name + ".") for t in taken)
