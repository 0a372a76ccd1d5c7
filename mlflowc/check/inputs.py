"""Inputs of stages and actions: what each is made of, and whether the producer's type fits."""

from __future__ import annotations

import posixpath
import re
from dataclasses import replace

from mlflowc.check import assets, infer, lattice, unbuilt, values
from mlflowc.check.context import Context
from mlflowc.check.datasources import DataTable
from mlflowc.check.lattice import ANY, Misfit, spell
from mlflowc.check.model import Part
from mlflowc.check.references import Chain, ReachedData, References, chain
from mlflowc.check.signatures import Scalar, filled, settle, shown
from mlflowc.check.types import Types
from mlflowc.diagnostic import Check, Diagnostic, Label, Severity
from mlflowc.ir import model as ir
from mlflowc.resolve.scope import Scope
from mlflowc.span import Span
from mlflowc.syntax import ast

MISSING_COLUMN = Check(
    "MLP212",
    Severity.ERROR,
    "a column that the producer does not have",
    """
The input asks for a column or a field, and the output that it reads does not declare it. What a type does not
declare is not promised: add the column to the producer's type, where it is checked on the real file, or
drop it here.

```mlpipe fails
mlpipe 1
pipeline example
stage prepare {
  out clean: csv { id: int } = "clean.csv"
  run = "make {{clean}}"
}
stage train {
  in  data: csv { id: int, plan: str } = prepare.clean
  run = "train {{data}}"
}
```

```mlpipe
mlpipe 1
pipeline example
stage prepare {
  out clean: csv { id: int, plan: str } = "clean.csv"
  run = "make {{clean}}"
}
stage train {
  in  data: csv { id: int, plan: str } = prepare.clean
  run = "train {{data}}"
}
```
""",
)
MISMATCH = Check(
    "MLP213",
    Severity.ERROR,
    "a column of another type",
    """
Producer and consumer both declare the column, with types that do not fit. An `int` fits a `float`, an
`enum` fits a `str` and a wider `enum`; what may be absent (`int?`) does not fit what may not.

```mlpipe fails
mlpipe 1
pipeline example
stage prepare {
  out clean: csv { id: str } = "clean.csv"
  run = "make {{clean}}"
}
stage train {
  in  data: csv { id: int } = prepare.clean
  run = "train {{data}}"
}
```

```mlpipe
mlpipe 1
pipeline example
stage prepare {
  out clean: csv { id: int } = "clean.csv"
  run = "make {{clean}}"
}
stage train {
  in  data: csv { id: int } = prepare.clean
  run = "train {{data}}"
}
```
""",
)
WIDER = Check(
    "MLP214",
    Severity.ERROR,
    "a constraint that the producer does not keep",
    """
The input asks for values within limits, and the producer's type promises less, or nothing. Give the
producer's column a constraint at least as narrow; it is then checked on the real file.

```mlpipe fails
mlpipe 1
pipeline example
stage prepare {
  out clean: csv { age: int in 0..200 } = "clean.csv"
  run = "make {{clean}}"
}
stage train {
  in  data: csv { age: int in 0..120 } = prepare.clean
  run = "train {{data}}"
}
```

```mlpipe
mlpipe 1
pipeline example
stage prepare {
  out clean: csv { age: int in 0..120 } = "clean.csv"
  run = "make {{clean}}"
}
stage train {
  in  data: csv { age: int in 0..120 } = prepare.clean
  run = "train {{data}}"
}
```
""",
)
KIND = Check(
    "MLP215",
    Severity.ERROR,
    "a kind of file that does not fit",
    """
Kinds widen from the special to the general: `csv` fits `table`, `text`, `file` and `path`; a `dir` never
fits a `file`. The input wants a kind that the output is not.

```mlpipe fails
mlpipe 1
pipeline example
stage train {
  out model = "model.pkl"
  run = "train {{model}}"
}
stage plot {
  in  data: csv = train.model
  run = "plot {{data}}"
}
```

```mlpipe
mlpipe 1
pipeline example
stage train {
  out model = "model.pkl"
  run = "train {{model}}"
}
stage plot {
  in  data: model = train.model
  run = "plot {{data}}"
}
```
""",
)
CHECKS = (MISSING_COLUMN, MISMATCH, WIDER, KIND)

_BY_ASPECT = {"column": MISSING_COLUMN, "type": MISMATCH, "constraint": WIDER, "kind": KIND}


