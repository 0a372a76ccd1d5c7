"""GitLab CI: one `.gitlab-ci.yml`, where each event's jobs have the event's rule."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from mlflowc.backends import checks, images, text
from mlflowc.backends.limits import GITLAB, GITLAB_GPU

from mlflowc.diagnostic import Check, Diagnostic
from mlflowc.ir.model import Event, Pipeline
from mlflowc.jobs.model import Job, JobKind, Workflow, WorkflowInput
from mlflowc.jobs.names import slug
from mlflowc.target import Emission, GeneratedFile, Settings, with_header

CHECKS: tuple[Check, ...] = (*checks.SHARED, checks.GPU_TOO_SMALL, images.TAG)

# The jobs of a kind are shown in one column.
_STAGES = {
    JobKind.PLAN: "plan",
    JobKind.STAGES: "run",
    JobKind.CHECK: "check",
    JobKind.PROPOSE: "propose",
    JobKind.ACTION: "act",
}
# A schedule says by this variable which event it is, a person by this one.
SCHEDULE, MANUAL = "MLPIPE_SCHEDULE", "MLPIPE_EVENT"


@dataclass(frozen=True, slots=True)
class _Trigger:
    """The condition on which an event's jobs exist."""

    condition: str
    paths: tuple[str, ...] = ()
    compare_to: str | None = None

    @property
    def changes(self) -> str:
        listed = ", ".join(text.yaml_scalar(p) for p in self.paths)
        compared = f", compare_to: {text.yaml_scalar(self.compare_to)}" if self.compare_to else ""
        return f"{{paths: [{listed}]{compared}}}"


def emit(
    workflows: tuple[Workflow, ...], pipeline: Pipeline, settings: Settings
) -> tuple[Emission, tuple[Diagnostic, ...]]:
    """`.gitlab-ci.yml` at the repository's root."""
    triggers = {w.id: _trigger(w.event, workflows, pipeline, settings) for w in workflows}
    jobs = [v for w in workflows for v in _jobs(w, triggers[w.id], pipeline, settings)]
    body = text.render(
        "gitlab.yml.j2",
        triggers=list(triggers.values()),
        variables=_variables(workflows),
        stages=[s for kind, s in _STAGES.items() if any(j.kind is kind for w in workflows for j in w.jobs)],
        image=f"{text.PYTHON_IMAGE}:{pipeline.ci.python}",
        setup=text.setup_lines(pipeline, settings),
        jobs=jobs,
    )
    files = (GeneratedFile(".gitlab-ci.yml", with_header(body, pipeline, "gitlab", settings)),)
    findings = [
        *checks.shared(workflows, pipeline, settings, GITLAB, "gitlab"),
        *_hosted_gpu(workflows, pipeline, settings),
        *images.findings(workflows, pipeline, settings, "gitlab"),
        *_names(jobs, pipeline, settings),
        *checks.size(files, pipeline, settings, GITLAB),
    ]
    return Emission(files, tuple(_notes(workflows, pipeline))), tuple(findings)


def owned(settings: Settings) -> tuple[str, ...]:
    """The one place where GitLab looks."""
    return (".gitlab-ci.yml",)


# --- when


def _trigger(
    event: Event, workflows: tuple[Workflow, ...], pipeline: Pipeline, settings: Settings
) -> _Trigger:
    paths = tuple(text.inside(settings, p) for p in event.paths)
    source = "$CI_PIPELINE_SOURCE"
    if event.kind == "pull_request":
        condition = f'{source} == "merge_request_event"'
        if event.pattern:
            condition += f" && {_matches('$CI_MERGE_REQUEST_TARGET_BRANCH_NAME', event.pattern)}"
        return _Trigger(condition, paths)
    if event.kind == "push":
        condition = f'{source} == "push" && {_matches("$CI_COMMIT_BRANCH", event.pattern)}'
        merge_requests = any(w.event.kind == "pull_request" for w in workflows)
        if merge_requests and (event.pattern is None or _is_glob(event.pattern)):
            # The merge request's own pipeline runs for this commit: one is enough.
            condition += " && $CI_OPEN_MERGE_REQUESTS == null"
        # A new branch has nothing to be compared with, and then everything counts as changed.
        compare = None if event.pattern == pipeline.ci.branch else pipeline.ci.branch
        return _Trigger(condition, paths, compare if paths else None)
    if event.kind == "tag":
        return _Trigger(f'{source} == "push" && {_matches("$CI_COMMIT_TAG", event.pattern)}')
    if event.kind == "schedule":
        return _Trigger(f'{source} == "schedule" && ${SCHEDULE} == "{event.id}"')
    by_hand = f'({source} == "web" || {source} == "api" || {source} == "trigger")'
    several = sum(w.event.kind == "manual" for w in workflows) > 1
    return _Trigger(by_hand + (f' && ${MANUAL} == "{event.id}"' if several else ""))


