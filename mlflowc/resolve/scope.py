"""Which names a file sees, and what they stand for.

Everything that can be run or read (`stage data sweep gate report action`) shares one namespace; `type`,
`env`, `runner` and `component` have one each. `use "./x.mlpipe"` brings names in as they are,
`use "./x.mlpipe" as x` as `x.name`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from mlflowc.diagnostic import Check, Diagnostic, Label, Severity
from mlflowc.frozen import dataclass, field
from mlflowc.resolve.modules import Modules
from mlflowc.span import Span
from mlflowc.spell import nearest
from mlflowc.syntax import ast

UNKNOWN = Check(
    "MLP201",
    Severity.ERROR,
    "an unknown name",
    """
A name was used that nothing declares. The message names the nearest one that exists.

```mlpipe fails
mlpipe 1
pipeline example
stage prepare {
  out clean = "clean.csv"
  run = "make {{clean}}"
}
stage train {
  in  data = prepair.clean
  run = "train {{data}}"
}
```

```mlpipe
mlpipe 1
pipeline example
stage prepare {
  out clean = "clean.csv"
  run = "make {{clean}}"
}
stage train {
  in  data = prepare.clean
  run = "train {{data}}"
}
```
""",
)
DUPLICATE = Check(
    "MLP202",
    Severity.ERROR,
    "a name declared twice",
    """
Stages, data, sweeps, gates, reports and actions share one namespace, so that `run = [quality]` and
`in = prepare.clean` mean one thing. `type`, `env`, `runner` and `component` have one each; so have the
inputs, outputs and kept paths of a stage together. Rename one of the two.

```mlpipe fails
mlpipe 1
pipeline example
stage train { run = "train" }
gate train { require 1 > 0 }
```

```mlpipe
mlpipe 1
pipeline example
stage train { run = "train" }
gate quality { require 1 > 0 }
```
""",
)
WRONG_KIND = Check(
    "MLP203",
    Severity.ERROR,
    "a name that stands for another kind of thing",
    """
The name exists, but what it names does not fit here: a gate where a stage is wanted, a stage where data is.

```mlpipe fails
mlpipe 1
pipeline example
stage prepare {
  out clean = "clean.csv"
  run = "make {{clean}}"
}
on push("main") { refresh = [prepare] }
```

```mlpipe
mlpipe 1
pipeline example
data feed: csv = url("https://example.org/feed.csv")
stage prepare {
  out clean = "clean.csv"
  run = "make {{clean}}"
}
on push("main") { refresh = [feed], run = [prepare] }
```
""",
)
STYLE = Check(
    "MLP207",
    Severity.ERROR,
    "a name that is not written as names are",
    """
Names are lower case: `[a-z][a-z0-9_]*`. The names of types start with a capital: `[A-Z][A-Za-z0-9_]*`. So
a reader tells them apart, and job names, file names and variables can be made of them in every service.

```mlpipe fails
mlpipe 1
pipeline example
stage Train { run = "train" }
```

