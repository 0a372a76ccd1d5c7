"""Instances of one group as one stage with `each`, where they differ in nothing but its variables."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field

from mlflowc.importing.draft import Draft, Ref, Source, StageDraft
from mlflowc.importing.literals import literal
from mlflowc.importing.templating import Text, shown

# What the language takes as a value of `each`.
_SAFE = re.compile(r"[\w.+:@/-]+", re.ASCII)


@dataclass(slots=True)
class Folding:
    """What is written: `written` are the drafts' indices, of a folded group the first; `clauses` the
    `each` of the
    folded ones by that index."""

    draft: Draft
    written: list[int] = field(default_factory=list)
    clauses: dict[int, str] = field(default_factory=dict)
    folded: set[str] = field(default_factory=set)

    def name(self, index: int) -> str:
        """The name of the stage with that index."""
        stage = self.draft.stages[index]
        return stage.group if stage.each and stage.group in self.folded else stage.name

    def comments(self, index: int, output: int) -> list[str]:
        """What is said beside an output of that stage, or of all the stages that are one with it."""
        stage = self.draft.stages[index]
        one = stage.each and stage.group in self.folded
        members = [s for s in self.draft.stages if one and s.each and s.group == stage.group] or [stage]
        return list(dict.fromkeys(m.outputs[output].comment for m in members))

    def id(self, index: int) -> str:
        """The id that the compiled pipeline has for that stage."""
        stage = self.draft.stages[index]
        if stage.each and stage.group in self.folded:
            return f"{stage.group}[{','.join(shown(v) for _, v in stage.each)}]"
        return stage.name

    def all(self, index: int) -> str:
        """How a report names the stage with that index; of a folded group, all instances at once."""
        stage = self.draft.stages[index]
        return self.name(index) + ("[*]" * len(stage.each) if stage.group in self.folded else "")

    def reference(self, index: int, reader: StageDraft) -> str:
        """How `reader` names the stage with that index."""
        stage = self.draft.stages[index]
        if not stage.each or stage.group not in self.folded:
            return stage.name
        own = dict(reader.each) if reader.group in self.folded else {}
        links = [
            f"[{name}]" if name in own and _same(own[name], value) else f"[{literal(value)}]"
            for name, value in stage.each
        ]
        return stage.group + "".join(links)


def fold(draft: Draft) -> Folding:
    """Decides which groups are folded: all that can be, where what they read of other groups allows it."""
    groups: dict[str, list[int]] = {}
    for index, stage in enumerate(draft.stages):
        if stage.each:
            groups.setdefault(stage.group, []).append(index)
    folded = {g for g, members in groups.items() if _alike(draft, members)}
    while failing := {g for g in folded if not _reads_alike(draft, groups[g], folded)}:
        folded -= failing
    result = Folding(draft, folded=folded)
    for index, stage in enumerate(draft.stages):
        if not stage.each or stage.group not in folded:
            result.written.append(index)
        elif index == groups[stage.group][0]:
            result.written.append(index)
            result.clauses[index] = _clause(draft, groups[stage.group])
    return result


def _axes(draft: Draft, members: list[int]) -> list[tuple[str, list[str | int | float | bool]]]:
    first = draft.stages[members[0]]
    axes: list[tuple[str, list[str | int | float | bool]]] = []
    for n, (name, _) in enumerate(first.each):
        seen = {shown(draft.stages[m].each[n][1]): draft.stages[m].each[n][1] for m in members}
        axes.append((name, list(seen.values())))
    return axes


def _clause(draft: Draft, members: list[int]) -> str:
    return "".join(
        f" each {name} in [{', '.join(literal(v) for v in values)}]" for name, values in _axes(draft, members)
    )


def _alike(draft: Draft, members: list[int]) -> bool:
    """Whether the instances are all points of their axes, in order, and of one form but for what they
    read.
    """
    stages = [draft.stages[m] for m in members]
    if len(stages) < 2 or len({tuple(n for n, _ in s.each) for s in stages}) > 1:
        return False
    axes = _axes(draft, members)
    points = [tuple(shown(v) for v in p) for p in itertools.product(*(values for _, values in axes))]
    if points != [tuple(shown(v) for _, v in s.each) for s in stages]:
        return False
    if not all(_SAFE.fullmatch(shown(v)) for _, values in axes for v in values):
        return False
    variables = frozenset(name for name, _ in axes)
    forms = [_form(s, variables) for s in stages]
    if any(form != forms[0] for form in forms):
        return False
    return all(_said(o.path) >= {n for n, values in axes if len(values) > 1} for o in stages[0].outputs)


def _form(stage: StageDraft, variables: frozenset[str]) -> tuple[object, ...]:
    outputs = tuple((o.name, _symbolic(o.path, variables), o.type, o.kept) for o in stage.outputs)
    settings = (stage.dir, stage.env, stage.runner, stage.timeout, tuple(stage.secrets))
    inputs = tuple((i.name, len(i.sources)) for i in stage.inputs)
    return tuple(stage.params), outputs, tuple(stage.symbolic), settings, inputs, tuple(stage.comments)


def _symbolic(path: Text, variables: frozenset[str]) -> tuple[str, ...]:
    """The path with names for values: text, and `{{x}}` for a variable; texts that meet are one."""
    out: list[str] = []
    for piece in path:
        origin = piece.origin
        if origin is not None and origin.file is None and origin.key in variables:
            out += [f"{{{{{origin.key}}}}}", ""]
        elif out:
            out[-1] += piece.text
        else:
            out.append(piece.text)
    return tuple(out)


def _said(path: Text) -> set[str]:
    return {p.origin.key for p in path if p.origin is not None and p.origin.file is None}


def _reads_alike(draft: Draft, members: list[int], folded: set[str]) -> bool:
    forms = []
    for member in members:
        stage = draft.stages[member]
        sources = [s for i in stage.inputs for s in i.sources]
        if any(isinstance(s, Ref) and draft.stages[s.stage].group == stage.group for s in sources):
            return False
        forms.append(tuple(_source(draft, s, stage, folded) for s in sources))
    return all(form == forms[0] for form in forms)


def _source(draft: Draft, source: Source, reader: StageDraft, folded: set[str]) -> object:
    if not isinstance(source, Ref):
        return source
    made = draft.stages[source.stage]
    if not made.each or made.group not in folded:
        return source
    own = dict(reader.each)
    links = tuple((n, None if n in own and _same(own[n], value) else shown(value)) for n, value in made.each)
    return made.group, links, source.output


def _same(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other
