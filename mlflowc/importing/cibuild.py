"""Jobs of CI services as an environment, runners, reports and events of a draft."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial

from mlflowc.check import infer
from mlflowc.check.lattice import TABLES
from mlflowc.importing.ci import Job, Line, Trigger, Wanted
from mlflowc.importing.cistages import PROGRAMS, Stages
from mlflowc.importing.cisteps import Effect, Shown, Steps
from mlflowc.importing.coverage import Coverage
from mlflowc.importing.draft import (
    BlockDraft,
    ParamDraft,
    Ref,
    ReportDraft,
    Show,
    StageDraft,
    free,
    identifier,
)
from mlflowc.importing.dvcbuild import Built
from mlflowc.importing.dvcfiles import DvcFiles
from mlflowc.importing.fold import fold
from mlflowc.importing.literals import literal, quoted
from mlflowc.importing.paramset import ParamSet

_PARAM = re.compile(r"[a-z_]\w*(?:\.[a-z_]\w*)*", re.ASCII)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_CLOUDS = {"aws": "aws", "gcp": "gcp", "azure": "azure", "az": "azure", "kubernetes": "kubernetes"}


class CiBuilder:
    """Adds what the jobs say. `has_dvc` tells whether the stages came from a dvc.yaml."""

    def __init__(
        self, built: Built, files: DvcFiles, params: ParamSet, coverage: Coverage, has_dvc: bool
    ) -> None:
        self._built, self._files, self._params, self._coverage = built, files, params, coverage
        self._has_dvc = has_dvc
        self._stages = Stages(built, files, coverage)
        self._inputs: dict[str, str] = {}
        self._events: dict[
            tuple[str, str, str, str, tuple[str, ...]], tuple[Trigger, dict[str, None], dict[str, str]]
        ] = {}
        self._runners: dict[tuple[str, ...], str] = {}
        self._taken = {"py", "host"}

    def add(self, jobs: list[Job]) -> None:
        """Adds all jobs."""
        launches: dict[str, dict[str, str]] = {}
        effects: list[tuple[Job, Effect]] = []
        self._parameters(jobs)
        for job in jobs:
            program = partial(self._program, job)
            effect = Steps(job, self._coverage, program, self._has_dvc).read()
            if effect.launch:
                launches[effect.launch.get("labels", "cml")] = effect.launch
            effects.append((job, effect))
        for job, effect in effects:
            self._environment(job, effect)
            names = self._runs(job, effect)
            if names:
                self._runner(job, names, launches)
            report = self._report(effect)
            self._when(job, effect, [*names, *([report] if report else [])])
        self._write_events()

    # --- stages ---

    def _program(self, job: Job, line: Line, text: str) -> str | None:
        if self._has_dvc:
            self._coverage.left(
                "run",
                line.place,
                f"`{text}` is no stage of dvc.yaml",
                "make it a stage; what is an effect is an `action`",
            )
            return None
        if line.guard:  # an effect, more often than not: never started by more than it was
            self._coverage.left(
                "run",
                line.place,
                f"`{text}`, which runs only where `{line.guard}`",
                "write it as an `action` or a stage, and name it in the event that it is for",
            )
            return None
        first = next((w for w in text.split() if "=" not in w), "")
        if not PROGRAMS.fullmatch(first):
            self._coverage.left(
                "run", line.place, f"`{text}`", "write it as a stage, with what it reads and writes"
            )
            return None
        return self._stages.add(job, line, text, self._inputs)

    def _runs(self, job: Job, effect: Effect) -> list[str]:
        """The names of what the job runs, as an event says them."""
        draft = self._built.draft
        folding = fold(draft)
        if effect.all_:
            read = {
                s.stage
                for stage in draft.stages
                for i in stage.inputs
                for s in i.sources
                if isinstance(s, Ref)
            }
            leaves = [n for n in range(len(draft.stages)) if n not in read]
            return list(dict.fromkeys(folding.name(n) for n in leaves))
        names: list[str] = []
        for target in effect.runs:
            found = [
                n for n, stage in enumerate(draft.stages)
                if stage.name == target or any(
                    i == n and (name == target or name.partition("@")[0] == target)
                    for name, i in self._built.indices.items()
                )
            ]  # fmt: skip
            if not found:
                self._coverage.left(
                    "run", job.place, f"there is no stage `{target}`", "name the stage in the event"
                )
            names += [folding.name(n) for n in found]
        return list(dict.fromkeys(names))

    # --- environment and machines ---

    def _environment(self, job: Job, effect: Effect) -> None:
        env = self._built.draft.env
        if effect.requirements and not env.requirements:
            if self._files.kind(effect.requirements) == "file":
                env.requirements = effect.requirements
            else:
                self._coverage.left(
                    "run",
                    job.place,
                    f"there is no `{effect.requirements}`",
                    "name the requirements in the `env`",
                )
        if effect.synced and self._files.kind("uv.lock") == "file":
            env.lock, env.requirements = "uv.lock", ""
        if not (effect.requirements or effect.synced or effect.runs or effect.all_):
            return
        if job.python and env.python and job.python != env.python:
            self._coverage.changed(
                "python",
                job.place,
                f"`{job.name}` has Python {job.python}, and all stages get {env.python}",
                "give it an `env` of its own",
            )
        env.python = env.python or job.python
        env.vars.update(job.vars)
        for name in (
            ()
            if not self._has_dvc
            else dict.fromkeys([*job.secrets, *(s for x in job.lines for s in x.secrets)])
        ):
            self._coverage.left(
                "secrets", job.place, f"`{name}`", f"the stage that needs it says so: `secrets = [{name}]`"
            )

    def _runner(self, job: Job, names: list[str], launches: dict[str, dict[str, str]]) -> None:
        labels = tuple(label for label in job.labels if label)
        launch = next((o for name, o in launches.items() if set(name.split(",")) & set(labels)), None)
        launch = launch or (next(iter(launches.values())) if len(launches) == 1 and labels else None)
        if not labels and not job.timeout:
            return
        if not labels:
            for stage in self._of(names):
                stage.timeout = stage.timeout or _duration(job.timeout or 60)
            self._coverage.changed("timeout", job.place, f"that of `{job.name}` holds for each of its stages")
            return
        key = (job.service, *labels)
        if key not in self._runners:
            gpu = job.gpu or bool(launch and ("cloud-gpu" in launch or "gpu" in launch.get("cloud-type", "")))
            base = next(
                (la for la in labels if la not in ("self-hosted", "linux", "x64", "Linux", "X64")), "own"
            )
            name = free(identifier(base, "runner"), self._taken)
            self._runners[key] = name
            lines = [f"gpu = {_gpu(launch)}"] if gpu else []
            lines += [f"timeout = {_duration(job.timeout)}"] if job.timeout else []
            lines += [f"cloud = {cloud}"] if launch and (cloud := _cloud(launch)) else []
            lines.append(f"{job.service} = [{', '.join(quoted(label) for label in labels)}]")
            self._built.draft.blocks.append(BlockDraft(f"runner {name}", lines))
            self._coverage.carried(
                "runs-on" if job.service == "github" else "tags", job.place, f"as the runner `{name}`"
            )
        for stage in self._of(names):
            stage.runner = stage.runner or self._runners[key]

    def _of(self, names: list[str]) -> list[StageDraft]:
        """The stages of those names and all that come before them."""
        draft = self._built.draft
        folding = fold(draft)
        todo = [n for n in range(len(draft.stages)) if folding.name(n) in names]
        seen: dict[int, None] = {}
        while todo:
            index = todo.pop()
            if index not in seen:
                seen[index] = None
                todo += [s.stage for i in draft.stages[index].inputs for s in i.sources if isinstance(s, Ref)]
        return [draft.stages[n] for n in sorted(seen)]

    # --- parameters ---

    def _parameters(self, jobs: list[Job]) -> None:
        said = " ".join(line.text for job in jobs for line in job.lines)
        for wanted in (w for job in jobs for t in job.triggers for w in t.inputs):
            if wanted.name not in self._inputs:
                used = re.search(rf"\binputs\.{re.escape(wanted.name)}\b(?!-)", said) is not None
                name = self._parameter(wanted, used)
                if name is not None:
                    self._inputs[wanted.name] = name

    def _parameter(self, wanted: Wanted, used: bool) -> str | None:
        """The parameter that an input of a workflow sets: one that is there, or a new one."""
        for name in (
            wanted.name,
            wanted.name.replace("-", "_"),
            wanted.name.replace("-", "."),
            wanted.name.replace("_", "."),
        ):
            if any(self._params.value(f, name) is not None for f in self._params.files):
                return name
        name = wanted.name.replace("-", "_").lower()
        if self._has_dvc or not used or not _PARAM.fullmatch(name) or wanted.default is None:
            self._coverage.left(
                "inputs",
                wanted.place,
                f"`{wanted.name}`",
                "an input sets a parameter: `input train.lr: float = 0.1`",
            )
            return None
        default, type = wanted.default, wanted.type
        if type == "str" and isinstance(default, int | float) and not isinstance(default, bool):
            type = "float" if isinstance(default, float) else "int"
        elif type == "str" and isinstance(default, str) and _NUMBER.fullmatch(default):
            default = json.loads(default) if not default.startswith("0") or "." in default else default
            type = "str" if isinstance(default, str) else "float" if isinstance(default, float) else "int"
        elif type in ("str",) or type.startswith("enum"):
            default = str(default)
        self._built.draft.declared[name] = ParamDraft(type, literal(default))
        return name

    # --- reports ---

    def _report(self, effect: Effect) -> str:
        lines: list[Show] = []
        for shown, last in effect.shown:
            lines += self._show(shown, last)
        draft = self._built.draft
        if not lines and not effect.comments:
            return ""
        if self._has_dvc and draft.reports:
            report = draft.reports[0]
            versus = {s.kind: s.vs for s in lines if s.vs}
            old = [replace(s, vs=s.vs or versus.get(s.kind, "")) for s in report.lines]
            known = {(s.kind, s.ref) for s in old if s.ref is not None}
            added = [s for s in lines if s.kind not in versus and (s.kind, s.ref) not in known]
            report.lines = list(dict.fromkeys([*added, *old]))
            return report.name
        if not lines:
            lines = [Show("stages")]
        same = next((r for r in draft.reports if r.lines == lines), None)
        if same is None:
            same = ReportDraft(free("review", self._built.taken), lines)
            draft.reports.append(same)
        return same.name

    def _show(self, shown: Shown, last: str | None) -> list[Show]:
        if shown.kind == "text":
            return [Show("text", text=shown.what)]
        if shown.kind == "params":
            return (
                [Show("params", vs=shown.vs)]
                if self._built.draft.params or self._built.draft.declared
                else []
            )
        if shown.kind == "metrics":
            refs = [r for r in self._built.outs.values() if self._type(r).startswith("metrics")]
            return [Show("metrics", r, vs=shown.vs) for r in refs]
        ref = self._stages.adopt(shown.what, last)
        type = (self._type(ref).partition(" ")[0] or infer.kind_of(shown.what)) if ref is not None else ""
        kind = {"metrics": "metrics", "image": "image"}.get(type, "plot" if type in TABLES else "")
        if not kind:
            self._coverage.left(
                "report",
                shown.place,
                f"`{shown.what}` is not shown",
                "a report shows metrics (JSON), tables and images that a stage has as its `out`",
            )
            return []
        self._coverage.carried("report", shown.place, f"`{shown.what}`")
        return [Show(kind, ref)]

    def _type(self, ref: Ref) -> str:
        return next(o.type for o in self._built.draft.stages[ref.stage].outputs if o.name == ref.output)

    # --- events ---

    def _when(self, job: Job, effect: Effect, run: list[str]) -> None:
        if not run:
            return
        for trigger in job.triggers:
            key = (trigger.kind, trigger.pattern, trigger.cron, trigger.zone, trigger.paths)
            _, names, settings = self._events.setdefault(key, (trigger, {}, {}))
            names.update(dict.fromkeys(run))
            for name, value in effect.settings.items():
                if (
                    any(self._params.value(f, name) is not None for f in self._params.files)
                    and "$" not in value
                ):
                    settings[name] = value
                else:
                    self._coverage.left(
                        "run", job.place, f"`-S {name}={value}`", "set it in the event: `with { … }`"
                    )

    def _write_events(self) -> None:
        for trigger, names, settings in self._events.values():
            lines = [f"run = [{', '.join(names)}]"]
            if trigger.paths:
                lines.insert(0, f"paths = [{', '.join(quoted(p) for p in trigger.paths)}]")
            if settings:
                written = ", ".join(f"{k} = {_value(v)}" for k, v in settings.items())
                lines.insert(0, f"with {{ {written} }}")
            for wanted in trigger.inputs:
                lines = [*self._input(wanted), *lines]
            self._built.draft.events.append(BlockDraft(f"on {_head(trigger)}", lines))
            self._coverage.carried("on", trigger.place, f"`{_head(trigger)}`")

    def _input(self, wanted: Wanted) -> list[str]:
        name = self._inputs.get(wanted.name)
        if name is None:
            return []
        declared = self._built.draft.declared.get(name)
        if declared is not None:
            return [f"input {name}: {declared.type} = {declared.default}"]
        value = next(v for f in self._params.files if (v := self._params.value(f, name)) is not None)
        type = "bool" if isinstance(value, bool) else type_name(value)
        default = (
            f" = {literal(wanted.default)}"
            if type_name(wanted.default) == type and wanted.default is not None
            else ""
        )
        return [f"input {name}: {type}{default}"]


def type_name(value: object) -> str:
    """The type of a parameter's value."""
    for kind, name in ((bool, "bool"), (int, "int"), (float, "float")):
        if isinstance(value, kind):
            return name
    return "str"