class Inputs:
    """Reads the `in` items of steps."""

    def __init__(self, ctx: Context, types: Types, references: References, data: DataTable) -> None:
        self._ctx = ctx
        self._types = types
        self._references = references
        self._data = data

    def read(
        self,
        owner: str,
        item: ast.InItem,
        value: ast.Expr | None,
        scope: Scope,
        each: dict[str, Scalar],
    ) -> Part[ir.Input] | None:
        """The input that `item` of the step `owner` declares. `value` is what it is bound to: the item's own
        expression, or a component's binding; None for `in raw` and `in prepare.clean`."""
        name = item.name.parts[-1]
        declared = self._types.file(item.type, scope) if item.type else None
        bound = value.span if value is not None and value is not item.value else None
        wanted = _Wanted(owner, name.text, declared, item, bound)
        if value is None:
            found = self._name(item.name, wanted, each)
            source_span: Span | None = None
        else:
            found = self._value(value, wanted, each)
            source_span = value.span
        if found is None:
            return None
        type, sources, many = found
        made = ir.Input(name.text, self._effective(declared, type), sources, many)
        return Part(made, name.span, item.span, item.type.span if item.type else None, source_span)

    def _effective(self, declared: ir.FileType | None, producer: ir.FileType) -> ir.FileType:
        """The declared type, else the producer's; `table` is as narrow as the producer's kind."""
        if declared is None:
            return producer
        return replace(declared, kind=producer.kind) if declared.kind == "table" else declared

    def _name(self, name: ast.Dotted, wanted: _Wanted, each: dict[str, Scalar]) -> _Found | None:
        if name.star:
            values.wrong(self._ctx, ast.NameExpr(name.parts[0], name.span), "one input", "`in` takes no `.*`")
            return None
        expr: ast.Expr = ast.NameExpr(name.parts[0], name.parts[0].span)
        for part in name.parts[1:]:
            expr = ast.Attribute(expr, part, Span(name.span.file, name.span.start, part.span.end))
        return self._reference(chain(expr), wanted, each)

    def _value(self, value: ast.Expr, wanted: _Wanted, each: dict[str, Scalar]) -> _Found | None:
        value = values.bare(value)
        match value:
            case ast.Str():
                return self._path(value, wanted, each)
            case ast.CallExpr(function=ast.NameExpr(name=ast.Name(text="glob"))):
                return self._glob(value, wanted, each)
            case ast.CallExpr(function=ast.NameExpr(name=ast.Name(text="asset"))):
                return self._asset(value, wanted)
            case ast.CallExpr(function=ast.NameExpr(name=ast.Name(text="path")), args=args):
                if len(args) == 1 and args[0].name is None:
                    return self._value(args[0].value, wanted, each)
                values.wrong(self._ctx, value, "one path", 'as in `path("data/raw.csv")`')
                return None
            case ast.ListExpr():
                return self._list(value, wanted, each)
            case ast.NameExpr() | ast.Attribute() | ast.Index():
                return self._reference(chain(value), wanted, each)
            case ast.BinaryExpr(op="/"):
                path = self._ctx.sources[value.span.file].text[value.span.start : value.span.end]
                if re.fullmatch(r"[\w./-]+", path):
                    fix = values.quoted(value.span, path)
                    values.wrong(self._ctx, value, "an input", f'a path stands in quotes: "{path}"', fix)
                    return None
        values.wrong(
            self._ctx,
            value,
            "an input",
            'a reference (`prepare.clean`), a path (`"data.csv"`), or `glob("…")`',
        )
        return None

    def _list(self, value: ast.ListExpr, wanted: _Wanted, each: dict[str, Scalar]) -> _Found | None:
        parts = [self._value(item, wanted, each) for item in value.items]
        found = [p for p in parts if p is not None]
        if not value.items:
            values.wrong(self._ctx, value, "at least one input")
        if not found or len(found) < len(parts):
            return None
        kinds = {f[0].kind for f in found}
        type = (
            found[0][0]
            if len({f[0] for f in found}) == 1
            else ir.FileType(kinds.pop() if len(kinds) == 1 else "path")
        )
        return type, tuple(s for f in found for s in f[1]), True

    def _path(self, value: ast.Str, wanted: _Wanted, each: dict[str, Scalar]) -> _Found | None:
        path = filled(self._ctx, value, _names(each), inside=False)
        if isinstance(path, values.Bad):
            return None
        here = self._ctx.loader.kind(path.rstrip("/") or ".")
        inferred = infer.type_of(path)
        if here == "dir":
            inferred = ir.FileType("dir")
        elif here == "file" and inferred.kind in ("path", "dir"):
            inferred = ir.FileType("file")
        type = wanted.type
        if type is None:
            return inferred, (ir.PathRef(path),), False
        assert wanted.item.type is not None
        if here == "dir" and not lattice.narrower("dir", type.kind) and type is not ANY:
            self._misfit(Misfit("kind", f"a dir is no {type.kind}"), f'"{path}"', wanted, None)
            return inferred, (ir.PathRef(path),), False
        return settle(self._ctx, type, path, wanted.item.type.span), (ir.PathRef(path),), False

    def _glob(self, value: ast.CallExpr, wanted: _Wanted, each: dict[str, Scalar]) -> _Found | None:
        argument = values.bare(value.args[0].value) if len(value.args) == 1 else None
        if not isinstance(argument, ast.Str) or value.args[0].name is not None:
            values.wrong(self._ctx, value, "one pattern", 'as in `glob("src/**/*.py")`')
            return None
        pattern = filled(self._ctx, argument, _names(each))
        if isinstance(pattern, values.Bad):
            return None
        inferred = infer.type_of(posixpath.basename(pattern).replace("*", "x"))
        if inferred.kind == "path":
            inferred = ir.FileType("file")
        type = inferred if wanted.type is None or wanted.type.kind == "table" else wanted.type
        return type, (ir.GlobRef(pattern),), True

    def _asset(self, value: ast.CallExpr, wanted: _Wanted) -> _Found | None:
        found = assets.read(self._ctx, value)
        if found is None:
            return None
        type, source = found
        self._check(type, wanted.name, wanted, None)
        return type, (source,), False

    def _reference(self, chain: Chain, wanted: _Wanted, each: dict[str, Scalar]) -> _Found | None:
        reached = self._references.follow(chain, each, "stage or data")
        if reached is None:
            return None
        if reached.rest:
            extra = reached.rest[0]
            values.wrong(
                self._ctx, ast.NameExpr(extra, extra.span), "a file", "an input is a whole output: drop this"
            )
            return None
        if isinstance(reached, ReachedData):
            data = self._data.get(reached.entry.name)
            if data is None:
                return None
            self._check(data.value.type, chain.text, wanted, self._data.declared(reached.entry.name))
            unbuilt.refuse(
                self._ctx, f"data.{data.value.source}", chain.span, Label(data.span, "declared here")
            )
            return data.value.type, (ir.DataRef(data.value.name),), False
        self._check(reached.offer.type, chain.text, wanted, reached.offer.declared)
        sources = tuple(ir.StageOutput(i.id, reached.offer.name) for i in reached.instances)
        return reached.offer.type, sources, reached.many

    def _check(self, producer: ir.FileType, text: str, wanted: _Wanted, declared: Span | None) -> None:
        if wanted.type is None:
            return
        misfit = lattice.fits(producer, wanted.type)
        if misfit is not None:
            self._misfit(misfit, text, wanted, declared)

    def _misfit(self, misfit: Misfit, text: str, wanted: _Wanted, declared: Span | None) -> None:
        expr = wanted.item.type
        assert expr is not None
        span, asked = expr.span, f"{spell(wanted.type)}" if wanted.type else ""
        help = ""
        for column in expr.columns or ():
            if isinstance(column, ast.ColumnNode) and column.name.text == misfit.column:
                span = column.span
                if misfit.aspect == "column":
                    source = self._ctx.sources[span.file].text[span.start : span.end]
                    help = f"add `{source}` to `{text}`, or drop it here"
        if misfit.aspect == "kind":
            kind = lattice.article(asked) if asked in lattice.KINDS else asked
            message = f"`{wanted.owner}` wants {kind}, and `{text}` does not fit: {misfit.reason}"
        elif misfit.aspect == "column":
            message = f"`{wanted.owner}` wants column `{misfit.column}`, and `{text}` has none"
        else:
            message = f"`{text}` does not fit `{wanted.name}`: {misfit.reason}"
        related = (Label(declared, "declared here"),) if declared else ()
        label = "required here"
        if wanted.bound is not None:  # the mistake is the stage's, not the component's
            related = (Label(span, label), *related)
            span, label, help = wanted.bound, "does not fit", help.partition(", or drop")[0]
        self._ctx.problems.append(
            Diagnostic.of(_BY_ASPECT[misfit.aspect], message, span, label=label, related=related, help=help)
        )


def _names(each: dict[str, Scalar]) -> dict[str, str]:
    """What `{{…}}` may say in the path of an input: the variables of `each`."""
    return {name: shown(value) for name, value in each.items()}


_Found = tuple[ir.FileType, tuple[ir.InputSource, ...], bool]


class _Wanted:
    """What an input asks for, and for whom; `bound` is where a stage says so of its component's input."""

    __slots__ = ("bound", "item", "name", "owner", "type")

    def __init__(
        self, owner: str, name: str, type: ir.FileType | None, item: ast.InItem, bound: Span | None
    ) -> None:
        self.owner, self.name, self.type, self.item = owner, name, type, item
        self.bound = bound
