"""The one planner: run, dry run, status and why all ask it, so they cannot disagree.

`Planner.decide` says what becomes of one stage, given what the stages before it made. A plan asks for all
stages before anything ran; a stage behind one that will run cannot be decided yet (`WAIT`). The run asks
again, stage by stage, as results come in: when a rerun made the same as before, what follows is up to date
after all.
"""

from __future__ import annotations

import posixpath
import threading
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from mlflowc.frozen import dataclass, field
from mlflowc.ir.model import AssetRef, DataRef, GlobRef, Input, PathRef, Stage, StageOutput, Sweep, Value
from mlflowc.runtime import checked, closure, environments, hostpython, keys, pins, targets
from mlflowc.runtime.checkout import Checkout, Seen
from mlflowc.runtime.codehash import code_hash
from mlflowc.runtime.commands import render
from mlflowc.runtime.explain import reason_to_run
from mlflowc.runtime.feedport import Pin
from mlflowc.runtime.records import Metrics, OutputRecord, Record
from mlflowc.runtime.results import Found, Results
from mlflowc.runtime.sweeping import components as sweep_components
from mlflowc.runtime.workspace import STATE, Workspace

Outputs = tuple[OutputRecord, ...]


class Action(StrEnum):
    """What is to be done for a stage.

    `KEEP`: its outputs are in place. `RESTORE`: they come from the cache. `RUN`: its command runs. `WAIT`:
    that depends on what a stage before it will make. `BLOCKED`: an input, or (in an
    exact plan) the result of a stage that is not to be run, is not there.
    """

    KEEP = "up to date"
    RESTORE = "restore"
    RUN = "run"
    WAIT = "depends"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done for one stage, and why.

    `key` and `components` are empty while they depend on a stage before (`WAIT`). `outputs` and `metrics` are
    those of the result that is there (`KEEP`, `RESTORE`). `seen` is what the key was made from.
    `record` is the result in the cache, if it was needed to decide. `only` names the outputs to restore; None
    means all.
    """

    stage: Stage
    action: Action
    reason: str = ""
    key: str = ""
    components: Mapping[str, str] = field(default_factory=dict)
    outputs: Outputs = ()
    metrics: Metrics = field(default_factory=dict)
    record: Record | None = None
    seen: tuple[tuple[Seen, bool], ...] = ()
    values: Mapping[tuple[str, str], Value] = field(default_factory=dict)
    only: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """`steps` of all stages concerned, in topological order. `wanted` is what was asked for.

    `planner` made it, and goes on deciding while it is run.
    """

    steps: tuple[Step, ...]
    wanted: targets.Wanted
    planner: Planner = field(compare=False, repr=False)
    exact: bool = False

    def step(self, stage: str) -> Step | None:
        """The step of the stage with that id."""
        return next((s for s in self.steps if s.stage.id == stage), None)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return all(s.action is Action.KEEP for s in self.steps)

    def as_json(self) -> list[dict[str, str | None]]:
        """The steps for `--json`."""
        return [
            {"stage": s.stage.id, "action": s.action.name.lower(), "reason": s.reason, "key": s.key or None}
            for s in self.steps
        ]


def make_plan(
    ws: Workspace,
    names: Sequence[str] = (),
    *,
    force: bool = False,
    exact: Collection[str] | None = None,
    stored: bool = False,
) -> Plan:
    """What a run for `names` (see `targets.resolve`) would do now.

    `force` runs what was named (everything, if nothing was), whatever is cached. With `exact`, a set of stage
    ids, only those are brought up to date, and stages before them only give the results that they have.
    `stored` asks for results and not for what stands in their places: one that the cache has whole is
    `RESTORE`. Raises `Failure` for unknown names.
    """
    wanted = targets.resolve(ws.pipeline, names)
    if exact is not None:
        wanted = targets.Wanted(tuple(s for s in ws.stages if s in exact), wanted.gates, wanted.reports)
    forced = frozenset(wanted.stages) if force else frozenset()
    pin_environments(ws)
    planner = Planner(ws, forced, stored=stored)
    known: dict[str, Outputs | None] = {}
    steps = []
    concerned = targets.closure(ws.pipeline, wanted.stages)
    pins.ensure(ws, concerned)
    expect(ws, concerned)
    for stage in concerned:
        lazy = exact is not None and stage.id not in exact
        step = planner.decide(stage, known, lazy=lazy)
        known[stage.id] = step.outputs if step.action in (Action.KEEP, Action.RESTORE) else None
        steps.append(step)
    return Plan(tuple(steps), wanted, planner, exact is not None)


def expect(ws: Workspace, stages: Sequence[Stage]) -> None:
    """Tells the remote which results may be asked for, as far as the lock knows."""
    if ws.remote is not None:
        locked = (ws.lock.stage(s.id) for s in stages)
        ws.remote.expect(entry.key for entry in locked if entry is not None)


class Unpinned(str):
    """Why a stage has no key yet: the data that it reads is not pinned. A run would pin it."""

    __slots__ = ()


def pin_environments(ws: Workspace) -> None:
    """Resolves environments that have requirements and no resolution yet, into `ws.lock`. Raises
    `Failure`.
    """
    used = {s.env for s in ws.pipeline.stages} | {a.env for a in ws.pipeline.actions}
    ws.lock = environments.pinned(ws.root, [e for e in ws.pipeline.envs if e.name in used], ws.lock)


class Watched(NamedTuple):
    """What decisions depended on: folders searched for code (with their names), paths that were looked for
    (with their kinds), globs, what decides environments (`simple` unless that is more), their variables,
    interpreters by name.
    """

    folders: list[tuple[str, frozenset[str]]]
    kinds: list[tuple[str, str]]
    globs: tuple[str, ...]
    env_files: tuple[str, ...]
    env_folders: tuple[str, ...]
    env_absent: tuple[str, ...]
    variables: tuple[str, ...]
    interpreters: tuple[str, ...]
    simple: bool


class Planner:
    """Decides for stages of one workspace. Safe to use from several threads."""

    def __init__(self, ws: Workspace, force: frozenset[str] = frozenset(), *, stored: bool = False) -> None:
        self._ws = ws
        self._force = force
        self._results = Results(ws, stored=stored)
        self._static: dict[str, dict[str, str]] = {}
        self._envs: dict[tuple[str | None, str], dict[str, str]] = {}
        self._import_paths: dict[str | None, tuple[str, ...]] = {}
        self._guard = threading.Lock()
        self._scanner: closure.Scanner | None = None

    def decide(self, stage: Stage, upstream: Mapping[str, Outputs | None], *, lazy: bool = False) -> Step:
        """What becomes of `stage`. `upstream` holds the outputs of the stages before it, None while unknown.

        With `lazy`, a result that the cache or the lock knows counts as there (`KEEP`) wherever its content
        is.
        """
        waiting = [s for s in targets.upstream(stage) if upstream[s] is None]
        if waiting:
            if self.forces(stage.id):
                return Step(stage, Action.RUN, "forced")
            return Step(stage, Action.WAIT, f"depends on what `{waiting[0]}` makes")
        facts = self._facts(stage, upstream)
        if isinstance(facts, Unpinned) and not lazy:
            return Step(stage, Action.RUN, facts)
        if isinstance(facts, str):
            return Step(stage, Action.BLOCKED, facts)
        components, seen, values = facts
        key = keys.digest(components)
        if self.forces(stage.id):
            return Step(stage, Action.RUN, "forced", key, components, seen=seen, values=values)
        found = self._results.of(stage, key, lazy=lazy)
        if found is None and lazy:
            reason = f"no result of `{stage.id}` is here"
            return Step(stage, Action.BLOCKED, reason, key, components, seen=seen, values=values)
        if found is None:
            reason = reason_to_run(self._ws, stage, key, components)
            return Step(stage, Action.RUN, reason, key, components, seen=seen, values=values)
        unfit = None if lazy else self._unfit(stage, seen, found, key)
        if unfit is not None:
            reason = f"`{unfit.path}` is not what its type says"
            return Step(stage, Action.RUN, reason, key, components, seen=seen, values=values)
        restore, reason, outputs, numbers, record = found
        action = Action.RESTORE if restore else Action.KEEP
        return Step(stage, action, reason, key, components, outputs, numbers, record, seen, values)

    def forces(self, stage: str) -> bool:
        """Whether the stage runs, whatever is cached."""
        return stage in self._force

    def deep_key(self, stage: Stage, deep: Mapping[str, str]) -> str | None:
        """The stage's deep key, given those of the stages before it; None when an input is not there."""
        stand_ins = {
            s: tuple(OutputRecord(o.name, o.path, "deep", deep[s], 0) for o in self._ws.stage(s).outputs)
            for s in targets.upstream(stage)
        }
        facts = self._facts(stage, stand_ins)
        return None if isinstance(facts, str) else keys.deep_digest(facts[0])

    def _env_parts(self, env: str | None, python: str) -> dict[str, str]:
        with self._guard:
            if (env, python) not in self._envs:
                ws = self._ws
                declared = ws.envs[env] if env else None
                self._envs[env, python] = environments.key_parts(ws.root, declared, ws.lock, python=python)
            return self._envs[env, python]

    def watched(self) -> Watched:
        """What its decisions depend on, beside the files that the checkout was asked for."""
        ws = self._ws
        used = [ws.envs[name] for name, _ in self._envs if name]
        places = environments.places(ws.root, used)
        pythons = {python for _, python in self._envs if python}
        pythons.update(name for e in used for name in environments.host_names(e))
        return Watched(
            folders=self._scanner.tree.listed() if self._scanner else [],
            kinds=self._scanner.tree.asked() if self._scanner else [],
            globs=ws.checkout.all_globs(),
            env_files=places.files if places else (),
            env_folders=places.folders if places else (),
            env_absent=places.absent if places else (),
            variables=tuple(sorted({name for e in used for name in e.passed})),
            interpreters=tuple(sorted(pythons)),
            simple=places is not None,
        )

    def environments_same(self) -> bool:
        """Whether environments and interpreters are still what they were when it decided."""
        ws = self._ws
        for (name, python), parts in self._envs.items():
            env = ws.envs[name] if name else None
            if env is not None and not environments.is_current(ws.root, env, ws.lock):
                return False
            if environments.key_parts(ws.root, env, ws.lock, python=python) != parts:
                return False
        return True

    # --- the key

    def _facts(
        self, stage: Stage, upstream: Mapping[str, Outputs | None]
    ) -> tuple[dict[str, str], tuple[tuple[Seen, bool], ...], dict[tuple[str, str], Value]] | str:
        """Components, what they were made from, and values of placeholders; or the input that is missing."""
        if stage.sweep is not None:
            return self._sweep_facts(stage, self._ws.sweeps[stage.sweep], upstream)
        components = dict(self._static_of(stage))
        seen: list[tuple[Seen, bool]] = []
        values = self._values(stage)
        for entry in stage.inputs:
            found = self._input(entry, upstream)
            if isinstance(found, str):
                return found
            sources, looked = found
            seen += looked
            components[f"input:{entry.name}"] = keys.input_component(sources)
            paths = tuple(_from_folder(stage, path) for path, _, _ in sources)
            values["input", entry.name] = paths if entry.many else paths[0]
        texts = [render(c, values) for c in stage.commands]
        python = next((p for p in map(hostpython.named, texts) if p), "")
        for name, text in self._env_parts(stage.env, python).items():
            components[f"env:{name}"] = text
        for path in self._code(stage, texts):
            looked_at = self._ws.checkout.look(path)
            if looked_at is None:
                return f"`{path}`, declared as code, does not exist"
            seen.append((looked_at, True))
            components[f"code:{path}"] = self._code_hash(stage, looked_at)
        return components, tuple(seen), values

    def _sweep_facts(
        self, stage: Stage, sweep: Sweep, upstream: Mapping[str, Outputs | None]
    ) -> tuple[dict[str, str], tuple[tuple[Seen, bool], ...], dict[tuple[str, str], Value]] | str:
        facts = self._facts(self._ws.stage(sweep.stage), upstream)
        if isinstance(facts, str):
            return facts
        found, seen, _ = facts
        # Text may name programs: all of them count.
        for trial in sweep_components.variants(sweep, self._ws.stage(sweep.stage)):
            facts = self._facts(trial, upstream)
            if isinstance(facts, str):
                return facts
            found = {n: t for n, t in facts[0].items() if n.startswith("code:")} | found
            seen += tuple(s for s in facts[1] if s not in seen)
        return sweep_components.components(found, sweep, stage), seen, {}

    def _static_of(self, stage: Stage) -> dict[str, str]:
        if stage.id not in self._static:
            self._static[stage.id] = keys.static_components(stage, self._ws.params)
        return self._static[stage.id]

    def _values(self, stage: Stage) -> dict[tuple[str, str], Value]:
        values: dict[tuple[str, str], Value] = {}
        values |= {("output", o.name): _from_folder(stage, o.path) for o in stage.outputs}
        values |= {("keep", k.name): _from_folder(stage, k.path) for k in stage.keeps}
        values |= {("param", p): v for p, v in self._ws.values(stage).items()}
        values |= {("each", name): value for name, value in stage.each}
        return values

    def _input(
        self, entry: Input, upstream: Mapping[str, Outputs | None]
    ) -> tuple[list[tuple[str, str, str]], list[tuple[Seen, bool]]] | str:
        sources: list[tuple[str, str, str]] = []
        seen: list[tuple[Seen, bool]] = []
        for source in entry.sources:
            if isinstance(source, StageOutput):
                made = next((o for o in upstream[source.stage] or () if o.name == source.output), None)
                if made is None:
                    return f"`{source.stage}` has no output `{source.output}`"
                sources.append((made.path.rstrip("/"), made.kind, made.hash))
                continue
            if isinstance(source, AssetRef):
                # Known by its content, there or not: only a command needs it in its place.
                sources.append((source.path, "file", source.hash))
                continue
            if isinstance(source, DataRef) and source.data in self._ws.pinned:
                pin = self._pin(source.data)
                if isinstance(pin, str):
                    return pin
                sources.append((pin.path, pin.kind, pin.hash))
                continue
            for path in self.paths(source):
                looked = self._ws.checkout.look(path)
                if looked is None:
                    return f"input `{entry.name}`: `{path}` does not exist"
                sources.append((looked.path, looked.kind, looked.hash))
                seen.append((looked, True))
        if not sources:
            patterns = ", ".join(f"`{s.pattern}`" for s in entry.sources if isinstance(s, GlobRef))
            return (
                f"input `{entry.name}`: no file matches {patterns}"
                if patterns
                else f"input `{entry.name}` is empty"
            )
        return sources, seen

    def _pin(self, name: str) -> Pin | str:
        """What the data counts as; or why it has no content that counts."""
        data = self._ws.sources[name]
        pin = pins.current(self._ws, data)
        if pin is None:
            return Unpinned(pins.unpinned(data, self._ws.lock))
        return pins.edited(self._ws, data, pin) or pin

    def paths(self, source: DataRef | PathRef | GlobRef) -> tuple[str, ...]:
        """The paths that a source stands for now."""
        if isinstance(source, GlobRef):
            return self._ws.checkout.glob(source.pattern)
        if isinstance(source, PathRef):
            return (source.path,)
        return (self._ws.data[source.data],)

    # --- code

    def _code(self, stage: Stage, texts: list[str]) -> tuple[str, ...]:
        if stage.code.mode == "none":
            return ()
        if stage.code.mode == "paths":
            return tuple(sorted(p.rstrip("/") for p in stage.code.paths))
        env = self._ws.envs.get(stage.env or "")
        with self._guard:
            if stage.env not in self._import_paths:
                self._import_paths[stage.env] = environments.import_paths(self._ws.root, env)
            paths = self._import_paths[stage.env]
            variables = dict(env.vars) if env else None
            return self._scan().files(stage, texts, variables=variables, python_path=paths)

    def _scan(self) -> closure.Scanner:
        if self._scanner is None:
            # What is in the state folder comes and goes: a program of the standard library is an input.
            produced = [STATE, *(o.path for s in self._ws.pipeline.stages for o in s.outputs)]
            self._scanner = closure.Scanner(
                self._ws.root,
                produced=produced,
                facts=self._ws.index.facts,
                digest=lambda path: _content(self._ws.checkout, path),
            )
        return self._scanner

    def _code_hash(self, stage: Stage, seen: Seen) -> str:
        if stage.code.key == "ast" and seen.path.endswith((".py", ".pyw", ".ipynb")):
            return code_hash(self._ws, seen)
        return seen.hash

    # --- the result

    def _unfit(
        self, stage: Stage, seen: tuple[tuple[Seen, bool], ...], found: Found, key: str
    ) -> checked.Item | None:
        """A file that is not of its type as declared now (types are not in the key). Outputs that are not in
        place are checked when they are.
        """
        items = checked.inputs(self._ws, stage, seen, self.paths)
        if not found.restore:
            items += checked.outputs(stage, found.outputs)
        return checked.unfit(self._ws, items, found.record, key)


def _from_folder(stage: Stage, path: str) -> str:
    """A project path as the command must say it, which runs in the stage's `dir`."""
    path = path.rstrip("/")
    return posixpath.relpath(path, stage.dir) if stage.dir else path


def _content(checkout: Checkout, path: str) -> str:
    seen = checkout.look(path)
    return seen.hash if seen else ""
