"""The Makefile, run by the real make with a stand-in for mlpipec."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

from mlflowc.ir.model import Output, Pipeline
from tests.support.ir import FILE, digits, pipeline, stage
from tests.unit.backends.emitting import emit


def make(folder: Path, flow: Pipeline, *arguments: str, **settings: object) -> list[str]:
    """What `make` printed: with `MLPIPEC=echo`, the commands that it ran."""
    emission, found = emit("make", flow, **settings)
    assert found == ()
    (file,) = emission.files
    (folder / file.path).write_text(file.text)
    done = subprocess.run(
        ["make", "-f", file.path, "MLPIPEC=echo", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_what_a_stage_needs_comes_first(tmp_path: Path) -> None:
    assert make(tmp_path, digits(), "train") == ["exec load", "exec prepare", "exec features", "exec train"]


def test_all_is_every_stage_and_the_default(tmp_path: Path) -> None:
    assert make(tmp_path, digits()) == make(tmp_path, digits(), "all")
    assert len(make(tmp_path, digits(), "-j4")) == 5


def test_gates_and_reports(tmp_path: Path) -> None:
    assert make(tmp_path, digits(), "quality")[-1] == "exec quality"
    assert make(tmp_path, digits(), "review")[-1] == "exec review"


def test_an_event_does_all_its_jobs_in_order(tmp_path: Path) -> None:
    assert make(tmp_path, digits(), "on-push-main") == [
        f"exec {job} --on push-main" for job in ("plan", "features", "train", "evaluate", "check", "publish")
    ]


def test_only_an_event_acts(tmp_path: Path) -> None:
    assert "publish" not in {line.split()[0] for line in make(tmp_path, digits(), "help")}


def test_clean_removes_outputs_whatever_their_names(tmp_path: Path) -> None:
    odd = replace(stage("a"), outputs=(Output("o", FILE, "$(HOME) 'x'.txt"), Output("p", FILE, "b/c")))
    (tmp_path / "$(HOME) 'x'.txt").write_text("")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/c").write_text("")
    (tmp_path / "keep").write_text("")
    make(tmp_path, pipeline(odd), "clean")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["Makefile", "b", "keep"]
    assert not (tmp_path / "b/c").exists()


def test_commands_are_shown_on_request(tmp_path: Path) -> None:
    assert make(tmp_path, digits(), "load", "V=1") == ["echo exec load", "exec load"]


def test_a_stage_named_like_a_target_of_ours_and_one_instance(tmp_path: Path) -> None:
    flow = pipeline(stage("clean"), stage("train[de]", "clean.out"))
    assert make(tmp_path, flow, "train-de") == ["exec clean", "exec train[de]"]
    assert make(tmp_path, flow, "stage-clean") == ["exec clean"]


def test_beside_a_makefile_of_ones_own(tmp_path: Path) -> None:
    lines = make(tmp_path, digits(), "mlpipe-load", own_makefile=True)
    assert lines == ["exec load"]
    assert (tmp_path / "mlpipe.mk").exists()
    (tmp_path / "Makefile").write_text("all:\n\t@echo mine\ninclude mlpipe.mk\n")
    done = subprocess.run(["make"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "mine\n"
