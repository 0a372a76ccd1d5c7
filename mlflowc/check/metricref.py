"""References to metrics: a field of what a stage writes, or of a data source, and the rows of a table."""

from __future__ import annotations

from typing import NamedTuple

from mlflowc.check import lattice
from mlflowc.check.context import Context
from mlflowc.check.datasources import DataTable
from mlflowc.check.references import Chain, Reached, ReachedData, References
from mlflowc.diagnostic import Check, Label, Severity
from mlflowc.ir import model as ir
from mlflowc.span import Span
from mlflowc.spell import nearest

NO_METRIC = Check(
    "MLP244",
    Severity.ERROR,
    "a metric that no one writes",
    """
A gate, a report or a goal names a field of a `metrics` output: `train.scores.auc` needs
`out scores: metrics { auc: float } = "metrics.json"` in `train`.

```mlpipe fails
mlpipe 1
pipeline example
stage train {
  out scores: metrics { auc: float } = "metrics.json"
  run = "train {{scores}}"
}
gate quality { require train.scores.accuracy >= 0.8 }
```

```mlpipe
mlpipe 1
pipeline example
stage train {
  out scores: metrics { accuracy: float, auc: float } = "metrics.json"
  run = "train {{scores}}"
}
gate quality { require train.scores.accuracy >= 0.8 }
```
""",
)
CHECKS = (NO_METRIC,)


class MetricOf(NamedTuple):
    """A field of a metrics output of some instances, or of a data source."""

    stages: tuple[str, ...]
    output: str
    field: str
    many: bool
    column: ir.Column
    data: str | None = None


class RowsOf(NamedTuple):
    """The rows of a table output."""

    stages: tuple[str, ...]
    output: str


def metric(
    ctx: Context, references: References, at: Chain, data: DataTable | None = None
) -> MetricOf | RowsOf | None:
    """The metric, or the number of rows, that `at` names; None with a diagnostic. With `data`, a field of a
    data source will do, too."""
    reached = references.follow(at, {})
    if reached is None:
        return None
    if isinstance(reached, ReachedData) and data is not None:
        source = data.get(reached.entry.name)
        if source is None:
            return None
        if source.value.type.kind == "metrics":
            name = ".".join(n.text for n in reached.rest)
            column = next((c for c in source.value.type.columns if c.name == name), None)
            if column is not None:
                return MetricOf((), "", name, False, column, reached.entry.name)
            ctx.report(
                NO_METRIC, f"`{reached.entry.name}` has no field `{name}`" if name else "one field is wanted",
                at.span, related=(Label(source.span, "declared here"),),
                help="it has " + (", ".join(f"`{c.name}`" for c in source.value.type.columns) or "no fields"),
            )  # fmt: skip
            return None
    if not isinstance(reached, Reached):
        ctx.report(NO_METRIC, f"`{at.text}` is data, and only stages write metrics", at.span)
        return None
    kind, offer = reached.offer.type.kind, reached.offer
    stages = tuple(i.id for i in reached.instances)
    field = ".".join(n.text for n in reached.rest)
    declared = (Label(offer.declared, "declared here"),)
    if field == "rows" and (kind in lattice.TABLES or kind == "any"):
        return RowsOf(stages, offer.name)
    if kind == "any":
        return None
    if kind != "metrics":
        ctx.report(
            NO_METRIC, f"`{reached.signature.name}.{offer.name}` is {lattice.article(kind)}, not metrics",
            at.span, related=declared,
            help=f"declare it as `metrics {{ {field or 'auc'}: float }}`"
            if kind in ("json", "yaml", "file") else "",
        )  # fmt: skip
        return None
    fields = {c.name: c for c in offer.type.columns}
    if field in fields:
        return MetricOf(stages, offer.name, field, reached.many, fields[field])
    if not field:
        ctx.report(NO_METRIC, f"`{at.text}` are metrics, and one field of them is wanted", at.span,
                   related=declared,
                   help="write " + ", ".join(f"`{at.text}.{f}`" for f in list(fields)[:4])
                   if fields else "declare its fields")  # fmt: skip
        return None
    span = Span(at.span.file, reached.rest[0].span.start, reached.rest[-1].span.end)
    guess = nearest(field, fields)
    ctx.report(
        NO_METRIC, f"`{reached.signature.name}.{offer.name}` has no field `{field}`", span, related=declared,
        help=f"write `{guess}`?" if guess else f"add `{field}: float` to it",
    )  # fmt: skip
    return None
