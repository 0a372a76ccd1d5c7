"""What a command needs around it: a shell of its own, variables of the host, the code that it runs."""

from __future__ import annotations

import re

from mlflowc.importing.dvcread import RawStage
from mlflowc.importing.templating import Piece, Text, joined
from mlflowc.ir import model as ir
from mlflowc.runtime import closure
from mlflowc.runtime.childenv import ALLOWED

OF_DVC = ("DVC_ROOT", "DVC_STAGE")

_VARIABLE = re.compile(r"(?<!\\)\$(?:\{([A-Za-z_]\w*)|([A-Za-z_]\w*))", re.ASCII)
_PIPE = re.compile(r"(?<![|>\\])\|(?!\|)")
_DOUBLE = re.compile(r'"(?:[^"\\]|\\.)*"')
_SINGLE = re.compile(r"'[^']*'")
_ASSIGNED = re.compile(r"(?:^|[\s;(&|])([A-Za-z_]\w*)=|\b(?:for|read)\s+([A-Za-z_]\w*)", re.ASCII)
# What changes the shell that runs it. Each command of DVC has a shell of its own.
_STATE = re.compile(
    r"(?:^|[;&|(]\s*)(?:(?:cd|pushd|popd|export|unset|set|shopt|source|\.|exit|exec|umask|ulimit|alias|trap)\b"
    r"|\w+=\S*\s*(?:;|&|$))"
)
# Set by bash itself.
_OF_BASH = frozenset(
    [
        "PWD",
        "OLDPWD",
        "SHLVL",
        "RANDOM",
        "SECONDS",
        "LINENO",
        "HOSTNAME",
        "UID",
        "EUID",
        "BASHPID",
        "PPID",
        "IFS",
        "_",
        "LANG",
        "LC_ALL",
        "TZ",
    ]
)


def separate(commands: list[Text]) -> list[Text]:
    """Puts commands that would change the shell of the next one into a subshell."""
    # A comment alone is a command that does nothing.
    commands = [(Piece(": "), *c) if joined(c).lstrip().startswith("#") else c for c in commands]
    if len(commands) < 2:
        return commands
    return [
        (Piece("("), *text, Piece(")"))
        if _STATE.search(joined(text).strip()) and "\n" not in joined(text) and "#" not in joined(text)
        else text
        for text in commands
    ]


def has_pipe(text: str) -> bool:
    """Whether a command sends what it prints to another."""
    return _PIPE.search(_DOUBLE.sub('""', _SINGLE.sub("''", text))) is not None


def host_variables(text: str) -> list[str]:
    """The variables that a command takes from its surroundings, as far as its text says."""
    bare = _SINGLE.sub("''", text)
    own = {a or b for a, b in _ASSIGNED.findall(bare)}
    used = [a or b for a, b in _VARIABLE.findall(bare)]
    return [n for n in dict.fromkeys(used) if n not in own and n not in ALLOWED and n not in _OF_BASH]


def code_of(scanner: closure.Scanner, raw: RawStage) -> frozenset[str]:
    """The files that the stage's commands run and import, which count without being named."""
    outputs = tuple(
        ir.Output(f"o{n}", ir.FileType("path"), o.path) for n, o in enumerate(raw.outs) if not o.external
    )
    stage = ir.Stage(raw.name, raw.name, ir.Place("", 1, 1), outputs=outputs, dir=raw.wdir or None)
    return frozenset(scanner.files(stage, [joined(text) for text, _ in raw.commands]))
