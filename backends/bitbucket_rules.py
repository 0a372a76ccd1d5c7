"""A strict check of the Bitbucket file that was made.

Bitbucket's own schema is open: it takes an unknown key and a step of 99999 minutes. What this check finds is
a mistake of ours, not of the user, so it is an error of the program.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from mlflowc.backends.limits import BITBUCKET

_TOP = {"image", "clone", "definitions", "triggers", "pipelines"}
_SECTIONS = {"branches", "pull-requests", "tags", "custom", "default"}
_STEP = {
    "name", "runs-on", "size", "max-time", "clone", "trigger", "deployment", "condition", "caches", "script",
    "artifacts", "output-variables", "image", "oidc",
}  # fmt: skip
_SIZES = {"1x", "2x", "4x", "8x", "16x"}
_STATE = re.compile(r"[A-Z_][A-Z0-9_]* == (true|false)")
_VARIABLE = {"name", "default", "description", "allowed-values"}


def verify(body: str) -> None:
    """Raises `ValueError` when the text is not a file that Bitbucket takes as it is meant."""
    import yaml

    problems = list(_file(yaml.safe_load(body)))
    if problems:
        raise ValueError("the Bitbucket file made here is wrong: " + "; ".join(problems))


def _file(data: Mapping[str, Any]) -> Iterator[str]:
    yield from _keys("the file", data, _TOP)
    yield from _keys("pipelines", data["pipelines"], _SECTIONS)
    defined = set(data.get("definitions", {}).get("caches", {}))
    for section, pipelines in data["pipelines"].items():
        for name, items in pipelines.items():
            yield from _pipeline(f"{section} {name}", items, section == "custom", defined)


def _pipeline(where: str, items: list[dict[str, Any]], custom: bool, defined: set[str]) -> Iterator[str]:
    steps: list[dict[str, Any]] = []
    for n, item in enumerate(items):
        if "variables" in item:
            if n > 0 or not custom:
                yield f"{where}: variables in the wrong place"
            for given in item["variables"]:
                yield from _keys(f"{where}: variable", given, _VARIABLE)
        elif "parallel" in item:
            steps += [s["step"] for s in item["parallel"]["steps"]]
        else:
            steps.append(item["step"])
    if not steps:
        yield f"{where}: no step"
        return
    if steps[0].get("trigger") == "manual":
        yield f"{where}: the first step is manual"
    deployments = [s["deployment"] for s in steps if "deployment" in s]
    if len(deployments) != len(set(deployments)):
        yield f"{where}: a deployment twice"
    known: set[str] = set()
    for step in steps:
        yield from _step(f"{where}: {step.get('name')}", step, defined, known)
        known.update(step.get("output-variables", ()))


def _step(where: str, step: dict[str, Any], defined: set[str], known: set[str]) -> Iterator[str]:
    yield from _keys(where, step, _STEP)
    if not step.get("script") or not all(isinstance(line, str) for line in step["script"]):
        yield f"{where}: the script is not a list of commands"
    longest = (BITBUCKET.own_timeout if "runs-on" in step else BITBUCKET.hosted_timeout) or 0
    if not 0 < step.get("max-time", 1) <= longest // 60:
        yield f"{where}: max-time {step['max-time']}"
    if step.get("size", "1x") not in _SIZES:
        yield f"{where}: size {step['size']}"
    for cache in step.get("caches", ()):
        if cache not in defined:
            yield f"{where}: cache {cache} is not defined"
    state = step.get("condition", {}).get("state")
    if state is not None and (not _STATE.fullmatch(state) or state.split()[0] not in known):
        yield f"{where}: condition {state}"


def _keys(where: str, data: Mapping[str, Any], known: set[str]) -> Iterator[str]:
    for key in data:
        if key not in known:
            yield f"{where}: unknown key {key}"
