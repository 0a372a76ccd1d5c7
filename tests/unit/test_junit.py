"""JUnit XML: of a form that its readers take, with stages, types and gates as test cases."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflowc import project as project_
from mlflowc.ir.model import Event, Pipeline
from mlflowc.jobs.lower import lower
from mlflowc.jobs.model import JobKind
from mlflowc.runtime import junit
from mlflowc.runtime.gate_result import GateResult, Row
from mlflowc.runtime.junit import Case
from tests.support.training import commit, git

# What Jenkins, GitLab, Bitbucket and the schema of Ant agree on.
_SUITE = {
    "name", "package", "id", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname",
}  # fmt: skip
_OUTCOMES = {"failure": {"type", "message"}, "error": {"type", "message"}, "skipped": {"message"}}


def check(text: str) -> ElementTree.Element:
    """The tree, after a look at everything that the schemas say."""
    root = ElementTree.fromstring(text)
    assert (root.tag, root.attrib) == ("testsuites", {})
    for suite in root:
        assert (suite.tag, set(suite.attrib)) == ("testsuite", _SUITE)
        tags = [child.tag for child in suite]
        assert tags[0] == "properties"
        assert tags[-2:] == ["system-out", "system-err"]
        cases = list(suite.iter("testcase"))
        assert tags[1:-2] == ["testcase"] * len(cases)
        assert int(suite.attrib["tests"]) == len(cases)
        for name, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.attrib[name]) == sum(c.find(kind) is not None for c in cases)
        for case in cases:
            assert set(case.attrib) == {"classname", "name", "time"}
            assert float(case.attrib["time"]) >= 0
            assert len(case) <= 1
            for child in case:
                assert set(child.attrib) == _OUTCOMES[child.tag]
    return root


def test_requirements_are_cases() -> None:
    rows = (
        Row("auc > 0.8", True),
        Row('f1 >= 0.7 and "x" < y', False, "0.6", ">= 0.7", note="too low & <bad>"),
        Row("loss < 1", False, note="train.scores.loss is missing"),
    )
    root = check(junit.render("p", junit.of_gates([GateResult("quality", rows)])))
    good, low, missing = root.iter("testcase")
    assert len(good) == 0
    assert low.attrib["name"] == 'f1 >= 0.7 and "x" < y'
    failure = low.find("failure")
    assert failure is not None
    assert failure.attrib == {"type": "gate", "message": "required >= 0.7, found 0.6"}
    assert failure.text == "too low & <bad>"
    assert (missing.find("failure") or missing[0]).attrib["message"] == "train.scores.loss is missing"


@given(st.text(), st.text(), st.sampled_from(["good", "failure", "error", "skipped"]))
def test_any_text_makes_a_file_that_can_be_read(name: str, text: str, state: str) -> None:
    (case,) = check(junit.render(name, [Case("stages", name, state, 1.5, text, text)])).iter("testcase")
    assert len(case.attrib["name"]) == len(name)


PIPELINE = """\
mlpipe 1
pipeline p
data raw: csv { id: int unique } = "raw.csv"
stage a {
  in  raw
  out clean: csv { id: int in 0..9 } = "clean.csv"
  run = "cp {{raw}} {{clean}}"
}
stage b {
  in  a.clean
  out scores: metrics { n: int } = "n.json"
  run = "echo '{\\"n\\": 3}' > {{scores}}"
}
gate quality { require b.scores.n >= 4 else "too few" }
on push("main") { run = [quality] }
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pipeline.mlpipe").write_text(PIPELINE)
    (tmp_path / "raw.csv").write_text("id\n1\n2\n")
    return tmp_path


def mlpipec(root: Path, *args: str) -> int:
    done = subprocess.run([sys.executable, "-m", "mlflowc", *args], cwd=root, capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode


def states(path: Path) -> dict[str, str]:
    found = {}
    for case in check(path.read_text()).iter("testcase"):
        found[case.attrib["classname"] + ": " + case.attrib["name"]] = case[0].tag if len(case) else "good"
    return found


def test_a_run_writes_stages_types_and_gates(project: Path) -> None:
    path = project / "out" / "junit.xml"
    assert mlpipec(project, "run", "--junit", str(path)) == 1
    expected = {
        "p.stages: a": "good", "p.stages: b": "good",
        "p.types: raw: csv": "good", "p.types: a.clean: csv": "good",
        "p.gate quality: b.scores.n >= 4": "failure",
    }  # fmt: skip
    assert states(path) == expected
    path.unlink()
    assert mlpipec(project, "run", "--junit", str(path)) == 1
    assert states(path) == expected, "with nothing to do, too"


@pytest.mark.parametrize(
    ("content", "raw", "clean"), [("id\n1\n1\n", "failure", "skipped"), ("id\n1\n50\n", "skipped", "failure")]
)
def test_data_that_is_not_of_its_type_is_a_failing_case(
    project: Path, content: str, raw: str, clean: str
) -> None:
    (project / "raw.csv").write_text(content)
    path = project / "junit.xml"
    assert mlpipec(project, "run", "--junit", str(path)) == 1
    found = states(path)
    assert (found["p.types: raw: csv"], found["p.types: a.clean: csv"]) == (raw, clean)
    assert (found["p.stages: a"], found["p.stages: b"]) == ("failure", "skipped")


def test_a_job_leaves_them_where_services_look(project: Path) -> None:
    git(project, "init", "-q", "-b", "main")
    commit(project, "one")
    workflow = lower(*_event(project))
    (stages,) = (j.id for j in workflow.jobs if j.kind is JobKind.STAGES)
    (last,) = (j.id for j in workflow.jobs if j.kind is JobKind.CHECK)
    assert mlpipec(project, "exec", stages, "--on", "push-main") == 0
    assert mlpipec(project, "exec", last, "--on", "push-main") == 1
    found = [states(project / "mlpipe-report" / "test-results" / f"{j}.xml") for j in (stages, last)]
    assert found[0]["p.types: a.clean: csv"] == "good"
    assert found[1] == {"p.gate quality: b.scores.n >= 4": "failure"}
    assert git(project, "status", "--porcelain", "mlpipe-report") == ""


def _event(root: Path) -> tuple[Pipeline, Event]:
    pipeline = project_.load(str(root / "pipeline.mlpipe")).pipeline
    return pipeline, pipeline.events[0]
