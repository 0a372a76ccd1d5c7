"""Bitbucket Pipelines: one `bitbucket-pipelines.yml` with a pipeline for each event.

Bitbucket has no graph: steps run one after the other, or side by side in a group. So jobs go by levels,
and each level waits for the whole level before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mlflowc.backends import checks, images, text
from mlflowc.backends.bitbucket_rules import verify
from mlflowc.backends.limits import BITBUCKET, BITBUCKET_SIZES

from mlflowc.cron import CronError, quartz
from mlflowc.diagnostic import Check, Diagnostic, has_errors
from mlflowc.ir.model import Event, GlobRef, PathRef, Pipeline, Stage
from mlflowc.jobs.graph import wanted
from mlflowc.jobs.model import Job, JobKind, Workflow
from mlflowc.jobs.names import variable
from mlflowc.target import Emission, GeneratedFile, Settings, with_header

CHECKS: tuple[Check, ...] = (
    *checks.SHARED,
    checks.ZONE_IGNORED,
    checks.LABELS,
    checks.ENVIRONMENT_TWICE,
    checks.SAME_TRIGGER,
    checks.DUPLICATE,
    images.TAG,
)

_FRESH = "FRESH"
_EARLIER = "-earlier"  # ends the name of a job's second cache

_SECTIONS = {
    "push": "branches",
    "pull_request": "pull-requests",
    "tag": "tags",
    "schedule": "custom",
    "manual": "custom",
}


def emit(
    workflows: tuple[Workflow, ...], pipeline: Pipeline, settings: Settings
) -> tuple[Emission, tuple[Diagnostic, ...]]:
    """`bitbucket-pipelines.yml` at the repository's root."""
    sections: dict[str, list[dict[str, Any]]] = {}
    triggers = []
    for workflow in workflows:
        section, key = _section(workflow.event)
        if workflow.event.kind == "pull_request" and section == "custom":
            condition = _destination(workflow.event.pattern or "**")
            triggers.append({"condition": condition, "pipeline": key})
        sections.setdefault(section, []).append(_pipeline(workflow, key, section, pipeline, settings))
    body = text.render(
        "bitbucket.yml.j2",
        image=f"{text.PYTHON_IMAGE}:{pipeline.ci.python}",
        lfs=settings.lfs,
        caches=_caches(workflows, pipeline, settings),
        triggers=[("pullrequest-push", triggers)] if triggers else [],
        sections=[{"name": n, "pipelines": p} for n, p in sorted(sections.items())],
    )
    files = (GeneratedFile("bitbucket-pipelines.yml", with_header(body, pipeline, "bitbucket", settings)),)
    findings = (
        *checks.shared(workflows, pipeline, settings, BITBUCKET, "bitbucket"),
        *_labels(workflows, pipeline, settings),
        *_events(workflows, settings),
        *images.findings(workflows, pipeline, settings, "bitbucket"),
        *checks.size(files, pipeline, settings, BITBUCKET),
    )
    if not has_errors(findings):
        verify(body)
    return Emission(files, tuple(_notes(workflows, pipeline))), findings


def owned(settings: Settings) -> tuple[str, ...]:
    """The one place where Bitbucket looks."""
    return ("bitbucket-pipelines.yml",)


# --- pipelines


def _section(event: Event) -> tuple[str, str]:
    """Where in the file an event's pipeline stands, and under which name."""
    if event.kind == "pull_request" and event.pattern:
        # Names there match the branch that the pull request comes from: a trigger looks at where it goes.
        return "custom", event.id
    section = _SECTIONS[event.kind]
    return section, event.id if section == "custom" else event.pattern or "**"


def _destination(pattern: str) -> str:
    if _any(pattern):
        return f'glob(BITBUCKET_PR_DESTINATION_BRANCH, "{pattern}")'
    return f'BITBUCKET_PR_DESTINATION_BRANCH == "{pattern}"'


def _pipeline(
    workflow: Workflow, key: str, section: str, pipeline: Pipeline, settings: Settings
) -> dict[str, Any]:
    return {
        "key": key,
        "about": workflow.id,
        "variables": _variables(workflow) if section == "custom" else [],
        "levels": [[_step(j, workflow, pipeline, settings) for j in level] for level in _levels(workflow)],
    }


