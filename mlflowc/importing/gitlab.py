"""A `.gitlab-ci.yml` as jobs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mlflowc.importing.ci import Job, Trigger, is_variable, logical, python_version
from mlflowc.importing.coverage import Coverage, Place
from mlflowc.importing.yamltree import Node, wrong

_GLOBAL = (
    *("default", "stages", "variables", "workflow", "include", "image", "services", "cache", "before_script"),
    *("after_script", "spec"),
)
_OWN = (
    "stage",
    "needs",
    "dependencies",
    "artifacts",
    "cache",
    "interruptible",
    "retry",
    "coverage",
    "allow_failure",
)
_READ = (
    "script",
    "before_script",
    "image",
    "tags",
    "only",
    "rules",
    "variables",
    "timeout",
    "when",
    "extends",
)
_TODO = {
    "extends": "write what it brings in as stages",
    "include": "import these files, too",
    "parallel": "`each` makes instances of a stage",
    "services": "start it in the command that needs it",
    "except": "name what shall start it",
    "after_script": "do it at the end of the command",
    "environment": "`approve` of an `action` names it",
    "trigger": "other pipelines are started by hand",
}
_BRANCH = re.compile(r"""\$CI_COMMIT_(?:BRANCH|REF_NAME)\s*==\s*["']([^"']+)["']""")
_SOURCE = re.compile(r"""\$CI_PIPELINE_SOURCE\s*==\s*["'](\w+)["']""")


class Reader:
    """Reads one file."""

    def __init__(self, coverage: Coverage) -> None:
        self._coverage = coverage

    def read(self, root: Node) -> list[Job]:
        """Its jobs. Raises Failure for what is no such file."""
        jobs = {
            n: (v, p)
            for n, v, p in root.pairs()
            if n not in _GLOBAL and isinstance(v.value, dict) and not n.startswith(".")
        }
        if not any("script" in v.mapping or "extends" in v.mapping for v, _ in jobs.values()):
            raise wrong(root.place, "this is no .gitlab-ci.yml: no job has a `script`")
        default = root.get("default") or Node({}, root.file, root.line)
        for name in ("include", "services", "after_script"):
            if name in root.mapping:
                self._coverage.left(name, root.place_of(name), "of the file", _TODO[name])
        for name, _, place in root.pairs():
            if name.startswith("."):
                self._coverage.left("template", place, f"`{name}`", "write what it brings in as stages")
        workflow = root.get("workflow")
        rules = workflow.get("rules") if workflow is not None else None
        image = root.get("image") or default.get("image")
        before = root.get("before_script") or default.get("before_script")
        variables = self._variables(root)
        return [self._job(n, v, p, (image, before, rules, variables)) for n, (v, p) in jobs.items()]

    def _job(
        self,
        name: str,
        node: Node,
        place: Place,
        shared: tuple[Node | None, Node | None, Node | None, dict[str, str]],
    ) -> Job:
        image, before, rules, variables = shared
        job = Job("gitlab", name, place, vars={**variables, **self._variables(node)})
        for key, value, at in node.pairs():
            if key in _OWN:
                self._coverage.carried(key, at, f"of job `{name}`: generated files say it")
            elif (key not in _READ or key == "extends") and value.value is not None:
                self._coverage.left(key, at, f"of job `{name}`", _TODO.get(key, "see what it is for"))
        self._image(job, node.get("image") or image)
        tags = node.get("tags")
        if tags is not None:
            job.labels = tuple(str(t.value) for t in tags.items if t.is_scalar)
            job.gpu = any("gpu" in label.lower() for label in job.labels)
        limit = node.get("timeout")
        if limit is not None:
            job.timeout = _minutes(str(limit.value))
        job.triggers = list(self._triggers(job, node, node.get("rules") or rules))
        for section in (node.get("before_script") or before, node.get("script")):
            for line in section.items or [section] if section is not None else []:
                if line.text is not None:
                    job.lines += logical(line.text, line.place, 1 if "\n" in line.text else 0)
        return job

    def _image(self, job: Job, image: Node | None) -> None:
        named = image.get("name") if image is not None and image.mapping else image
        text = named.text if named is not None else None
        if not text or named is None:
            return
        job.python = python_version(text.rpartition(":")[2]) if "python" in text or "py3" in text else ""
        if job.python:
            self._coverage.changed("image", named.place, f"`{text}`, as its Python")
        elif "cml" in text or "dvc" in text:
            self._coverage.carried("image", named.place, f"`{text}`: nothing of it is needed")
        else:
            self._coverage.left(
                "image",
                named.place,
                f"`{text}`",
                "what it holds beside Python packages belongs on the runner; packages into requirements",
            )

    def _variables(self, node: Node) -> dict[str, str]:
        found: dict[str, str] = {}
        variables = node.get("variables")
        for name, value, place in variables.pairs() if variables is not None else ():
            inner = value.get("value") if value.mapping else value
            text = str(inner.value) if inner is not None and inner.is_scalar else "$"
            if "$" in text or not is_variable(name):
                self._coverage.left("variables", place, f"`{name}`", "give it a value in `vars` of the `env`")
            elif not name.startswith(("CI_", "GIT_", "FF_", "DOCKER_")):
                found[name] = text
        return found

    # --- triggers ---

    def _triggers(self, job: Job, node: Node, rules: Node | None) -> Iterator[Trigger]:
        only = node.get("only")
        when = node.get("when")
        if when is not None and when.text == "manual":
            yield Trigger("manual", when.place)
        elif only is not None:
            yield from self._only(only)
        elif rules is not None:
            for rule in rules.items:
                yield from self._rule(rule)
        else:
            yield Trigger("push", job.place)

    def _only(self, only: Node) -> Iterator[Trigger]:
        refs = only.get("refs") if only.mapping else only
        for ref in (refs.items or [refs]) if refs is not None else []:
            text = str(ref.value)
            if text in ("merge_requests", "external_pull_requests"):
                yield Trigger("pull_request", ref.place)
            elif text in ("branches", "pushes"):
                yield Trigger("push", ref.place)
            elif text == "tags":
                yield Trigger("tag", ref.place, "*")
            elif text == "web":
                yield Trigger("manual", ref.place)
            elif text == "schedules":
                self._schedule(ref.place)
            elif text.startswith("/") or text in ("api", "triggers", "pipelines", "external", "chat"):
                self._coverage.left("only", ref.place, f"`{text}`", 'name the branch: `on push("main")`')
            else:
                yield Trigger("push", ref.place, text)

    def _rule(self, rule: Node) -> Iterator[Trigger]:
        when, condition = rule.get("when"), rule.get("if")
        if when is not None and when.text == "never":
            self._coverage.left("rules", rule.place, "a rule with `never`", "name what shall start it")
            return
        text = condition.text or "" if condition is not None else ""
        branch, source = _BRANCH.search(text), _SOURCE.search(text)
        changes = rule.get("changes")
        paths = tuple(str(c.value) for c in changes.items if c.is_scalar) if changes is not None else ()
        if when is not None and when.text == "manual":
            yield Trigger("manual", rule.place)
        elif "$CI_MERGE_REQUEST" in text or (source is not None and source[1] == "merge_request_event"):
            yield Trigger("pull_request", rule.place, paths=paths)
        elif source is not None and source[1] == "schedule":
            self._schedule(rule.place)
        elif source is not None and source[1] == "web":
            yield Trigger("manual", rule.place)
        elif "$CI_COMMIT_TAG" in text:
            yield Trigger("tag", rule.place, "*")
        elif branch is not None:
            yield Trigger("push", rule.place, branch[1], paths=paths)
        elif "$CI_DEFAULT_BRANCH" in text:
            yield Trigger("push", rule.place, "main", paths=paths)
        elif not text or (source is not None and source[1] == "push"):
            yield Trigger("push", rule.place, paths=paths)
        else:
            self._coverage.left("rules", rule.place, f"`{text}`", "name what shall start it")

    def _schedule(self, place: Place) -> None:
        self._coverage.left(
            "schedule",
            place,
            "its time is in the project's settings, not in the file",
            'as in `on schedule("17 3 * * *")`',
        )


def _minutes(text: str) -> int | None:
    """`1h 30m`, `90 minutes`, `3600` (seconds)."""
    total = 0.0
    for number, unit in re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.lower()):
        total += float(number) * {"h": 60, "m": 1, "d": 1440}.get(unit[:1], 1 / 60)
    return int(total) if 1 <= total < 100_000 else None
