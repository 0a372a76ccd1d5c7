"""Text by templates: the words that templates use, and how values get into YAML safely."""

from __future__ import annotations

import json
import re
from importlib import resources
from shlex import quote
from typing import Any

import jinja2
from mlflowc.backends.checks import labels, runner_of

from mlflowc.data.declared import needs_library
from mlflowc.ir import feeds, identity
from mlflowc.ir.model import Action, DataRef, Pipeline, Stage, Value
from mlflowc.jobs.model import Job, JobKind, Workflow
from mlflowc.target import Settings

BUNDLES = "mlpipe-bundles"
REPORTS = "mlpipe-report"
RESULTS = "mlpipe-report/test-results/*.xml"  # JUnit XML; see `mlflowc.runtime.junit`
PYTHON_IMAGE = "python"

_PLAIN = re.compile(r"[A-Za-z_./][A-Za-z0-9_./ @+=,()-]*(?<! )")
_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n", "~"}


def yaml_scalar(value: Value) -> str:
    """A value as a YAML scalar on one line: plain where no reader can take it for something else."""
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    text = str(value)
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    if '"' in text and text.isprintable() and text.isascii():
        return "'" + text.replace("'", "''") + "'"
    return json.dumps(text)


def shown(text: str) -> str:
    """Text for people in a place where a service would look for expressions: it finds none."""
    return text.replace("${{", "$ {{")


def install(pipeline: Pipeline, settings: Settings, extra: str = "") -> str:
    """The command that installs this tool, to be run in the project's folder.

    `ci.install` is a requirement, a git URL, or the path of a wheel or folder in the repository; `extra` is
    an optional dependency of ours that the job needs.
    """
    spec = pipeline.ci.install or f"mlflowc=={settings.version}"
    with_extra = f"mlflowc[{extra}]" if extra else "mlflowc"
    if spec.startswith(("git+", "http://", "https://")):
        spec = f"{with_extra} @ {spec}" if extra else spec
    elif spec.endswith(".whl") or "/" in spec:
        up = "/".join([".."] * len([p for p in settings.folder.split("/") if p])) or "."
        spec = f"{up}/{spec.removeprefix('./')}" + (f"[{extra}]" if extra else "")
    elif extra and "[" not in spec:
        spec = re.sub(r"^([A-Za-z0-9._-]+)", rf"\1[{extra}]", spec)
    return f"uv tool install --quiet --python {quote(pipeline.ci.python)} {quote(spec)}"


def setup_lines(pipeline: Pipeline, settings: Settings, extra: str = "") -> list[str]:
    """The shell lines that get this tool where a job starts in an image with Python, at the git root.

    They end in the project's folder. The tool goes into the checkout: on a runner without containers, jobs
    that run at the same time share a home, and would replace it under each other's feet.
    """
    lines = [f"cd {quote(settings.folder)}"] if settings.folder else []
    return [
        *lines,
        "command -v uv > /dev/null || python3 -m pip install --quiet --root-user-action ignore uv",
        'export UV_TOOL_DIR="$PWD/.mlpipe/tools" UV_TOOL_BIN_DIR="$PWD/.mlpipe/bin"',
        install(pipeline, settings, extra),
        'export PATH="$UV_TOOL_BIN_DIR:$PATH"',
    ]


