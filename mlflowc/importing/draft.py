"""A pipeline on its way to text: what the readers of other formats make, and `write` writes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mlflowc.importing.shellplace import Command
from mlflowc.importing.templating import Text


@dataclass(frozen=True, slots=True)
class Ref:
    """The output `output` of the stage draft `stage` (its index)."""

    stage: int
    output: str


@dataclass(frozen=True, slots=True)
class DataUse:
    """The `data` declaration of that name."""

    data: str


@dataclass(frozen=True, slots=True)
class PathUse:
    """A path of the project."""

    path: str


Source = Ref | DataUse | PathUse


@dataclass(frozen=True, slots=True)
class InputDraft:
    """An `in`. More than one source makes it a list."""

    name: str
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class OutputDraft:
    """An `out`, or with `kept` a `keep`. `type` is as it is written, empty for none."""

    name: str
    path: Text
    type: str = ""
    comment: str = ""
    kept: bool = False


@dataclass(slots=True)
class StageDraft:
    """A stage, or one instance of a group: `each` are the variables of the iteration with their values.

    `commands` have the values of those variables in them, `symbolic` their placeholders.
    """

    name: str
    group: str
    each: tuple[tuple[str, str | int | float | bool], ...] = ()
    comments: list[str] = field(default_factory=list)
    inputs: list[InputDraft] = field(default_factory=list)
    params: list[str] = field(default_factory=list)
    outputs: list[OutputDraft] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    symbolic: list[Command] = field(default_factory=list)
    dir: str = ""
    env: str = ""
    runner: str = ""
    timeout: str = ""
    secrets: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class DataDraft:
    """A `data` declaration: what stands behind its `=`."""

    source: str
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Show:
    """A line of a report: `plot train.curve { x = epoch }`; `text` is that of a `text`, `vs` the revision
    compared with."""

    kind: str
    ref: Ref | None = None
    settings: tuple[str, ...] = ()
    text: str = ""
    vs: str = ""


@dataclass(slots=True)
class EnvDraft:
    """The environment of all stages."""

    python: str = ""
    requirements: str = ""
    lock: str = ""
    vars: dict[str, str] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether it says nothing."""
        return not (self.python or self.requirements or self.lock or self.vars)


@dataclass(frozen=True, slots=True)
class ParamDraft:
    """A parameter declared in place: `type` and `default` as they are written."""

    type: str
    default: str


@dataclass(slots=True)
class ReportDraft:
    """A report."""

    name: str
    lines: list[Show] = field(default_factory=list)


@dataclass(slots=True)
class BlockDraft:
    """A declaration that is lines in braces: `head` as in `on push("main")`, lines as they are written."""

    head: str
    lines: list[str]
    comments: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Draft:
    """The whole file. `params` are parameter files, `declared` parameters in place; `passed` are the host's
    variables that commands use (those of stages whose `env` is `host`)."""

    name: str
    comments: list[str] = field(default_factory=list)
    params: list[str] = field(default_factory=list)
    declared: dict[str, ParamDraft] = field(default_factory=dict)
    env: EnvDraft = field(default_factory=EnvDraft)
    passed: set[str] = field(default_factory=set)
    blocks: list[BlockDraft] = field(default_factory=list)
    data: dict[str, DataDraft] = field(default_factory=dict)
    stages: list[StageDraft] = field(default_factory=list)
    reports: list[ReportDraft] = field(default_factory=list)
    events: list[BlockDraft] = field(default_factory=list)


def identifier(text: str, fallback: str) -> str:
    """`text` as a name of the language."""
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    if not name:
        return fallback
    return name if name[0].isalpha() else f"{fallback}_{name}"


def free(base: str, taken: set[str]) -> str:
    """`base`, with a number where it is taken; takes it."""
    name, number = base, 2
    while name in taken:
        name, number = f"{base}_{number}", number + 1
    taken.add(name)
    return name