def _levels(workflow: Workflow) -> list[list[Job]]:
    """Jobs by the longest way to them. Actions, which people may have to start, come alone and last."""
    depth: dict[str, int] = {}
    levels: list[list[Job]] = []
    for job in workflow.jobs:
        if job.kind is JobKind.ACTION:
            continue
        depth[job.id] = max((depth[n] + 1 for n in job.needs), default=0)
        while len(levels) <= depth[job.id]:
            levels.append([])
        levels[depth[job.id]].append(job)
    return levels + [[j] for j in workflow.jobs if j.kind is JobKind.ACTION]


def _variables(workflow: Workflow) -> list[dict[str, Any]]:
    found = []
    for given in workflow.inputs:
        options = given.type.values if given.type.name == "enum" else ()
        found.append(
            {
                "name": given.variable,
                "default": text.as_text(given.default),
                "description": f"parameter {given.param} ({given.type.name})",
                "options": ("true", "false") if given.type.name == "bool" else options,
            }
        )
    return found


def _step(job: Job, workflow: Workflow, pipeline: Pipeline, settings: Settings) -> dict[str, Any]:
    by_id = {j.id: j for j in workflow.jobs}
    skippable = [j for j in workflow.jobs if j.skippable]
    imported = [by_id[i] for i in job.imports]
    read = skippable if job.kind is JobKind.PLAN else [j for j in imported if j.skippable]
    caches = [_cache_name(pipeline, j) for j in read]
    if job.kind is JobKind.STAGES:
        own_cache = _cache_name(pipeline, job)
        caches = [own_cache, own_cache + _EARLIER, *caches]
    own = text.own_labels(pipeline, job, "bitbucket")
    return {
        "name": text.shown(job.title)[:100],
        "image": images.image_of(pipeline, job, "bitbucket"),
        "runs_on": own,
        "size": _size(job, pipeline),
        "minutes": checks.minutes(job, BITBUCKET),
        "full_clone": job.history,
        "oidc": bool(job.auths),
        "manual": job.approve is not None,
        "deployment": job.approve,
        "state": _state(job, workflow),
        "paths": [text.inside(settings, p) for p in workflow.event.paths],
        "caches": caches,
        "script": _script(job, workflow, pipeline, settings),
        "artifacts": _artifacts(job, workflow, settings),
        "no_download": job.kind is JobKind.PLAN,
        "outputs": _outputs(workflow) if job.kind is JobKind.PLAN else [],
    }


def _script(job: Job, workflow: Workflow, pipeline: Pipeline, settings: Settings) -> list[str]:
    lines = images.said(images.image_of(pipeline, job, "bitbucket"))
    lines += text.setup_lines(pipeline, settings, text.extra_of(pipeline, job, workflow))
    command = text.exec_command(job, workflow, settings)
    if job.kind is JobKind.PLAN:
        lines.append(text.check_command("bitbucket", settings))
        if _outputs(workflow):
            command += ' --outputs "$BITBUCKET_PIPELINES_VARIABLES_PATH" --format bitbucket'
    lines.append(command)
    if job.kind is JobKind.STAGES:
        # Folders of their own: an old bundle never hides a new one, and a runner may move a cache's folder
        # away before it collects what is handed over.
        folders = [_cached(job), _earlier(job)]
        lines.append(f"mkdir -p {' '.join(folders)}")
        # Where nothing was fresh, and the step started all the same, there is none.
        there = f"[ ! -e {text.bundle(job.id)} ] || " if workflow.event.refresh else ""
        lines += [f"{there}ln -f {text.bundle(job.id)} {folder}/" for folder in folders]
    return lines


def _outputs(workflow: Workflow) -> list[str]:
    """The variables in which the plan tells which steps are to run."""
    fresh = [_FRESH] if workflow.event.refresh else []
    return fresh + [_run_variable(j) for j in workflow.jobs if j.skippable]


def _state(job: Job, workflow: Workflow) -> str | None:
    """The condition of a step. Where nothing is fresh, the plan has no step run that may be skipped."""
    if job.skippable:
        return f"{_run_variable(job)} == true"
    return f"{_FRESH} == true" if workflow.event.refresh and job.kind is not JobKind.PLAN else None