def _is_glob(pattern: str) -> bool:
    return any(c in pattern for c in "*?[")


def _matches(variable: str, pattern: str | None) -> str:
    if pattern is None or pattern in ("*", "**"):
        return variable
    if not _is_glob(pattern):
        return f'{variable} == "{pattern}"'
    parts = re.split(r"(\*\*|\*|\?)", pattern)
    meaning = {"**": ".*", "*": "[^\\/]*", "?": "[^\\/]"}
    expression = "".join(meaning.get(p) or re.escape(p).replace("/", "\\/") for p in parts)
    return f"{variable} =~ /^{expression}$/"


def _variables(workflows: tuple[Workflow, ...]) -> list[dict[str, Any]]:
    manual = [w for w in workflows if w.event.kind == "manual"]
    found: list[dict[str, Any]] = []
    if len(manual) > 1:
        ids = [w.id for w in manual]
        found.append({"name": MANUAL, "value": ids[0], "description": "what to run", "options": ids})
    seen: set[str] = set()
    for given in (i for w in manual for i in w.inputs):
        if given.variable not in seen:
            seen.add(given.variable)
            found.append(_variable(given))
    return found


def _variable(given: WorkflowInput) -> dict[str, Any]:
    options: tuple[str, ...] = given.type.values if given.type.name == "enum" else ()
    if given.type.name == "bool":
        options = ("true", "false")
    return {
        "name": given.variable,
        "value": text.as_text(given.default).replace("$", "$$"),
        "description": f"parameter {given.param} ({given.type.name})",
        "options": options,
    }


# --- jobs


def _jobs(
    workflow: Workflow, trigger: _Trigger, pipeline: Pipeline, settings: Settings
) -> Iterator[dict[str, Any]]:
    for job in workflow.jobs:
        joins, needs = _joined(job, workflow, trigger)
        for join in joins:
            yield {**join, **_join_script(settings)}
        yield {**_job(job, workflow, trigger, pipeline, settings), "needs": needs}


def _name(workflow: Workflow, job: str) -> str:
    return f"{workflow.id}:{job}"


