"""Typed pipeline to IR: stages in topological order, places dropped; or the circles that forbid it."""

from __future__ import annotations

import heapq

from mlflowc.check.model import Checked, Step
from mlflowc.diagnostic import Check, Diagnostic, Label, Severity
from mlflowc.ir import model as ir
from mlflowc.ir import sweeps
from mlflowc.span import Span

CYCLE = Check(
    "MLP301",
    Severity.ERROR,
    "stages that wait for each other",
    """
A stage reads an output of another, which, perhaps through others, reads an output of the first: neither
could ever run. The message names every step of the way round.

```mlpipe fails
mlpipe 1
pipeline example
stage a {
  in  x = b.made
  out made = "a.txt"
  run = "make {{x}} {{made}}"
}
stage b {
  in  x = a.made
  out made = "b.txt"
  run = "make {{x}} {{made}}"
}
```

```mlpipe
mlpipe 1
pipeline example
stage a {
  out made = "a.txt"
  run = "make {{made}}"
}
stage b {
  in  x = a.made
  out made = "b.txt"
  run = "make {{x}} {{made}}"
}
```
""",
)
CHECKS = (CYCLE,)

# More circles than these are not told apart: mending the first ones shows the rest.
_MOST = 10


def lower(checked: Checked) -> tuple[ir.Pipeline | None, tuple[Diagnostic, ...]]:
    """The IR of a typed pipeline without errors; None with a diagnostic for every circle."""
    edges = _edges(checked)
    order = _order(edges)
    if len(order) < len(edges):
        return None, tuple(_circles(edges, set(order)))
    by_id = {s.value.id: s.value for s in checked.stages}
    params = {p.value.name: p.value for p in checked.params}
    for block in checked.sweeps:
        by_id[block.value.name] = sweeps.stage(block.value, by_id[block.value.stage], params)
    return (
        ir.Pipeline(
            name=checked.name,
            edition=checked.edition,
            file=checked.file,
            sources=tuple(sorted(n for n in checked.sources if not n.startswith("std/"))),
            params=tuple(p.value for p in checked.params),
            envs=tuple(b.value for b in checked.envs),
            runners=tuple(b.value for b in checked.runners),
            data=tuple(b.value for b in checked.data),
            stages=tuple(by_id[i] for i in order),
            sweeps=tuple(b.value for b in checked.sweeps),
            gates=tuple(b.value for b in checked.gates),
            reports=tuple(b.value for b in checked.reports),
            actions=tuple(s.value for s in checked.actions),
            events=tuple(e.value for e in checked.events),
            auths=tuple(b.value for b in checked.auths),
            cache=checked.cache.value if checked.cache else ir.Cache(),
            ci=checked.ci.value if checked.ci else ir.Ci(),
        ),
        (),
    )


_Edges = dict[str, dict[str, tuple[Span, Span]]]


def _edges(checked: Checked) -> _Edges:
    """For every stage the stages that it waits for, each with the place that says so and the stage's name."""
    ids = {s.value.id for s in checked.stages} | {b.value.name for b in checked.sweeps}
    edges: _Edges = {}
    for step in checked.stages:
        found = edges[step.value.id] = {}
        for name, span in _waits(step):
            if name in ids:
                found.setdefault(name, (span, step.span))
    for block in checked.sweeps:
        # A sweep waits for what its stage waits for, and not for that stage.
        edges[block.value.name] = {
            name: (span, block.span) for name, (span, _) in edges.get(block.value.stage, {}).items()
        }
    return edges


def _waits(step: Step[ir.Stage]) -> list[tuple[str, Span]]:
    found: list[tuple[str, Span]] = []
    for part in step.inputs:
        at = part.source or part.span
        found.extend((s.stage, at) for s in part.value.sources if isinstance(s, ir.StageOutput))
    for after in step.after:
        found.extend((name, after.span) for name in after.value)
    return found


def _order(edges: _Edges) -> list[str]:
    """The stages that can run, each behind what it waits for; among those that could come next, the first
    in the source."""
    place = {name: n for n, name in enumerate(edges)}
    names = list(edges)
    waiting = {name: len(before) for name, before in edges.items()}
    users: dict[str, list[str]] = {name: [] for name in edges}
    for name, before in edges.items():
        for other in before:
            users[other].append(name)
    ready = [n for n, name in enumerate(names) if not waiting[name]]
    heapq.heapify(ready)
    order: list[str] = []
    while ready:
        name = names[heapq.heappop(ready)]
        order.append(name)
        for user in users[name]:
            waiting[user] -= 1
            if not waiting[user]:
                heapq.heappush(ready, place[user])
    return order


def _circles(edges: _Edges, done: set[str]) -> list[Diagnostic]:
    """One diagnostic for each circle found by walking from what could not be ordered."""
    found: list[Diagnostic] = []
    left = {
        n: {m: s for m, s in before.items() if m not in done} for n, before in edges.items() if n not in done
    }
    seen: set[str] = set()
    for start in left:
        way: dict[str, None] = {}
        at = start
        while at not in seen and at not in way:
            way[at] = None
            at = next(iter(left[at]))  # all that is left waits for something that is left
        if at in way:
            path = list(way)
            found.append(_circle([*path[path.index(at) :], at], left))
        seen.update(way)
        if len(found) == _MOST:
            break
    return found


def _circle(path: list[str], edges: _Edges) -> Diagnostic:
    # The walk went from consumer to producer; people read the way the data goes.
    steps = [(path[n], path[n + 1], edges[path[n]][path[n + 1]]) for n in range(len(path) - 1)]
    steps.reverse()
    way = " → ".join([steps[0][1], *(user for user, _, _ in steps)])
    (user, source, (span, _)), *rest = steps
    message = f"`{user}` waits for itself" if not rest else f"stages wait for each other in a circle: {way}"
    return Diagnostic.of(
        CYCLE,
        message,
        span,
        label=f"`{user}` waits for `{source}`",
        related=tuple(Label(s, f"`{u}` waits for `{m}`") for u, m, (s, _) in rest),
        help="take one of these references out",
    )
