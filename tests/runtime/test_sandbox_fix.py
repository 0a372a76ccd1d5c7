"""`--sandbox audit --fix` writes lines that compile, and no others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlflowc.runtime.sandbox import trace
from tests.conftest import IN_CI
from tests.support import project

pytestmark = pytest.mark.skipif(
    bool(trace.missing()) and not IN_CI, reason="there is no strace that works: `audit` cannot be tried"
)

NAMES = """\
mlpipe 1
pipeline names

stage evaluate {
  out scores = "out/scores.txt"
  run = "cat params.yaml cfg/stage.json cfg/inputs.txt > {{scores}}"
}
"""


def test_names_with_a_meaning_of_their_own_are_not_given(tmp_path: Path) -> None:
    made = project.new(tmp_path / "p", NAMES)
    made.write({"params.yaml": "a: 1\n", "cfg/stage.json": "{}", "cfg/inputs.txt": "i"})
    fixed = made.mlpipec("run", "--sandbox", "audit", "--fix", "--force", "evaluate")
    assert 'in params_file = "params.yaml"' in fixed.err
    assert "wrote 3 lines into pipeline.mlpipe" in fixed.err
    text = " ".join(made.read("pipeline.mlpipe").split())
    assert 'in stage_file = "cfg/stage.json"' in text
    assert 'in inputs_file = "cfg/inputs.txt"' in text
    made.mlpipec("check")
    assert "all is declared" in made.mlpipec("run", "--sandbox", "audit").err


def test_a_file_of_parameters_is_told_and_not_added(tmp_path: Path) -> None:
    made = project.new(
        tmp_path / "p", NAMES.replace("stage evaluate", 'params "params.yaml"\n\nstage evaluate')
    )
    made.write({"params.yaml": "a: 1\n", "cfg/stage.json": "{}", "cfg/inputs.txt": "i"})
    told = made.mlpipec("run", "--sandbox", "audit", "--fix", "--json")
    found = {tuple(m["paths"]): m for m in json.loads(told.out)["undeclared"]}
    assert found["params.yaml",]["line"] is None
    assert "declare `param NAME` in the stage" in found["params.yaml",]["help"]
    assert "wrote 2 lines into pipeline.mlpipe" in told.err
    assert "not mended: `params.yaml` of `evaluate`: it holds parameters" in told.err
    assert 'in params_file = "params.yaml"' not in made.read("pipeline.mlpipe")
    made.mlpipec("check")


def test_lines_that_would_not_compile_are_not_written(tmp_path: Path) -> None:
    """Somebody changes the pipeline while it runs, so that what is missing has another name by now."""
    made = project.new(tmp_path / "p", NAMES)
    changed = NAMES.replace("  out", '  in inputs_file = "other.txt"\n  out')
    made.write(
        {
            "params.yaml": "a: 1\n",
            "cfg/stage.json": "{}",
            "cfg/inputs.txt": "i",
            "other.txt": "",
            "new": changed,
        }
    )
    made.replace("pipeline.mlpipe", 'run = "', 'run = "cp new pipeline.mlpipe; ')
    fixed = made.mlpipec("run", "--sandbox", "audit", "--fix")
    assert "wrote 3 lines into pipeline.mlpipe" in fixed.err  # `new`, too, is read
    assert (
        'not mended: `cfg/inputs.txt` of `evaluate`: with `in inputs_file = "cfg/inputs.txt"` the pipeline '
        "would not compile: `inputs_file` is declared twice in this step (MLP202)" in fixed.err
    )
    made.mlpipec("check")
    text = made.read("pipeline.mlpipe")
    assert 'cfg/inputs.txt"\n' not in text.split("run =")[0]


def test_nothing_is_written_when_nothing_compiles(tmp_path: Path) -> None:
    made = project.new(tmp_path / "p", NAMES)
    changed = NAMES.replace("  out", "  in gone = nobody.there\n  out")
    made.write({"params.yaml": "a: 1\n", "cfg/stage.json": "{}", "cfg/inputs.txt": "i", "new": changed})
    made.replace("pipeline.mlpipe", 'run = "', 'run = "cp new pipeline.mlpipe; ')
    fixed = made.mlpipec("run", "--sandbox", "audit", "--fix")
    assert "wrote" not in fixed.err
    assert fixed.err.count("the pipeline would not compile: ") == 4
    assert made.read("pipeline.mlpipe") == changed
