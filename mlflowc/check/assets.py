"""`asset("fit.py")`: a file beside the `.mlpipe` file that says so, such as a component's program."""

from __future__ import annotations

import posixpath

from blake3 import blake3

from mlflowc.check import infer, values
from mlflowc.check.context import Context
from mlflowc.diagnostic import Check, Severity
from mlflowc.ir import model as ir
from mlflowc.syntax import ast

MISSING = Check(
    "MLP251",
    Severity.ERROR,
    "an asset that is not there",
    """
`asset("fit.py")` is a file beside the `.mlpipe` file that says so, wherever that lies: a component in
`shared/steps.mlpipe` means `shared/fit.py` by it, and works in every pipeline that uses it. A plain path is
relative to the folder of the pipeline instead.

```mlpipe fails
mlpipe 1
pipeline example
component fit {
  in  data: csv
  in  program = asset("fitt.py")
  out model: file = "models/{{stage}}.pkl"
  run = "python {{program}} {{data}} {{model}}"
}
stage train = fit { data = "data.csv" }
```

```mlpipe
mlpipe 1
pipeline example
component fit {
  in  data: csv
  in  program = asset("fit.py")
  out model: file = "models/{{stage}}.pkl"
  run = "python {{program}} {{data}} {{model}}"
}
stage train = fit { data = "data.csv" }
```
""",
)
CHECKS = (MISSING,)
_LIBRARY = "std/"
# Where a file of the standard library is put for a command to read; its hash keeps versions apart.
_PLACE = ".mlpipe/std"


def read(ctx: Context, call: ast.CallExpr) -> tuple[ir.FileType, ir.PathRef | ir.AssetRef] | None:
    """The file that the call means, and its type; None with a diagnostic where there is none."""
    argument = values.bare(call.args[0].value) if len(call.args) == 1 else None
    if not isinstance(argument, ast.Str) or call.args[0].name is not None:
        values.wrong(ctx, call, "one file", 'as in `asset("fit.py")`')
        return None
    home = posixpath.dirname(call.span.file)
    if call.span.file.startswith(_LIBRARY):
        return _of_library(ctx, argument)
    path = values.clean_path(ctx, posixpath.join(home, argument.value), argument.span, inside=True)
    if path is values.BAD:
        return None
    kind = ctx.loader.kind(path.rstrip("/"))
    if kind == "missing":
        ctx.report(
            MISSING,
            f"there is no `{path}`",
            argument.span,
            help=f"`asset` looks beside `{call.span.file}`; a plain path, from the pipeline's folder",
        )
        return None
    if kind == "dir":
        return ir.FileType("dir"), ir.PathRef(path)
    return _type(path), ir.PathRef(path)


def _of_library(ctx: Context, name: ast.Str) -> tuple[ir.FileType, ir.AssetRef] | None:
    data = ctx.loader.stdlib_asset(name.value)
    if data is None:
        ctx.report(MISSING, f"the standard library has no `{name.value}`", name.span)
        return None
    digest = blake3(data).hexdigest()
    return _type(name.value), ir.AssetRef(name.value, f"{_PLACE}/{digest[:16]}/{name.value}", digest)


def _type(path: str) -> ir.FileType:
    found = infer.type_of(path)
    return ir.FileType("file") if found.kind in ("path", "dir") else found