def _artifacts(job: Job, workflow: Workflow, settings: Settings) -> list[str]:
    if text.hands_on(job, workflow):
        return [text.inside(settings, text.bundle(job.id))]
    return [text.inside(settings, text.REPORTS) + "/**"] if job.kind is JobKind.CHECK else []


def _run_variable(job: Job) -> str:
    return "RUN_" + variable(job.id)


def _size(job: Job, pipeline: Pipeline) -> str | None:
    runner = checks.runner_of(pipeline, job)
    wanted = runner.memory if runner else None
    if wanted is None:
        return None
    return next((name for name, memory in BITBUCKET_SIZES if memory >= wanted), BITBUCKET_SIZES[-1][0])


# --- caches


def _cached(job: Job) -> str:
    return f"{text.BUNDLES}/cached/{job.id}"


def _earlier(job: Job) -> str:
    return f"{text.BUNDLES}/{_EARLIER.strip('-')}/{job.id}"


def _cache_name(pipeline: Pipeline, job: Job) -> str:
    return f"mlpipe-{pipeline.name}-{job.id}"


def _caches(workflows: tuple[Workflow, ...], pipeline: Pipeline, settings: Settings) -> list[dict[str, Any]]:
    """Two caches for each job; the same job in two events is one, kept for the files of both.

    Bitbucket looks a cache up by the content of whole files and knows no second best: any change of a
    parameter would miss everything. So there is an earlier one beside it, of whenever the pipeline file
    changed last: what of it still holds, `mlpipec exec` uses.
    """
    files: dict[str, dict[str, None]] = {}
    jobs: dict[str, Job] = {}
    for workflow in workflows:
        for job in workflow.jobs:
            if job.kind is JobKind.STAGES:
                jobs.setdefault(job.id, job)
                files.setdefault(job.id, {}).update(dict.fromkeys(_read_by(job, pipeline)))
    found = []
    for id, job in jobs.items():
        name = _cache_name(pipeline, job)
        found.append((name, tuple(files[id]), _cached(job)))
        found.append((name + _EARLIER, (pipeline.file,), _earlier(job)))
    return [
        {"name": name, "files": [text.inside(settings, f) for f in read], "path": text.inside(settings, path)}
        for name, read, path in found
    ]


def _read_by(job: Job, pipeline: Pipeline) -> Iterator[str]:
    """Globs of the files of the repository that may decide what `job` makes, its earlier stages' too.

    More than needed only makes a cache new too often; a file that is missing here makes a cached result one
    that `mlpipec exec` finds out of date, and runs the stage.
    """
    yield from pipeline.sources
    yield from sorted({p.file for p in pipeline.params if p.file})
    stages = wanted(pipeline, job.stages).stages
    envs = {s.env for s in stages}
    for env in pipeline.envs:
        if env.name in envs:
            yield from (f for f in (env.requirements, env.lock, env.conda) if f)
    for stage in stages:
        yield from _inputs(stage)
        if stage.code.mode == "auto":
            yield "**/*.py"
        yield from (f"{p.rstrip('/')}/**" if p.endswith("/") else p for p in stage.code.paths)
    if any(d.source != "path" for d in pipeline.data):
        yield "mlpipe.lock"


def _inputs(stage: Stage) -> Iterable[str]:
    for given in stage.inputs:
        for source in given.sources:
            if isinstance(source, PathRef):
                yield f"{source.path.rstrip('/')}/**" if source.path.endswith("/") else source.path
            elif isinstance(source, GlobRef):
                yield source.pattern


# --- what cannot be


def _labels(workflows: tuple[Workflow, ...], pipeline: Pipeline, settings: Settings) -> Iterator[Diagnostic]:
    used = {j.runner for w in workflows for j in w.jobs}
    for runner in pipeline.runners:
        own = checks.labels(runner, "bitbucket")
        if runner.name not in used or not own:
            continue
        at = settings.locate(runner.place)
        if len(own) > (BITBUCKET.labels or len(own)):
            message = f"runner `{runner.name}` has {len(own)} labels; Bitbucket takes {BITBUCKET.labels}"
            yield Diagnostic.of(checks.LABELS, message, at)
        for label in own:
            if len(label) > (BITBUCKET.label or len(label)):
                message = (
                    f"the label `{label}` has {len(label)} characters; Bitbucket takes {BITBUCKET.label}"
                )
                yield Diagnostic.of(checks.LABELS, message, at)
        if "self.hosted" not in own:
            message = f"runner `{runner.name}` has Bitbucket labels without `self.hosted`"
            yield Diagnostic.of(
                checks.LABELS, message, at, help='as in `bitbucket = ["self.hosted", "linux"]`'
            )


