"""The typed pipeline: what the source means, with the place of everything. Rules read this.

A node's `value` is what the IR will hold; beside it stand the places where it was written. One stage
instance of `each` is one node, so several nodes can share their places (equal diagnostics are merged).
Nodes are in the order of the source; `mlflowc.lower` puts stages in topological order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from mlflowc.frozen import dataclass
from mlflowc.ir import model as ir
from mlflowc.span import Source, Span
from mlflowc.syntax import ast

T = TypeVar("T")
S = TypeVar("S", ir.Stage, ir.Action)


class Reference(NamedTuple):
    """A name used at `span` that means the thing declared at `target`.

    `kind` is one of `stage data sweep gate report action env runner type component output param`;
    `name` is the thing's full name: `prepare`, `prepare.clean` for an output, `train.lr` for a parameter.
    """

    span: Span
    kind: str
    name: str
    target: Span


@dataclass(frozen=True, slots=True)
class Part(Generic[T]):
    """One item of a declaration: `span` is its name, `whole` the item; `type` and `source` (what stands
    behind `=`) are None where not written."""

    value: T
    span: Span
    whole: Span
    type: Span | None = None
    source: Span | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """A command or a text with its placeholders: `span` is the literal, `slots` the text inside each `{{
    }}`."""

    value: ir.Template
    span: Span
    slots: tuple[Part[ir.Slot], ...] = ()


@dataclass(frozen=True, slots=True)
class Block(Generic[T]):
    """An `env`, `runner`, `auth`, `cache`, `ci`, `data`, `gate`, `report`, `sweep`, `on`.

    `span` is its name (the keyword where it has none); `settings` gives the place of each setting's value
    by key. `parts` are its items other than settings, in order: `ir.Requirement` of a gate,
    `ir.ReportItem` of a report, `ir.Vary` of a sweep, `ir.EventInput` of an event.
    """

    value: T
    span: Span
    whole: Span
    settings: Mapping[str, Span]
    parts: tuple[Part[Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """An `on`. `run` and `refresh` hold what each written name stands for, `params` the values of `with`."""

    value: ir.Event
    span: Span
    whole: Span
    settings: Mapping[str, Span]
    run: tuple[Part[tuple[str, ...]], ...]
    refresh: tuple[Part[str], ...]
    params: tuple[Part[str], ...]
    inputs: tuple[Part[ir.EventInput], ...]


@dataclass(frozen=True, slots=True)
class Step(Generic[S]):
    """A stage (one instance of it) or an action.

    `params` are the written names and what each expands to; `after` likewise. `texts` are its commands.
    `component` is the component it was made of, in whose file the places of its items then lie.
    """

    value: S
    span: Span
    whole: Span
    settings: Mapping[str, Span]
    inputs: tuple[Part[ir.Input], ...]
    params: tuple[Part[tuple[str, ...]], ...]
    outputs: tuple[Part[ir.Output], ...]
    keeps: tuple[Part[ir.Keep], ...]
    after: tuple[Part[tuple[str, ...]], ...]
    texts: tuple[Text, ...]
    component: str | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """The typed pipeline.

    `sources` are all source files read, by the name that spans carry (parameter files too); `files` are
    the trees of the `.mlpipe` files, the main one first. `header` is where the pipeline gets its name.
    `params` spans lie in the parameter file where that is known, else where the file is named.
    """

    name: str
    edition: int
    file: str
    header: Span
    sources: Mapping[str, Source]
    files: tuple[ast.File, ...]
    params: tuple[Part[ir.Param], ...]
    envs: tuple[Block[ir.Env], ...]
    runners: tuple[Block[ir.Runner], ...]
    data: tuple[Block[ir.Data], ...]
    stages: tuple[Step[ir.Stage], ...]
    sweeps: tuple[Block[ir.Sweep], ...]
    gates: tuple[Block[ir.Gate], ...]
    reports: tuple[Block[ir.Report], ...]
    actions: tuple[Step[ir.Action], ...]
    events: tuple[Event, ...]
    auths: tuple[Block[ir.Auth], ...]
    cache: Block[ir.Cache] | None
    ci: Block[ir.Ci] | None
    secrets: tuple[Part[str], ...]
    references: tuple[Reference, ...]
