"""Emits in memory, and reads what came out."""

from __future__ import annotations

import functools
import hashlib
import json
from importlib import resources
from typing import Any

import jsonschema
import yaml

from mlflowc.diagnostic import Diagnostic
from mlflowc.ir.model import Pipeline
from mlflowc.jobs.lower import lower_all
from mlflowc.span import Span
from mlflowc.target import Emission, Settings, load

SCHEMAS = {
    "github": "github-workflows.json",
    "gitlab": "gitlab-ci.json",
    "bitbucket": "bitbucket-pipelines.json",
}


def emit(target: str, flow: Pipeline, **settings: Any) -> tuple[Emission, tuple[Diagnostic, ...]]:
    """The files of `target` for `flow`, each valid by the service's schema; and the findings."""
    chosen = Settings("1.2.3", lambda p: Span(p.file, p.line, p.line + 1), **settings)
    emission, found = load(target).emit(lower_all(flow), flow, chosen)
    for file in emission.files:
        if target in SCHEMAS:
            judge(target).validate(parsed(file.text))
    return emission, found


@functools.cache
def judge(target: str) -> Any:
    """A validator with the vendored schema, whose bytes are those that are noted."""
    folder = resources.files("mlflowc.backends") / "schemas"
    data = (folder / SCHEMAS[target]).read_bytes()
    noted = dict(reversed(line.split()) for line in (folder / "schemas.sha256").read_text().splitlines())
    assert hashlib.sha256(data).hexdigest() == noted[SCHEMAS[target]]
    return jsonschema.Draft7Validator(json.loads(data))


class _Loader(yaml.SafeLoader):
    """YAML 1.2's idea of booleans, as the services have it: `on` is a word."""


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool" or first in "tTfF"
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parsed(text: str) -> Any:
    """The YAML of a generated file."""
    return yaml.load(text, Loader=_Loader)


def one(target: str, flow: Pipeline, **settings: Any) -> Any:
    """The parsed only file of `target`; nothing may be wrong with it."""
    emission, found = emit(target, flow, **settings)
    assert [d for d in found if d.severity == "error"] == []
    (file,) = emission.files
    return parsed(file.text)


def github(flow: Pipeline, event: str, **settings: Any) -> Any:
    """The parsed workflow of one event."""
    emission, _ = emit("github", flow, **settings)
    by_path = {f.path: f.text for f in emission.files}
    return parsed(by_path[f".github/workflows/{flow.name}-{event}.yml"])