```mlpipe
mlpipe 1
pipeline example
stage train { run = "train" }
```
""",
)
CHECKS = (UNKNOWN, DUPLICATE, WRONG_KIND, STYLE)

# The namespaces; `things` holds all that an event can run or a stage can read.
# How one declares the first of a kind.
_FIRST = {"env": 'env {} {{ requirements = "requirements.txt" }}', "runner": "runner {} {{ gpu = 1 }}"}
_SPACES = {"type": "types", "env": "envs", "runner": "runners", "component": "components"}
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TYPE_NAME = re.compile(r"[A-Z][A-Za-z0-9_]*")
_ARTICLES = {"env": "an env", "action": "an action", "output": "an output"}


def a(kind: str) -> str:
    """The kind with its article: `a stage`, `an env`, `data`."""
    return "data" if kind == "data" else _ARTICLES.get(kind, f"a {kind}")


class Entry(NamedTuple):
    """A declared thing: `kind` is its keyword, `span` its name, `module` the file it stands in."""

    kind: str
    name: str
    span: Span
    decl: ast.Decl
    module: str


@dataclass(slots=True)
class Scope:
    """The names that one file sees, by namespace; `aliases` are those of `use … as`."""

    module: str
    things: dict[str, Entry] = field(default_factory=dict)
    types: dict[str, Entry] = field(default_factory=dict)
    envs: dict[str, Entry] = field(default_factory=dict)
    runners: dict[str, Entry] = field(default_factory=dict)
    components: dict[str, Entry] = field(default_factory=dict)
    aliases: dict[str, tuple[Scope, Span]] = field(default_factory=dict)

    def space(self, kind: str) -> dict[str, Entry]:
        """The namespace that things of `kind` live in."""
        found: dict[str, Entry] = getattr(self, _SPACES.get(kind, "things"))
        return found

    def find(self, kind: str, names: tuple[ast.Name, ...]) -> Entry | Diagnostic:
        """What `names` (a name, or an alias and a name) stands for in the namespace of `kind`."""
        scope, last = self, names[-1]
        for name in names[:-1]:
            if name.text not in scope.aliases:
                return unknown(name, "file in use", scope.aliases)
            scope = scope.aliases[name.text][0]
        entry = scope.space(kind).get(last.text)
        if entry is not None:
            return entry
        other = scope.elsewhere(last.text)
        if other is not None:
            return wrong_kind(last, kind, other)
        return unknown(last, kind, scope.space(kind))

    def elsewhere(self, name: str) -> Entry | None:
        """The thing of that name in any namespace."""
        for space in (self.things, self.types, self.envs, self.runners, self.components):
            if name in space:
                return space[name]
        return None


def unknown(name: ast.Name, kind: str, candidates: Iterable[str]) -> Diagnostic:
    """`name` names no `kind`; the nearest of `candidates` is offered."""
    return unknown_text(name.text, name.span, kind, list(candidates))


def unknown_text(text: str, span: Span, kind: str, candidates: list[str]) -> Diagnostic:
    """As `unknown`, for a name that is only text."""
    guess = nearest(text, candidates)
    help = ""
    if guess:
        help = f"write `{guess}`?"
    elif candidates and len(candidates) <= 8:
        help = "there is " + ", ".join(f"`{c}`" for c in candidates)
    elif not candidates:
        help = f"no {kind} is declared" + (f": write `{_FIRST[kind].format(text)}`" if kind in _FIRST else "")
    return Diagnostic.of(UNKNOWN, f"there is no {kind} `{text}`", span, help=help)


def wrong_kind(name: ast.Name, wanted: str, entry: Entry) -> Diagnostic:
    """`name` names `entry`, which is not a `wanted`."""
    return Diagnostic.of(
        WRONG_KIND,
        f"`{name.text}` is {a(entry.kind)}, and {a(wanted)} is wanted here",
        name.span,
        related=(Label(entry.span, "declared here"),),
    )


def build(modules: Modules) -> tuple[dict[str, Scope], list[Diagnostic]]:
    """The scope of every file, and what was declared twice or badly named."""
    problems: list[Diagnostic] = []
    own: dict[str, Scope] = {}
    for name, module in modules.by_name.items():
        scope = own[name] = Scope(name)
        for decl in module.tree.decls:
            entry = _entry(decl, name)
            if entry is not None:
                problems.extend(_style(entry))
                _add(scope.space(entry.kind), entry, problems)
    # A used file's own names only: what it uses itself stays its own affair.
    scopes = {name: _copy(scope) for name, scope in own.items()}
    for name, module in modules.by_name.items():
        scope = scopes[name]
        for use in module.uses:
            target = own[use.target]
            alias = use.decl.alias
            if alias is None:
                for kind in ("type", "env", "runner", "component"):
                    for entry in target.space(kind).values():
                        _add(scope.space(kind), entry, problems, use.decl.path.span)
            elif alias.text in scope.aliases:
                problems.append(_duplicate(alias.text, alias.span, scope.aliases[alias.text][1]))
            else:
                scope.aliases[alias.text] = (target, alias.span)
    return scopes, problems


def _copy(scope: Scope) -> Scope:
    return Scope(
        scope.module,
        dict(scope.things),
        dict(scope.types),
        dict(scope.envs),
        dict(scope.runners),
        dict(scope.components),
    )


def _entry(decl: ast.Decl, module: str) -> Entry | None:
    match decl:
        case ast.BlockDecl(keyword=keyword, name=ast.Name(text=text, span=span)) if keyword.text != "auth":
            return Entry(keyword.text, text, span, decl, module)
        case ast.InstanceDecl(name=name):
            return Entry("stage", name.text, name.span, decl, module)
        case ast.SweepDecl(name=name):
            return Entry("sweep", name.text, name.span, decl, module)
        case ast.DataDecl(name=name):
            return Entry("data", name.text, name.span, decl, module)
        case ast.TypeDecl(name=name):
            return Entry("type", name.text, name.span, decl, module)
    return None


def _style(entry: Entry) -> list[Diagnostic]:
    pattern, rule = (
        (_TYPE_NAME, "the name of a type starts with a capital")
        if entry.kind == "type"
        else (
            _NAME,
            "names are lower case: letters, digits and `_`, a letter first",
        )
    )
    if pattern.fullmatch(entry.name):
        return []
    return [Diagnostic.of(STYLE, f"`{entry.name}` is not a name for {a(entry.kind)}", entry.span, help=rule)]


def _add(space: dict[str, Entry], entry: Entry, problems: list[Diagnostic], use: Span | None = None) -> None:
    before = space.setdefault(entry.name, entry)
    if before is entry:
        return
    if use is None:
        problems.append(_duplicate(entry.name, entry.span, before.span, before.kind))
    else:
        problems.append(
            Diagnostic.of(
                DUPLICATE,
                f"this file brings in {a(entry.kind)} `{entry.name}`, and there is one already",
                use,
                related=(Label(before.span, "declared here"), Label(entry.span, "and here")),
                help="give the file a name: `use … as NAME`",
            )
        )


def _duplicate(name: str, span: Span, before: Span, kind: str = "") -> Diagnostic:
    return Diagnostic.of(
        DUPLICATE,
        f"`{name}` is declared twice" + (f": there is {a(kind)} of that name already" if kind else ""),
        span,
        related=(Label(before, "first declared here"),),
        help="rename one of them",
    )
