"""Results as JUnit XML, which CI services list beside a pull request: stages, types of data, gates.

A suite of each, a test case a stage, a typed file, a requirement. Written as text: it is small, and whoever
has nothing to write imports nothing for it. The form is that of Ant, in the part that all readers share.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from mlflowc.check import lattice
from mlflowc.data.declared import checkable
from mlflowc.errors import Failure
from mlflowc.runtime.events import Outcome, RunResult
from mlflowc.runtime.gate_result import GateResult, Row

if TYPE_CHECKING:
    from mlflowc.ir.model import Pipeline


# In a folder that Bitbucket looks for by its name, and that GitLab is told of.
PLACE = PurePosixPath("mlpipe-report/test-results")


class Case(NamedTuple):
    """A test case. `state` is `good`, `failure`, `error` or `skipped`, `message` one line and `text` more."""

    suite: str
    name: str
    state: str = "good"
    seconds: float = 0.0
    message: str = ""
    text: str = ""


def of_run(pipeline: Pipeline, result: RunResult) -> list[Case]:
    """A case for each stage that had a part in the run, and one for each typed file that it read or wrote."""
    stages = {s.id: s for s in pipeline.stages}
    sources = {d.name: d for d in pipeline.data}
    cases: list[Case] = []
    types: dict[str, Case] = {}
    for done in result.stages:
        state = "good" if done.outcome.good else "failure" if done.outcome is Outcome.FAILED else "skipped"
        seconds = done.seconds if done.outcome is Outcome.RAN else 0.0
        first = done.message.splitlines()[0] if done.message else done.outcome.value
        text = "\n".join(t for t in (done.message, done.help) if t)
        cases.append(Case("stages", done.stage, state, seconds, "" if state == "good" else first, text))
        stage = stages.get(done.stage)
        if stage is None:
            continue
        read = [sources[s.data] for i in stage.inputs for s in i.sources if hasattr(s, "data")]
        typed = [
            (f"data source `{d.name}`", f"{d.name}: {lattice.spell(d.type)}")
            for d in read
            if checkable(d.type)
        ]
        typed += [
            (f"output `{o.name}`", f"{stage.id}.{o.name}: {lattice.spell(o.type)}")
            for o in stage.outputs
            if checkable(o.type)
        ]
        for what, name in typed:
            found = _of_type(name, what, state, done.message)
            if name not in types or types[name].state == "skipped" or found.state == "failure":
                types[name] = found
    return cases + list(types.values())


def _of_type(name: str, what: str, state: str, message: str) -> Case:
    """A file was found to be of its type where the stage is good; a failure says which one was not."""
    if state == "good":
        return Case("types", name)
    if state == "failure" and message.startswith(f"{what}:"):
        return Case("types", name, "failure", 0.0, message.splitlines()[0], message)
    return Case("types", name, "skipped", 0.0, "not checked")


def of_gates(gates: Iterable[GateResult]) -> list[Case]:
    """A case for each requirement."""
    return [
        Case(
            f"gate {gate.name}",
            row.text,
            "good" if row.passed else "failure",
            0.0,
            "" if row.passed else _required(row),
            "\n".join(t for t in (row.note, row.detail) if t),
        )
        for gate in gates
        for row in gate.rows
    ]


def _required(row: Row) -> str:
    figures = f"required {row.required}, found {row.found}" if row.required else row.note
    return figures or "it does not hold"


def render(pipeline: str, cases: Sequence[Case]) -> str:
    """The file."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>"]
    for number, suite in enumerate(dict.fromkeys(c.suite for c in cases)):
        mine = [c for c in cases if c.suite == suite]
        counts = {s: sum(c.state == s for c in mine) for s in ("failure", "error", "skipped")}
        lines.append(
            f'  <testsuite name="{_attribute(suite)}" package="{_attribute(pipeline)}" id="{number}" '
            f'tests="{len(mine)}" failures="{counts["failure"]}" errors="{counts["error"]}" '
            f'skipped="{counts["skipped"]}" time="{sum(c.seconds for c in mine):.3f}" '
            f'timestamp="{stamp}" hostname="{_attribute(socket.gethostname() or "unknown")}">'
        )
        lines += ["    <properties/>", *(_case(pipeline, c) for c in mine)]
        lines += ["    <system-out/>", "    <system-err/>", "  </testsuite>"]
    return "\n".join([*lines, "</testsuites>"]) + "\n"


def _case(pipeline: str, case: Case) -> str:
    start = (
        f'    <testcase classname="{_attribute(f"{pipeline}.{case.suite}")}" name="{_attribute(case.name)}" '
        f'time="{case.seconds:.3f}"'
    )
    if case.state == "good":
        return start + "/>"
    if case.state == "skipped":
        return f'{start}><skipped message="{_attribute(case.message)}"/></testcase>'
    kind = _attribute(case.suite.split()[0])
    inner = (
        f'<{case.state} type="{kind}" message="{_attribute(case.message)}">{_text(case.text)}</{case.state}>'
    )
    return f"{start}>{inner}</testcase>"


# XML has no way to write other characters, not even by number.
_BAD = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _text(text: str) -> str:
    clean = _BAD.sub("\ufffd", text)
    return clean.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _attribute(text: str) -> str:
    return (
        _text(text).replace('"', "&quot;").replace("\n", "&#10;").replace("\r", "&#13;").replace("\t", "&#9;")
    )


def write(path: Path, pipeline: str, cases: Sequence[Case]) -> None:
    """Writes the file, with the folders above it. Raises `Failure`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render(pipeline, cases), "utf-8")
    except OSError as e:
        raise Failure(f"cannot write `{path}`: {e.strerror}") from e
