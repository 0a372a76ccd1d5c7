"""GitHub Actions: one workflow file an event, in `.github/workflows/`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlflowc.backends import checks, text
from mlflowc.backends.limits import GITHUB, PINS

from mlflowc.diagnostic import Check, Diagnostic
from mlflowc.ir.model import Pipeline, Value
from mlflowc.jobs.model import Job, JobKind, Workflow, WorkflowInput
from mlflowc.target import Emission, GeneratedFile, Settings, with_header

CHECKS: tuple[Check, ...] = checks.SHARED

_KINDS = {
    "pull_request": "pull request",
    "push": "push",
    "tag": "tag",
    "schedule": "schedule",
    "manual": "manual",
}
_INPUT_TYPES = {"int": "number", "float": "number", "bool": "boolean", "enum": "choice"}
_SAME_REPOSITORY = "github.event.pull_request.head.repo.full_name == github.repository"


def emit(
    workflows: tuple[Workflow, ...], pipeline: Pipeline, settings: Settings
) -> tuple[Emission, tuple[Diagnostic, ...]]:
    """A workflow file for each event."""
    files = tuple(_file(w, pipeline, settings) for w in workflows)
    findings = [
        *checks.shared(workflows, pipeline, settings, GITHUB, "github"),
        *_names(workflows, pipeline, settings),
        *checks.size(files, pipeline, settings, GITHUB),
    ]
    return Emission(files, tuple(_notes(workflows))), tuple(findings)


def owned(settings: Settings) -> tuple[str, ...]:
    """Where workflows may be; the header says which are ours."""
    return (".github/workflows/*.yml",)


def _file(workflow: Workflow, pipeline: Pipeline, settings: Settings) -> GeneratedFile:
    event = workflow.event
    views = {j.id: _job(j, workflow, pipeline, settings) for j in workflow.jobs}
    body = text.render(
        "github.yml.j2",
        name=text.shown(f"{pipeline.name}: {_title(workflow)}"),
        event=event,
        # A filter by path has a meaning for pushes to branches and pull requests only.
        paths=[text.inside(settings, p) for p in event.paths]
        if event.kind in ("push", "pull_request")
        else [],
        inputs=[_input(i) for i in workflow.inputs],
        group=_group(workflow, pipeline),
        folder=settings.folder,
        lfs=settings.lfs,
        remote=bool(pipeline.cache.remote),
        uv_cache=_cached_downloads(workflow, pipeline),
        pins=PINS,
        check=text.check_command("github", settings),
        bundles=text.inside(settings, text.BUNDLES),
        reports=text.inside(settings, text.REPORTS) + "/",
        report_artifact=f"mlpipe-report-{workflow.id}",
        jobs=list(views.values()),
        stage_jobs=[views[j.id] for j in workflow.jobs if j.kind is JobKind.STAGES],
    )
    path = f".github/workflows/{pipeline.name}-{workflow.id}.yml"
    return GeneratedFile(path, with_header(body, pipeline, "github", settings))


def _cached_downloads(workflow: Workflow, pipeline: Pipeline) -> bool:
    """Whether downloads may come from a cache: nothing that was put there may end up in a release."""
    event = workflow.event
    return event.kind != "tag" and (event.kind != "push" or event.pattern == pipeline.ci.branch)


def _title(workflow: Workflow) -> str:
    event = workflow.event
    what = event.pattern or event.cron
    return _KINDS[event.kind] + (f" {what}" if what else "")


def _group(workflow: Workflow, pipeline: Pipeline) -> str:
    base = f"{pipeline.name}-{workflow.id}"
    if workflow.event.kind == "pull_request":
        return base + "-${{ github.event.pull_request.number }}"
    return base + "-${{ github.ref }}"


def _job(job: Job, workflow: Workflow, pipeline: Pipeline, settings: Settings) -> dict[str, Any]:
    by_id = {j.id: j for j in workflow.jobs}
    own = text.own_labels(pipeline, job, "github")
    return {
        "id": job.id,
        "kind": job.kind.value,
        "title": text.shown(job.title),
        "step": text.shown(_step(job)),
        "needs": job.needs,
        "hands_on": text.hands_on(job, workflow),
        "refreshes": text.refreshes(job, workflow),
        "condition": _condition(job, workflow, pipeline),
        "runs_on": _runs_on(own),
        "minutes": checks.minutes(job, GITHUB),
        "environment": job.approve,
        "history": job.history,
        "install": text.install(pipeline, settings, text.extra_of(pipeline, job, workflow)),
        "exec": text.exec_command(job, workflow, settings) + _outputs(job),
        "secrets": [(name, f"secrets.{name}") for name in job.secrets]
        + [(name, _secret(name, workflow)) for name in text.credentials(pipeline, job, workflow)],
        "auths": job.auths,
        "comments": job.comments,
        "statuses": job.statuses,
        "skippable": job.skippable,
        "prefix": f"mlpipe-{pipeline.name}-{job.id}-",
        "imports": [_handed_over(by_id[i], pipeline, settings) for i in job.imports],
        **_handed_over(job, pipeline, settings),
    }


def _secret(name: str, workflow: Workflow) -> str:
    """A secret of the remote. Whatever a repository gives to pull requests of forks: not this."""
    if workflow.event.kind == "pull_request":
        return f"{_SAME_REPOSITORY} && secrets.{name} || ''"
    return f"secrets.{name}"


def _handed_over(job: Job, pipeline: Pipeline, settings: Settings) -> dict[str, Any]:
    return {
        "id": job.id,
        "skippable": job.skippable,
        "artifact": f"mlpipe-{pipeline.name}-{job.id}",
        "bundle": text.inside(settings, text.bundle(job.id)),
    }


def _outputs(job: Job) -> str:
    return ' --outputs "$GITHUB_OUTPUT" --format github' if job.kind is JobKind.PLAN else ""


def _step(job: Job) -> str:
    if job.kind is JobKind.STAGES:
        return f"Run {job.title}"
    if job.kind is JobKind.PROPOSE:
        return "Propose the results"
    return f"Check {job.title}" if job.kind is JobKind.CHECK else f"Act: {job.title}"


def _runs_on(own: tuple[str, ...]) -> str:
    if not own:
        return "ubuntu-latest"
    if len(own) == 1:
        return text.yaml_scalar(own[0])
    return "[" + ", ".join(text.yaml_scalar(label) for label in own) + "]"


def _condition(job: Job, workflow: Workflow, pipeline: Pipeline) -> str:
    """When a job starts. One behind a job that may be skipped has to say that it starts all the same."""
    parts = []
    if workflow.event.refresh and job.kind is not JobKind.PLAN:
        parts.append("needs.plan.outputs.fresh == 'true'")
    if job.skippable:
        parts.append(f"needs.plan.outputs.run-{job.id} == 'true'")
    if job.trusted and workflow.event.kind == "pull_request":
        parts.append(_SAME_REPOSITORY)
    if job.kind is JobKind.PROPOSE:
        branch = pipeline.ci.branch.replace("'", "''")
        parts += [f"github.ref == 'refs/heads/{branch}'", "!github.event.repository.fork"]
    if any(j.skippable for j in _ancestors(job, workflow)):
        parts = ["!cancelled()", "!failure()", *parts]
    return " && ".join(parts)


def _ancestors(job: Job, workflow: Workflow) -> Iterator[Job]:
    seen: set[str] = set()
    stack = list(job.needs)
    while stack:
        id = stack.pop()
        above = workflow.job(id)
        if above is not None and id not in seen:
            seen.add(id)
            stack.extend(above.needs)
            yield above


def _input(given: WorkflowInput) -> dict[str, Any]:
    kind = _INPUT_TYPES.get(given.type.name, "string")
    default: Value = given.default
    if kind == "string":
        default = text.as_text(given.default)
        if "${{" in default:
            default = ""  # not a place where GitHub takes that; nothing given means the default anyway
    return {
        "id": given.id,
        "variable": given.variable,
        "description": text.shown(f"parameter {given.param}"),
        "type": kind,
        "default": default,
        "options": given.type.values if kind == "choice" else (),
    }


def _notes(workflows: tuple[Workflow, ...]) -> Iterator[str]:
    if text.proposes(workflows):
        yield (
            "To propose results, the job `propose` takes the secret MLPIPE_TOKEN (of an app or a person: "
            "contents and pull requests, read and write). Without it, it takes its own token: then no "
            "workflow starts for the pull request, and Settings > Actions > General has to allow that "
            "Actions create some."
        )


def _names(workflows: tuple[Workflow, ...], pipeline: Pipeline, settings: Settings) -> Iterator[Diagnostic]:
    for workflow in workflows:
        for job in workflow.jobs:
            # A content hash of 64 characters ends the key of the cache.
            key = len(f"mlpipe-{pipeline.name}-{job.id}-") + 64
            if GITHUB.cache_key is not None and key > GITHUB.cache_key:
                message = f"the cache key of `{job.id}` has {key} characters; GitHub takes {GITHUB.cache_key}"
                yield Diagnostic.of(checks.NAME_LENGTH, message, settings.locate(workflow.event.place))
                return
