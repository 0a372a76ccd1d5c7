"""Workflows of GitHub Actions as jobs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from mlflowc.importing import conditions
from mlflowc.importing.ci import Job, Trigger, Wanted, is_variable, logical, minutes, python_version
from mlflowc.importing.coverage import Coverage, Place
from mlflowc.importing.literals import literal
from mlflowc.importing.yamltree import Node, wrong

_TOP = ("name", "on", "env", "jobs", "permissions", "run-name")
_HOSTED = re.compile(r"(ubuntu|macos|windows)-[\w.-]+")
_SECRET = re.compile(r"\$\{\{\s*secrets\.(\w+)\s*\}\}")
# What a generated job does by itself.
_OWN = ("actions/checkout", "actions/cache", "actions/upload-artifact", "actions/download-artifact")
_TOOLS = ("iterative/setup-cml", "iterative/setup-dvc", "actions/setup-node", "astral-sh/setup-uv")
_JOB = (
    *("name", "runs-on", "steps", "env", "container", "timeout-minutes", "needs", "permissions", "outputs"),
    *("if", "strategy", "services", "concurrency", "defaults", "continue-on-error", "uses", "environment"),
)
_TODO = {
    "if": "events say when something runs: see `on`",
    "strategy": "`each` makes instances of a stage",
    "services": "start it in the command that needs it",
    "concurrency": "generated files have their own",
    "defaults": "`dir` of a stage is its working directory",
    "continue-on-error": "a stage that may fail says so in its command: `… || true`",
    "uses": "write its commands as stages",
    "environment": "`approve` of an `action` names it",
}


class Reader:
    """Reads one workflow."""

    def __init__(self, coverage: Coverage) -> None:
        self._coverage = coverage

    def read(self, root: Node) -> list[Job]:
        """Its jobs. Raises Failure for what is no workflow."""
        jobs = root.get("jobs")
        if jobs is None or not isinstance(jobs.value, dict):
            raise wrong(root.place, "this is no workflow: it has no `jobs`")
        for name, _, place in root.pairs():
            if name not in _TOP:
                self._coverage.left(
                    name, place, f"`{name}` of the workflow", _TODO.get(name, "see what it is for")
                )
        if "permissions" in root.mapping:
            self._coverage.carried(
                "permissions", root.place_of("permissions"), "generated files ask for what they need"
            )
        triggers = list(self._triggers(root))
        shared = self._env(root, "the workflow")
        made = []
        for name, node, place in jobs.pairs():
            if not isinstance(node.value, dict):
                raise wrong(place, f"the job `{name}` is no mapping")
            made.append(self._job(name, node, place, triggers, shared))
        return made

    # --- triggers ---

    def _triggers(self, root: Node) -> Iterator[Trigger]:
        on = root.get("on")
        if on is None:
            self._coverage.left("on", root.place, "the workflow says not when it runs", "add an `on`")
            return
        if isinstance(on.value, dict):
            for name, node, place in on.pairs():
                yield from self._trigger(name, node, place)
        else:
            for item in on.items or [on]:
                yield from self._trigger(str(item.value), Node(None, item.file, item.line), item.place)

    def _trigger(self, name: str, node: Node, place: Place) -> Iterator[Trigger]:
        match name:
            case "push":
                yield from self._push(node, place)
            case "pull_request":
                bases = _texts(node.get("branches"))
                for key in ("types", "branches-ignore", "paths-ignore"):
                    if key in node.mapping:
                        self._coverage.left(
                            key, node.place_of(key), "of pull_request", "say it with `paths`, or leave it"
                        )
                paths = _texts(node.get("paths"))
                for base in bases or ("",):
                    yield Trigger("pull_request", place, base, paths=paths)
            case "schedule":
                for item in node.items:
                    cron, zone = item.get("cron"), item.get("timezone")
                    if cron is not None and cron.text:
                        yield Trigger(
                            "schedule", item.place, cron=cron.text, zone=(zone.text if zone else "") or ""
                        )
            case "workflow_dispatch":
                yield Trigger("manual", place, inputs=tuple(self._inputs(node.get("inputs"))))
            case _:
                todo = (
                    "`pull_request` does without the rights of the target" if name.endswith("target") else ""
                )
                self._coverage.left(
                    "on", place, f"the event `{name}`", todo or "run it by hand, or on a schedule"
                )

    def _push(self, node: Node, place: Place) -> Iterator[Trigger]:
        for key in ("branches-ignore", "paths-ignore", "tags-ignore"):
            if key in node.mapping:
                self._coverage.left(key, node.place_of(key), "of push", "name what shall start it")
        paths = _texts(node.get("paths"))
        branches, tags = _texts(node.get("branches")), _texts(node.get("tags"))
        for pattern in [*branches, *tags]:
            if pattern.startswith("!"):
                self._coverage.left("on", place, f"the pattern `{pattern}`", "name what shall start it")
        for branch in branches or (() if tags else ("",)):
            if not branch.startswith("!"):
                yield Trigger("push", place, branch, paths=paths)
        for tag in tags:
            if not tag.startswith("!"):
                yield Trigger("tag", place, tag)

    def _inputs(self, node: Node | None) -> Iterator[Wanted]:
        for name, given, place in node.pairs() if node is not None else ():
            kind, default, options = given.get("type"), given.get("default"), given.get("options")
            written = kind.text if kind is not None else "string"
            type = {"boolean": "bool", "number": "float"}.get(written or "", "str")
            if written == "choice" and options is not None:
                type = "enum [" + ", ".join(literal(t) for t in _texts(options)) + "]"
            value = (
                default.value if default is not None and not isinstance(default.value, dict | list) else None
            )
            yield Wanted(name, type, value, place)

    # --- jobs ---

    def _job(
        self,
        name: str,
        node: Node,
        place: Place,
        triggers: list[Trigger],
        shared: tuple[dict[str, str], list[str]],
    ) -> Job:
        job = Job("github", name, place, list(triggers), vars=dict(shared[0]), secrets=list(shared[1]))
        guard = ""
        for key, value, at in node.pairs():
            if key == "if" and value.is_scalar:
                job.triggers, guard = conditions.apply(str(value.value), job.triggers)
                if guard:
                    self._coverage.left(key, at, f"`{guard}`, of job `{name}`", _TODO["if"])
                else:
                    self._coverage.carried(key, at, f"of job `{name}`: its events say it")
            elif key in _TODO or key not in _JOB:
                if value.value is not None:
                    self._coverage.left(key, at, f"of job `{name}`", _TODO.get(key, "see what it is for"))
            elif key in ("permissions", "needs", "outputs"):
                self._coverage.carried(key, at, f"of job `{name}`: generated files say it")
        self._machine(job, node)
        own_vars, own_secrets = self._env(node, f"job `{name}`")
        job.vars.update(own_vars)
        job.secrets += own_secrets
        steps = node.get("steps")
        for step in steps.items if steps is not None else []:
            self._step(job, step, guard)
        return job

    def _machine(self, job: Job, node: Node) -> None:
        labels = _labels(node.get("runs-on"))
        hosted = all(_HOSTED.fullmatch(label) for label in labels)
        if labels and hosted and not labels[0].startswith("ubuntu"):
            self._coverage.left(
                "runs-on",
                node.place_of("runs-on"),
                f"`{labels[0]}`: generated jobs run on Linux",
                "name it in a `runner`",
            )
        elif any("${{" in label for label in labels):
            self._coverage.left(
                "runs-on", node.place_of("runs-on"), "an expression", "name the labels in a `runner`"
            )
        elif labels and not hosted:
            job.labels = labels
            job.gpu = any("gpu" in label.lower() for label in labels)
        container = node.get("container")
        if container is not None:
            image = container.get("image") if container.mapping else container
            name = image.text if image is not None and image.text else ""
            options = container.get("options")
            job.gpu |= options is not None and "--gpus" in (options.text or "")
            job.python = python_version(name) if "python" in name else job.python
            if job.python:
                self._coverage.changed("container", container.place, f"`{name}`, as its Python")
            else:
                self._coverage.left(
                    "container",
                    container.place,
                    f"`{name}`",
                    "what it holds beside Python packages belongs on the runner; packages into requirements",
                )
        limit = node.get("timeout-minutes")
        job.timeout = (
            minutes(limit.value) if limit is not None and not isinstance(limit.value, dict | list) else None
        )

    def _env(self, node: Node, owner: str) -> tuple[dict[str, str], list[str]]:
        variables: dict[str, str] = {}
        secrets: list[str] = []
        env = node.get("env")
        for name, value, place in env.pairs() if env is not None else ():
            text = value.text if value.text is not None else str(value.value)
            secret = _SECRET.fullmatch(text.strip())
            if (secret is not None and secret[1] == "GITHUB_TOKEN") or name.upper() == "REPO_TOKEN":
                self._coverage.carried(
                    "secrets", place, f"`{name}`: generated jobs have a token of their own"
                )
            elif secret is not None and secret[1] == name:
                secrets.append(name)
            elif "${{" in text or not is_variable(name):
                self._coverage.left(
                    "env", place, f"`{name}` of {owner}", "give it a value in `vars` of the `env`"
                )
            else:
                variables[name] = text
        return variables, secrets

    # --- steps ---

    def _step(self, job: Job, step: Node, guard: str) -> None:
        uses, run, condition = step.get("uses"), step.get("run"), step.get("if")
        if condition is not None and condition.is_scalar:
            own = conditions.guard(str(condition.value))
            guard = own or guard
            if own:
                self._coverage.left(
                    "if", condition.place, f"`{own}`, of a step of job `{job.name}`", _TODO["if"]
                )
        if uses is not None:
            self._uses(job, step, uses.text or "")
        if run is None or run.text is None:
            return
        where = step.get("working-directory")
        if where is not None:
            self._coverage.left(
                "working-directory", where.place, f"`{where.value}`", "`dir` of a stage says it"
            )
        variables, secrets = self._env(step, "a step")
        below = 1 if "\n" in run.text else 0
        for line in logical(run.text, run.place, below):
            given = tuple(sorted(variables.items()))
            job.lines.append(replace(line, secrets=tuple(secrets), vars=given, guard=guard))

    def _uses(self, job: Job, step: Node, written: str) -> None:
        action, place = written.partition("@")[0], step.place_of("uses")
        options = step.get("with")
        version = options.get("python-version") if options is not None else None
        if action == "actions/setup-python":
            job.python = python_version(str(version.value)) if version is not None else job.python
            if version is not None and not job.python:
                self._coverage.left(
                    "python-version", version.place, f"`{version.value}`", 'as in `python = "3.11"`'
                )
            else:
                self._coverage.carried("uses", place, f"{action}, as `python` of the environment")
        elif action in _OWN or action in _TOOLS:
            self._coverage.carried("uses", place, f"{action}: generated jobs do that, or need it not")
        elif "credentials" in action or action in ("google-github-actions/auth", "azure/login"):
            self._coverage.left(
                "uses", place, f"`{action}`", 'take short-lived credentials: `auth aws { role = "…" }`'
            )
        else:
            self._coverage.left("uses", place, f"`{action}`", "write what it does as a stage or an `action`")


def _texts(node: Node | None) -> tuple[str, ...]:
    if node is None:
        return ()
    return tuple(str(n.value) for n in (node.items or [node]) if n.is_scalar and n.value is not None)


def _labels(node: Node | None) -> tuple[str, ...]:
    if node is not None and isinstance(node.value, dict):
        node = node.get("labels")
    return _texts(node)