def _joined(
    job: Job, workflow: Workflow, trigger: _Trigger
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Join jobs where a job waits for more than it may: each waits for some, and hands on what they made."""
    needs = [{"name": _name(workflow, n), "artifacts": n in job.imports} for n in job.needs]
    joins: list[dict[str, Any]] = []
    limit = GITLAB.needs or len(needs)
    while len(needs) > limit:
        part, needs = needs[:limit], needs[limit:]
        name = f"{_name(workflow, job.id)}:join-{len(joins) + 1}"
        joins.append(_plain(name, "run", trigger, part))
        needs.append({"name": name, "artifacts": True})
    return joins, needs


def _plain(name: str, stage: str, trigger: _Trigger, needs: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": name,
        "stage": stage,
        "trigger": trigger,
        "needs": needs,
        "minutes": 60,
        "interruptible": False,
        "tags": (),
        "history": False,
        "approve": None,
        "auths": [],
        "image": None,
        "setup": [],
        "script": [],
        "cached": False,
        "bundle": None,
        "reports": None,
        "junit": None,
        "join": True,
    }


def _join_script(settings: Settings) -> dict[str, Any]:
    folder = text.inside(settings, text.BUNDLES)
    return {"setup": ["true"], "script": [f"ls {folder}"], "bundle": f"{folder}/"}


def _job(
    job: Job, workflow: Workflow, trigger: _Trigger, pipeline: Pipeline, settings: Settings
) -> dict[str, Any]:
    cache = f"mlpipe-{pipeline.name}-{job.id}"
    extra = text.extra_of(pipeline, job, workflow)
    image = images.image_of(pipeline, job, "gitlab")
    script = [text.exec_command(job, workflow, settings)]
    if job.kind is JobKind.PLAN:
        script = [text.check_command("gitlab", settings), *script]
    view = _plain(_name(workflow, job.id), _STAGES[job.kind], trigger, [])
    return view | {
        "minutes": checks.minutes(job, GITLAB),
        "interruptible": workflow.event.kind == "pull_request" and job.kind is not JobKind.ACTION,
        "tags": text.own_labels(pipeline, job, "gitlab"),
        "history": job.history,
        "approve": job.approve,
        "auths": text.tokens(pipeline, job),
        "image": image,
        "setup": [*images.said(image), *text.setup_lines(pipeline, settings, extra)]
        if extra or image
        else [],
        "script": script,
        "join": False,
        "cache": f"{cache}-$CI_COMMIT_REF_SLUG",
        "fallback": f"{cache}-{slug(pipeline.ci.branch)}",
        "cached": job.kind is JobKind.STAGES,
        "bundle": text.inside(settings, text.bundle(job.id)) if text.hands_on(job, workflow) else None,
        "trigger": _own_branch(trigger, pipeline) if job.kind is JobKind.PROPOSE else trigger,
        "reports": text.inside(settings, text.REPORTS) + "/" if job.kind is JobKind.CHECK else None,
        "junit": text.inside(settings, text.RESULTS)
        if job.kind is JobKind.CHECK or (job.kind is JobKind.STAGES and text.hands_on(job, workflow))
        else None,
    }


def _own_branch(trigger: _Trigger, pipeline: Pipeline) -> _Trigger:
    """The same, on the main branch alone."""
    return replace(trigger, condition=f'{trigger.condition} && $CI_COMMIT_BRANCH == "{pipeline.ci.branch}"')


# --- what cannot be


def _hosted_gpu(
    workflows: tuple[Workflow, ...], pipeline: Pipeline, settings: Settings
) -> Iterator[Diagnostic]:
    tag, model, count, memory = GITLAB_GPU
    used = {j.runner for w in workflows for j in w.jobs}
    for runner in pipeline.runners:
        gpu = runner.gpu
        if runner.name not in used or gpu is None or tag not in checks.labels(runner, "gitlab"):
            continue
        if gpu.count > count or (gpu.memory or 0) > memory or (gpu.model or model) != model:
            message = f"runner `{runner.name}` asks for more than the one {model} of `{tag}`"
            yield Diagnostic.of(checks.GPU_TOO_SMALL, message, settings.locate(runner.place))


def _names(jobs: list[dict[str, Any]], pipeline: Pipeline, settings: Settings) -> Iterator[Diagnostic]:
    for job in jobs:
        if GITLAB.name is not None and len(job["name"]) > GITLAB.name:
            message = f"the job `{job['name']}` has {len(job['name'])} characters; GitLab takes {GITLAB.name}"
            yield Diagnostic.of(checks.NAME_LENGTH, message, settings.locate(pipeline.events[0].place))


def _notes(workflows: tuple[Workflow, ...], pipeline: Pipeline) -> Iterator[str]:
    for workflow in workflows:
        event = workflow.event
        if event.kind == "schedule":
            yield (
                f"GitLab keeps schedules outside of the file. Add one under Build > Pipeline schedules: cron "
                f"`{event.cron}`, time zone {event.zone or 'UTC'}, branch `{pipeline.ci.branch}`, "
                f"variable {SCHEDULE} = {event.id}."
            )
    posted = text.posting(workflows)
    if posted:
        yield (
            f"To write {posted} of merge requests, jobs need the masked CI/CD variable GITLAB_TOKEN, not "
            "protected: a project access token with the role Developer and the scope `api` (a job's own "
            "token can only read comments). Without it they say so and go on."
        )
    if text.proposes(workflows):
        yield (
            "To propose results, the job `propose` needs the masked and protected CI/CD variable "
            "MLPIPE_TOKEN: a project access token with the role Developer and the scopes `api` and "
            "`write_repository`."
        )
    if any(w.event.kind == "pull_request" for w in workflows):
        yield (
            "GitLab keeps the caches of protected and other branches apart, so a merge request finds what "
            "its own pipelines made before, and never writes what a protected branch reads."
        )