def as_text(value: Value) -> str:
    """A value as a person types it into a form, and as `mlpipec exec` reads it."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def extra_of(pipeline: Pipeline, job: Job, workflow: Workflow) -> str:
    """The optional dependencies of ours that `job` needs: drawing plots takes more than running stages, and
    so does checking files that Python alone cannot read, or asking a remote that is not a folder. What
    fetches data needs the client of its source; trials of `tpe` need what chooses them.
    """
    drawn = {r.name for r in pipeline.reports if any(i.kind == "plot" for i in r.items)}
    extras = ["report"] if job.kind is JobKind.CHECK and drawn & set(job.reports) else []
    remote = pipeline.cache.remote or ""
    if "://" in remote and not remote.startswith("file://"):
        extras = ["remote", *extras]
    stages = [s for s in pipeline.stages if s.id in job.stages]
    steps: tuple[Stage | Action, ...] = (*stages, *(a for a in pipeline.actions if a.name == job.action))
    read = {s.data for x in steps for i in x.inputs for s in i.sources if isinstance(s, DataRef)}
    if refreshes(job, workflow):
        read |= set(workflow.event.refresh)
    sources = [d for d in pipeline.data if d.name in read]
    types = [i.type for s in stages for i in s.inputs] + [o.type for s in stages for o in s.outputs]
    if any(map(needs_library, [*types, *(d.type for d in sources)])):
        extras = ["data", *extras]
    extras += sorted({e for d in sources for e in feeds.extras(d)} - set(extras))
    if any(s.name in job.stages and s.search == "tpe" for s in pipeline.sweeps):
        extras.append("sweep")
    if uses_conda(pipeline):
        extras = ["conda", *extras]
    return ",".join(extras)


def credentials(pipeline: Pipeline, job: Job, workflow: Workflow) -> tuple[str, ...]:
    """Names of the secrets that `job` needs for the remote.

    The key that signs results goes to those alone that make results for everybody.
    """
    event, names = workflow.event, pipeline.cache.secrets
    protected = event.kind in ("schedule", "manual") or (
        event.kind == "push" and event.pattern == pipeline.ci.branch
    )
    signs = protected and job.kind is JobKind.STAGES
    return tuple(n for n in names if (n != identity.SIGNING_KEY or signs) and n not in job.secrets)


def tokens(pipeline: Pipeline, job: Job) -> list[tuple[str, str]]:
    """The variables in which a service puts the tokens of `job`, and for whom each is."""
    return [
        (identity.variable(a.provider), identity.audience(a))
        for a in pipeline.auths
        if a.provider in job.auths
    ]


def uses_conda(pipeline: Pipeline) -> bool:
    """Whether anything runs in a conda environment. Each job may have to resolve it, to know keys."""
    conda = {e.name for e in pipeline.envs if e.conda is not None}
    steps: tuple[Stage | Action, ...] = (*pipeline.stages, *pipeline.actions)
    return any(x.env in conda for x in steps)


def exec_command(job: Job, workflow: Workflow, settings: Settings, *, post: bool = True) -> str:
    """The one command of a generated job, to be run in the project's folder. `post`: at a service, where a
    pull request can be written to."""
    file = f" -f {quote(settings.file)}" if settings.file else ""
    posts = " --post" if post and (job.comments or job.statuses) else ""
    return f"mlpipec exec {job.id} --on {workflow.id}{posts}{file}"


def posting(workflows: tuple[Workflow, ...]) -> str:
    """What jobs write to pull requests, in words; empty where they write nothing."""
    jobs = [j for w in workflows for j in w.jobs]
    parts = ["reports as comments"] if any(j.comments for j in jobs) else []
    parts += ["gates as commit statuses"] if any(j.statuses for j in jobs) else []
    return " and ".join(parts)


def proposes(workflows: tuple[Workflow, ...]) -> bool:
    """Whether any event proposes its results."""
    return any(w.event.propose for w in workflows)


def check_command(target: str, settings: Settings) -> str:
    """What the plan job runs first."""
    file = f" -f {quote(settings.file)}" if settings.file else ""
    return f"mlpipec build --target {target} --check{file}"


def inside(settings: Settings, path: str) -> str:
    """A path of the project as seen from the repository's root."""
    return f"{settings.folder}/{path}" if settings.folder else path


def bundle(job: str) -> str:
    """The file that carries a job's results, relative to the project."""
    return f"{BUNDLES}/{job}.tar"


def refreshes(job: Job, workflow: Workflow) -> bool:
    """Whether the job takes in fresh data, and tells the others whether there is any."""
    return job.kind is JobKind.PLAN and bool(workflow.event.refresh)


def hands_on(job: Job, workflow: Workflow) -> bool:
    """Whether the job leaves a bundle for those behind it."""
    return job.kind is JobKind.STAGES or refreshes(job, workflow)


def own_labels(pipeline: Pipeline, job: Job, service: str) -> tuple[str, ...]:
    """The labels of the machines that may take `job` at `service`; empty: any."""
    return labels(runner_of(pipeline, job), service)


def render(template: str, **values: Any) -> str:
    """The text of a template of this package, with `values`."""
    source = resources.files(__package__).joinpath("templates", template).read_text(encoding="utf-8")
    return _environment().from_string(source).render(**values)


def _environment() -> jinja2.Environment:
    # Not `{{ }}`: that is what GitHub's expressions look like, and the templates should stay readable.
    environment = jinja2.Environment(
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,
    )
    environment.filters["y"] = yaml_scalar
    return environment