def _value(text: str) -> str:
    if text in ("true", "false") or _NUMBER.fullmatch(text):
        return text
    return quoted(text)


def _head(trigger: Trigger) -> str:
    if trigger.kind == "schedule":
        zone = f", zone = {quoted(trigger.zone)}" if trigger.zone else ""
        return f"schedule({quoted(trigger.cron)}{zone})"
    return f"{trigger.kind}({quoted(trigger.pattern)})" if trigger.pattern else trigger.kind


def _duration(minutes: int | None) -> str:
    total = minutes or 60
    return f"{total // 60}h" if total % 60 == 0 else f"{total}m"


def _gpu(launch: dict[str, str] | None) -> str:
    model = (launch or {}).get("cloud-gpu", "")
    return f"gpu(1, {quoted(model)})" if model and model not in ("true", "nogpu") else "gpu(1)"


def _cloud(launch: dict[str, str]) -> str:
    provider = _CLOUDS.get(launch.get("cloud", ""))
    if provider is None:
        return ""
    options = []
    for option, name in (("cloud-region", "region"), ("cloud-type", "instance")):
        if launch.get(option, "true") != "true":
            options.append(f"{name} = {quoted(launch[option])}")
    if launch.get("cloud-spot") == "true":
        options.append("spot = true")
    return f"{provider}({', '.join(options)})"
