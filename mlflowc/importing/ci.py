"""What files of CI services say, in one form: jobs with their triggers, their machine and their commands."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field

from mlflowc.importing.coverage import Place
from mlflowc.importing.yamltree import Scalar


@dataclass(frozen=True, slots=True)
class Wanted:
    """An input that a person gives when starting a run by hand. `type` is `str`, `float`, `bool` or
    `enum […]`.
    """

    name: str
    type: str
    default: Scalar
    place: Place


@dataclass(frozen=True, slots=True)
class Trigger:
    """When a job runs. `kind` is an event of the language."""

    kind: str
    place: Place
    pattern: str = ""
    cron: str = ""
    zone: str = ""
    paths: tuple[str, ...] = ()
    inputs: tuple[Wanted, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """A command of a job: one logical line of the shell, with the text of its here-document.

    `guard` is the condition under which alone it runs, as the service writes it.
    """

    text: str
    place: Place
    here: str = ""
    guard: str = ""
    secrets: tuple[str, ...] = ()
    vars: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Job:
    """One job. `labels` are those of the service's runners that it asks for, `timeout` is in minutes."""

    service: str
    name: str
    place: Place
    triggers: list[Trigger] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    python: str = ""
    labels: tuple[str, ...] = ()
    gpu: bool = False
    timeout: int | None = None
    vars: dict[str, str] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)


_HERE = re.compile(r"<<-?\s*(['\"]?)(\w+)\1")


def logical(script: str, place: Place, first: int = 1) -> list[Line]:
    """The lines of a script: those that `\\` continues are joined, here-documents go with their command.
    `first` is how far the first line stands below `place`."""
    found: list[Line] = []
    rows = script.split("\n")
    at = 0
    while at < len(rows):
        at_line = Place(place.file, place.line + first + at)
        text = rows[at].rstrip("\r")
        while text.endswith("\\") and at + 1 < len(rows):
            at += 1
            text = text[:-1] + " " + rows[at].strip()
        here: list[str] = []
        match = _HERE.search(text)
        if match is not None:
            at += 1
            while at < len(rows) and rows[at].strip() != match[2]:
                here.append(rows[at])
                at += 1
            text = text[: match.start()] + text[match.end() :]
        at += 1
        stripped = text.strip()
        if stripped and not stripped.startswith("#"):
            parts = [stripped] if here else split(stripped)
            found += [Line(part, at_line, "\n".join(here)) for part in parts]
    return found


def split(text: str) -> list[str]:
    """A line cut at `&&` and `;` outside of quotes and brackets."""
    parts, start, at, depth, quote = [], 0, 0, 0, ""
    while at < len(text):
        char = text[at]
        if quote:
            at += 1 if char == "\\" and quote == '"' else 0
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == "\\":
            at += 1
        elif char in "({":
            depth += 1
        elif char in ")}":
            depth -= 1
        elif depth == 0 and (char == ";" or text.startswith("&&", at)):
            parts.append(text[start:at])
            at += 1 if char == "&" else 0
            start = at + 1
        at += 1
    parts.append(text[start:])
    return [p.strip() for p in parts if p.strip()]


def words(text: str) -> list[str]:
    """The words of a command; those of a text that is no whole command are what stands between spaces."""
    try:
        return shlex.split(text, comments=True)
    except ValueError:
        return text.split()


def is_variable(name: str) -> bool:
    """Whether `name` can be that of an environment variable."""
    return re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) is not None


def minutes(value: Scalar) -> int | None:
    """A number of minutes."""
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else 0.0
    except ValueError:
        return None
    return int(number) if 1 <= number < 100_000 else None


def python_version(value: str) -> str:
    """`3.11` of `3.11.4`, `python:3.11-slim` and the like; empty where there is none."""
    found = re.search(r"(?<![\d.])3\.(\d{1,2})(?!\d)", value)
    return f"3.{found[1]}" if found and 8 <= int(found[1]) <= 99 else ""
