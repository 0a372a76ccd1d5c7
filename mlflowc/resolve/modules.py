"""Reads and parses the main file and every file that it uses, directly or through others."""

from __future__ import annotations

import posixpath

from mlflowc.diagnostic import Check, Diagnostic, Label, Severity
from mlflowc.frozen import dataclass
from mlflowc.resolve.loader import Loader, Unreadable
from mlflowc.span import Source, Span
from mlflowc.spell import nearest
from mlflowc.syntax import ast, parser

USE_UNREADABLE = Check(
    "MLP204",
    Severity.ERROR,
    "a used file cannot be read",
    """
`use` names another `.mlpipe` file, relative to the file that says so, or a file of the standard library
as `std/NAME`. Nothing is ever fetched.

```mlpipe fails
mlpipe 1
pipeline example
use "./comon.mlpipe"
```

```mlpipe
mlpipe 1
pipeline example
use "./common.mlpipe"
```
""",
)
USE_CYCLE = Check(
    "MLP205",
    Severity.ERROR,
    "files use each other in a circle",
    """
A file may not use itself, directly or through others: what would come first could not be told.
Move what both need into a third file, and `use` that in both.

```mlpipe fails
mlpipe 1
pipeline example
use "./circle.mlpipe"
```

```mlpipe
mlpipe 1
pipeline example
use "./common.mlpipe"
```
""",
)
USE_CONTENT = Check(
    "MLP206",
    Severity.ERROR,
    "a declaration that a used file cannot hold",
    """
A file that others use may hold `use`, `type`, `env`, `runner` and `component`. Stages, data, parameters,
gates and events belong to the one pipeline, so they stand in its own file.

A step that several pipelines share is a `component`; each of them makes a stage of it:

```mlpipe
mlpipe 1
pipeline example
component fit {
  in  data: csv
  out model: file = "models/{{stage}}.pkl"
  run = "python fit.py {{data}} {{model}}"
}
stage train = fit { data = "data.csv" }
```

Here `stages.mlpipe` declares a stage:

```mlpipe fails
mlpipe 1
pipeline example
use "./stages.mlpipe"
```
""",
)
CHECKS = (USE_UNREADABLE, USE_CYCLE, USE_CONTENT)

_SHARED_KEYWORDS = frozenset(("env", "runner", "component"))


@dataclass(frozen=True, slots=True)
class Use:
    """One `use`: the file it names, as loaded."""

    decl: ast.UseDecl
    target: str


@dataclass(frozen=True, slots=True)
class Module:
    """A parsed file. `name` is its path from the project folder, or `std/NAME`."""

    name: str
    source: Source
    tree: ast.File
    uses: tuple[Use, ...]


@dataclass(frozen=True, slots=True)
class Modules:
    """The main file and all that it uses, by name; the main one first."""

    main: Module
    by_name: dict[str, Module]


def load(loader: Loader, file: str, text: str) -> tuple[Modules, list[Diagnostic]]:
    """Parses `file`, whose text is `text`, and everything it uses."""
    reader = _Reader(loader)
    main = reader.module(file, text, ())
    return Modules(main, {file: main, **reader.modules}), reader.problems


class _Reader:
    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        self.modules: dict[str, Module] = {}
        self.problems: list[Diagnostic] = []

    def module(self, name: str, text: str, chain: tuple[tuple[str, Span], ...]) -> Module:
        """Parses one file and loads what it uses. `chain` is the way here: each file with its `use`."""
        source = Source(name, text)
        tree, problems = parser.parse(source)
        self.problems.extend(problems)
        uses: list[Use] = []
        for decl in tree.decls:
            if isinstance(decl, ast.UseDecl):
                target = self._use(name, decl, chain)
                if target is not None:
                    uses.append(Use(decl, target))
            elif chain and not _shareable(decl):
                self.problems.append(
                    Diagnostic.of(
                        USE_CONTENT,
                        "a file that others use holds only `use`, `type`, `env`, `runner` and `component`",
                        decl.span if not hasattr(decl, "keyword") else decl.keyword.span,
                        related=(Label(chain[-1][1], "used here"),),
                        help="move it into the pipeline's own file",
                    )
                )
        module = Module(name, source, tree, tuple(uses))
        if chain:
            self.modules[name] = module
        return module

    def _use(self, user: str, decl: ast.UseDecl, chain: tuple[tuple[str, Span], ...]) -> str | None:
        """The name of the used module, loaded, or None with a diagnostic."""
        written = decl.path.value
        target = written if written.startswith("std/") else _relative(user, written)
        way = [*chain, (user, decl.path.span)]
        if target == user or any(target == file for file, _ in way):
            start = next(n for n, (file, _) in enumerate(way) if file == target)
            files = " → ".join([*(file for file, _ in way[start:]), target])
            self.problems.append(
                Diagnostic.of(
                    USE_CYCLE,
                    f"files use each other in a circle: {files}",
                    decl.path.span,
                    related=tuple(Label(span, f"`{file}` goes on here") for file, span in way[start:-1]),
                    help="move what both need into a third file",
                )
            )
            return None
        if target in self.modules:
            return target
        text = self._text(target, decl)
        if text is not None:
            self.module(target, text, (*chain, (user, decl.path.span)))
        return target if text is not None else None

    def _text(self, target: str, decl: ast.UseDecl) -> str | None:
        if target.startswith("std/"):
            text = self.loader.stdlib(target.removeprefix("std/"))
            if text is not None:
                return text
            names = self.loader.stdlib_names()
            guess = nearest(target, names)
            known = f"it has {', '.join(f'`{n}`' for n in names)}" if names else "this version ships none"
            self.problems.append(
                Diagnostic.of(
                    USE_UNREADABLE,
                    f"the standard library has no `{target}`",
                    decl.path.span,
                    help=f"write `{guess}`?" if guess else known,
                )
            )
            return None
        read = self.loader.read(target)
        if isinstance(read, Unreadable):
            self.problems.append(
                Diagnostic.of(USE_UNREADABLE, f"`{target}` cannot be read: {read.reason}", decl.path.span)
            )
            return None
        return read


def _relative(user: str, written: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(user), written))


def _shareable(decl: ast.Decl) -> bool:
    if isinstance(decl, ast.BlockDecl):
        return decl.keyword.text in _SHARED_KEYWORDS
    return isinstance(decl, ast.TypeDecl | ast.UseDecl)