def _events(workflows: tuple[Workflow, ...], settings: Settings) -> Iterator[Diagnostic]:
    seen: dict[tuple[str, str], Workflow] = {}
    for workflow in workflows:
        event = workflow.event
        at = settings.locate(event.place)
        where = _section(event)
        if where in seen:
            message = f"`{workflow.id}` and `{seen[where].id}` both start on {where[0]} `{where[1]}`"
            yield Diagnostic.of(checks.SAME_TRIGGER, message, at)
        seen.setdefault(where, workflow)
        yield from _schedule(workflow, settings)
        places: set[str] = set()
        for job in workflow.jobs:
            if job.approve is not None and job.approve in places:
                message = f"two actions of `{workflow.id}` deploy to `{job.approve}`"
                yield Diagnostic.of(checks.ENVIRONMENT_TWICE, message, at)
            places |= {job.approve} if job.approve else set()
    pushes = [w for w in workflows if w.event.kind == "push" and _any(w.event.pattern)]
    if pushes and any(w.event.kind == "pull_request" for w in workflows):
        message = f"a push to a pull request's branch starts `{pushes[0].id}` and the pull request's pipeline"
        yield Diagnostic.of(checks.DUPLICATE, message, settings.locate(pushes[0].event.place))


def _any(pattern: str | None) -> bool:
    return pattern is None or "*" in pattern


def _schedule(workflow: Workflow, settings: Settings) -> Iterator[Diagnostic]:
    cron, zone = checks.cron_of(workflow), workflow.event.zone
    if cron is None:
        return
    at = settings.locate(workflow.event.place)
    try:
        quartz(cron)
    except CronError as e:
        yield Diagnostic.of(checks.CRON_SERVICE, f"`{cron.text}` {e}, which Bitbucket's schedules cannot", at)
    if zone not in (None, "UTC", "Etc/UTC"):
        message = f"Bitbucket's schedules are in UTC: `{cron.text}` will not be in {zone}"
        yield Diagnostic.of(checks.ZONE_IGNORED, message, at)


def _notes(workflows: tuple[Workflow, ...], pipeline: Pipeline) -> Iterator[str]:
    for workflow in workflows:
        cron = checks.cron_of(workflow)
        if cron is not None:
            try:
                pattern = quartz(cron)
            except CronError:
                continue
            yield (
                "Bitbucket keeps schedules outside of the file. Add one under Pipelines > Schedules: the "
                f"custom pipeline `{workflow.id}` on branch `{pipeline.ci.branch}`, cron `{pattern}` (UTC)."
            )
    posted = text.posting(workflows)
    if posted:
        yield (
            f"To write {posted} of pull requests, steps need the secured repository variable "
            "BITBUCKET_TOKEN: a repository access token that may write pull requests and the repository. "
            "Without it they say so and go on."
        )
    if text.proposes(workflows):
        yield (
            "To propose results, the step needs the secured repository variable MLPIPE_TOKEN: a repository "
            "access token that may write the repository and pull requests."
        )
    if any(j.auths for w in workflows if w.event.kind == "pull_request" for j in w.jobs):
        yield (
            "Bitbucket's tokens name the repository, the deployment and the step. Where that is all that a "
            "provider compares, as AWS does, it cannot tell steps of a pull request from those of the branch."
        )
    if any(len(level) > 1 for w in workflows for level in _levels(w)):
        yield "Bitbucket has no job graph: steps go by levels, and each waits for the whole level before."
    if any(j.approve for w in workflows for j in w.jobs):
        names = sorted({j.approve for w in workflows for j in w.jobs if j.approve})
        yield f"under Repository settings > Deployments there must be: {', '.join(names)}"
