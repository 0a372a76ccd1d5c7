"""A report as a value: everything that a reviewer will see, and nothing of how it will look.

`build` makes it, `markdown` and `html` render it. Text in it is the user's or the data's: renderers
escape it.
"""

from __future__ import annotations

import base64
import dataclasses
import math
from dataclasses import dataclass
from typing import Any, TypeAlias

from mlflowc.ir import model as ir
from mlflowc.runtime.gates import GateResult
from mlflowc.runtime.tables import Cell

Spec: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Baseline:
    """What was compared with: the revision as written, its commit (None: there is none), a note on either.

    `found` is whether that commit has results at all; without, nothing is compared and the note says why.
    """

    revision: str
    commit: str | None
    note: str = ""
    found: bool = True


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric now and before. `stage` is the stage's id; a value is None where there is none. `lower` is
    whether less of it is better, None where that is not known; `unit` is ``""``, `s` or `B`."""

    stage: str
    output: str
    field: str
    now: float | None
    before: float | None = None
    lower: bool | None = None
    unit: str = ""

    @property
    def name(self) -> str:
        """The metric's dotted name."""
        return f"{self.stage}.{self.output}.{self.field}"

    @property
    def difference(self) -> float | None:
        """Now minus before, None where either is missing or not a finite number."""
        if self.now is None or self.before is None:
            return None
        difference = self.now - self.before
        return difference if math.isfinite(difference) else None

    @property
    def relative(self) -> float | None:
        """The difference as a share of the size of what was before, None where that is zero or unknown."""
        difference = self.difference
        return None if difference is None or not self.before else difference / abs(self.before)

    @property
    def verdict(self) -> str:
        """`better` or `worse`; nothing where it is the same, or which is which is not known."""
        if not self.difference or self.lower is None:
            return ""
        return "better" if (self.difference < 0) is self.lower else "worse"


@dataclass(frozen=True, slots=True)
class Metrics:
    """A table of metrics; `baseline` is None when the report asks for no comparison. `title` says whose they
    are where a report has several such tables."""

    rows: tuple[MetricRow, ...]
    baseline: Baseline | None = None
    title: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ParamRow:
    """One parameter now and before; `known` is whether the baseline has it, `gone` whether now lacks it."""

    name: str
    now: ir.Value = None
    before: ir.Value = None
    known: bool = True
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Params:
    """With a baseline the parameters that changed and the number of those that did not, else all of them."""

    rows: tuple[ParamRow, ...]
    unchanged: int = 0
    baseline: Baseline | None = None


@dataclass(frozen=True, slots=True)
class Chart:
    """One Vega-Lite picture, with the data in it. `caption` is empty when it is the only one of its plot.
    `given` is whether a stage wrote the specification."""

    spec: Spec
    caption: str = ""
    given: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Figures under `columns`, to read beside or instead of a picture."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot: pictures (none where there is nothing to draw), one sentence that says what they show, a digest
    of the figures, notes."""

    title: str
    charts: tuple[Chart, ...] = ()
    alt: str = ""
    digest: Table | None = None
    notes: tuple[str, ...] = ()
    baseline: Baseline | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """An image file's bytes, and what shows it: its media type and a file name."""

    media: str
    name: str
    data: bytes
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Image:
    """An image now, and before where the report compares and the baseline's is there and another one."""

    title: str
    pictures: tuple[Picture, ...] = ()
    notes: tuple[str, ...] = ()
    baseline: Baseline | None = None


@dataclass(frozen=True, slots=True)
class Inserted:
    """A value that took the place of a placeholder: never markup."""

    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """The author's words in Markdown, with values in them."""

    parts: tuple[str | Inserted, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StageRow:
    """A stage. Its state is `ran` or `cached` in the run that reports, else `current` (up to date), `changed`
    (its result is of older inputs) or `missing`; `seconds` is how long the run that made the result took,
    `cost` what it cost where its runner has a price. `why` says what is different from before."""

    stage: str
    state: str
    seconds: float | None = None
    why: str = ""
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages that the report shows. A baseline is what `why` compares with."""

    rows: tuple[StageRow, ...]
    baseline: Baseline | None = None


@dataclass(frozen=True, slots=True)
class DataRow:
    """A data source: where it comes from, its content's hash and size in bytes where known.

    `rows` and `columns` are those of a table that is here. `checked` is `good` or `bad` against its declared
    type, nothing where it was not or need not be checked; `findings` are the rules it breaks. `changes` are
    what is different from the baseline, in words, and `profile` its columns now and before.
    """

    name: str
    source: str
    hash: str | None = None
    size: int | None = None
    rows: int | None = None
    columns: int | None = None
    checked: str = ""
    findings: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    profile: Table | None = None


@dataclass(frozen=True, slots=True)
class Data:
    """The data sources behind the report."""

    rows: tuple[DataRow, ...]
    baseline: Baseline | None = None


@dataclass(frozen=True, slots=True)
class Notebook:
    """What the cells of a notebook put out, in order: text, or pictures."""

    title: str
    parts: tuple[str | Picture, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Graph:
    """The pipeline's graph, drawn for a page (`svg`), for a service that knows Mermaid, and as text."""

    svg: str
    mermaid: str
    text: str
    summary: str


@dataclass(frozen=True, slots=True)
class Gates:
    """Gates decided in the same run."""

    results: tuple[GateResult, ...]


Section: TypeAlias = Metrics | Params | Plot | Image | Notebook | Text | Stages | Data | Graph | Gates


@dataclass(frozen=True, slots=True)
class Document:
    """A whole report. `missing` are stages without a result, `changed` those whose result is out of date;
    `help` is the command that mends both. `commit` is that of the checkout, None outside of git, and
    `edited` whether files differ from it. `notes` are those of the baselines, each once: what could not be
    compared with, or which commit was taken."""

    pipeline: str
    name: str
    sections: tuple[Section, ...]
    commit: str | None = None
    edited: bool = False
    missing: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    help: str = ""
    notes: tuple[str, ...] = ()


def trimmed(document: Document, most: int = 100) -> Document:
    """The document with at most so many plots and images: more are for the page, or for nobody."""
    kept: list[Section] = []
    left = 0
    for section in document.sections:
        if isinstance(section, Plot | Image) and sum(isinstance(s, Plot | Image) for s in kept) >= most:
            left += 1
        else:
            kept.append(section)
    if not left:
        return document
    notes = (*document.notes, f"{left} more plots and images are left out here")
    return dataclasses.replace(document, sections=tuple(kept), notes=notes)


def to_json(document: Document) -> dict[str, Any]:
    """The document as JSON values; each section carries its `kind`, images are base64."""
    value = _json(document)
    assert isinstance(value, dict)
    return value


def _json(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, float) and value != value:
        return "nan"
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return "inf" if value > 0 else "-inf"
    if isinstance(value, list | tuple):
        return [_json(v) for v in value]
    if isinstance(value, dict):
        return {str(k): _json(v) for k, v in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _json(getattr(value, f.name)) for f in dataclasses.fields(value)}
        if isinstance(value, MetricRow):
            fields |= {"difference": _json(value.difference), "relative": _json(value.relative)}
            fields["verdict"] = value.verdict
        if isinstance(value, GateResult):
            fields["passed"] = value.passed
        return {"kind": type(value).__name__.lower(), **fields} if isinstance(value, Section) else fields
    return value
