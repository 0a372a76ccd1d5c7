"""`mlflowc.project`: finding, reading and compiling real files, and the compiled form that is kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlflowc import project
from mlflowc.errors import Failure

SOURCE = """\
mlpipe 1
pipeline example
params "params.yaml"
stage train {
  in  raw = "raw.csv"
  param lr
  out model = "model.pkl"
  run = "train {{raw}} {{model}} --lr {{params.lr}}"
}
on push("main") { run = [train] }
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pipeline.mlpipe").write_text(SOURCE)
    (tmp_path / "params.yaml").write_text("lr: 1e-3\n")
    (tmp_path / "raw.csv").write_text("id\n1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lr(**overrides: str) -> object:
    return project.load(overrides=overrides).pipeline.params[0].value


def kept(folder: Path) -> list[str]:
    return sorted(e.name for e in os.scandir(folder / ".mlpipe" / "compiled"))


def never(*_: object) -> None:
    raise AssertionError("compiled again")


def test_it_is_compiled_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = project.load()
    assert first.root == folder
    monkeypatch.setattr(project, "_compile", never)
    assert project.load() == first
    assert (folder / ".mlpipe" / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize("change", ["source", "params", "input", "override"])
def test_it_is_compiled_anew_when_something_changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    project.load()
    overrides = {}
    if change == "source":
        (folder / "pipeline.mlpipe").write_text(SOURCE.replace("example", "other"))
    elif change == "params":
        (folder / "params.yaml").write_text("lr: 2e-3\n")
    elif change == "input":
        (folder / "raw.csv").unlink()
    else:
        overrides = {"lr": "0.5"}
    monkeypatch.setattr(project, "_compile", never)
    with pytest.raises(AssertionError, match="compiled again"):
        project.load(overrides=overrides)


def test_a_damaged_compiled_form_is_made_again(folder: Path) -> None:
    before = project.load()
    (name,) = kept(folder)
    path = folder / ".mlpipe" / "compiled" / name
    for damage in (b"", b"garbage", path.read_bytes()[:-20]):
        path.write_bytes(damage)
        assert project.load() == before
    assert kept(folder) == [name]


def test_a_folder_that_cannot_be_written_only_costs_time(folder: Path) -> None:
    (folder / ".mlpipe").write_text("in the way")
    assert project.load().pipeline.name == "example"


def test_only_so_many_compiled_forms_are_kept(folder: Path) -> None:
    for n in range(20):
        lr(lr=f"0.{n + 1}")
    assert len(kept(folder)) == 16


@pytest.mark.parametrize(("given", "value"), [("0.5", 0.5), ("1", 1.0), ("1e-4", 1e-4), (" 2 ", 2.0)])
def test_an_override_is_read_by_the_type(folder: Path, given: str, value: float) -> None:
    found = lr(lr=given)
    assert found == value and isinstance(found, float)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"lr": "fast"}, "not of type float"),
        ({"lr": "inf"}, "not of type float"),
        ({"lrr": "1"}, "no parameter `lrr`"),
    ],
)
def test_an_override_that_does_not_fit(folder: Path, overrides: dict[str, str], words: str) -> None:
    with pytest.raises(Failure, match=words) as e:
        project.load(overrides=overrides)
    assert e.value.code == 2


def test_typed_overrides(folder: Path) -> None:
    (folder / "pipeline.mlpipe").write_text(
        """\
mlpipe 1
param a: int in 1..9 = 1
param b: bool = false
param c: list[int] = [1]
param d: duration = 1h
param e: enum ["x", "y"] = "x"
param f: str? = null
param g: size = 1GiB
stage s { run = "echo" }
on push { run = [s] }
"""
    )
    given = {"a": "9", "b": "true", "c": "[1, 2]", "d": "90m", "e": "y", "f": "null", "g": "2KiB"}
    found = {p.name: p.value for p in project.load(overrides=given).pipeline.params}
    assert found == {"a": 9, "b": True, "c": (1, 2), "d": 5400, "e": "y", "f": None, "g": 2048}
    bad = {"a": "10", "b": "yes", "c": "1,x", "d": "90", "e": "z", "g": "2s"}
    for name, text in bad.items():
        with pytest.raises(Failure):
            project.load(overrides={name: text})


# --- finding and reading -------------------------------------------------------------------------


def test_the_only_pipeline_file_is_found(folder: Path) -> None:
    (folder / "pipeline.mlpipe").rename(folder / "churn.mlpipe")
    assert project.load().pipeline.file == "churn.mlpipe"
    (folder / "other.mlpipe").write_text(SOURCE)
    with pytest.raises(Failure, match=r"several pipeline files: churn\.mlpipe, other\.mlpipe") as e:
        project.load()
    assert e.value.code == 2
    assert project.load("other.mlpipe").pipeline.file == "other.mlpipe"


def test_below_a_project_the_message_names_its_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "pipeline.mlpipe").rename(folder / "churn.mlpipe")
    project.load()
    (folder / "a folder").mkdir()
    (folder / "a folder" / ".mlpipe").mkdir()  # a cache, not a pipeline file
    (folder / "a folder" / "src").mkdir()
    monkeypatch.chdir(folder / "a folder" / "src")
    with pytest.raises(Failure, match="no pipeline file") as e:
        project.load()
    assert f"there is one in `{folder}`" in e.value.help


def test_a_file_of_another_folder_makes_that_the_project(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "sub").mkdir()
    monkeypatch.chdir(folder / "sub")
    for given in ("../pipeline.mlpipe", ".."):
        loaded = project.load(given)
        assert loaded.root == folder and loaded.pipeline.file == "pipeline.mlpipe"
    with pytest.raises(Failure, match="no pipeline file") as e:
        project.load()
    assert str(folder) in e.value.help


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"  \n", "is empty"),
        (b"mlpipe 1\n\xff\n", "not UTF-8: byte 0xff in line 2"),
        (b"mlpipe 1\n\0", "null bytes"),
        (b"x" * (project.LARGEST + 1), "larger than"),
    ],
)
def test_what_cannot_be_a_pipeline_file(folder: Path, data: bytes, words: str) -> None:
    (folder / "pipeline.mlpipe").write_bytes(data)
    with pytest.raises(Failure, match=words):
        project.load()


def test_a_missing_file_is_a_usage_failure(folder: Path) -> None:
    with pytest.raises(Failure, match="no file `nothing") as e:
        project.load("nothing.mlpipe")
    assert e.value.code == 2 and "pipeline.mlpipe" in e.value.help


def test_an_unreadable_file(folder: Path) -> None:
    (folder / "pipeline.mlpipe").chmod(0)
    # Root reads everything, unless it gives that up.
    meek = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    command = [*meek, sys.executable, "-m", "mlflowc", "check"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 1
    assert "`pipeline.mlpipe` cannot be read: permission is denied" in done.stderr
    assert "UTF-8" not in done.stderr


def test_a_byte_order_mark_does_not_count(folder: Path) -> None:
    (folder / "pipeline.mlpipe").write_bytes(b"\xef\xbb\xbf" + SOURCE.encode())
    assert project.load().pipeline.name == "example"


def test_of_many_warnings_the_first_are_shown(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    stages = "".join(f'stage s{n} {{ out x = "x{n}", run = "touch {{{{x}}}}" }}\n' for n in range(50))
    (folder / "pipeline.mlpipe").write_text(SOURCE + stages)
    project.load()
    said = capfd.readouterr().err
    assert said.count("warning[") == project.SHOWN
    assert f"and {50 - project.SHOWN} more: `mlpipec check` shows all" in said


def test_errors_are_shown_with_their_place(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "params.yaml").write_text("lr: 1\nlr: 2\n")
    with pytest.raises(Failure, match="does not compile"):
        project.load()
    shown = capfd.readouterr().err
    assert "MLP221" in shown and "params.yaml:2:1" in shown and "pipeline.mlpipe:3:8" in shown


def test_the_fast_path_imports_nothing_heavy(folder: Path) -> None:
    project.load()
    script = (
        "import sys\nfrom mlflowc import project\nproject.load()\n"
        "heavy = {'lark', 'yaml', 'jinja2', 'mlflowc.compile'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_three_thousand_stages_in_a_row(folder: Path) -> None:
    """Depth is no problem: nothing recurses along the graph."""
    lines = ["mlpipe 1", "pipeline deep"]
    lines += [
        f'stage s{n} {{ in i = s{n + 1}.o, out o = "o/{n}", run = "x {{{{i}}}} {{{{o}}}}" }}'
        for n in range(1, 3000)
    ]
    lines.append('stage s3000 { out o = "o/3000", run = "x {{o}}" }')
    lines.append("on push { run = [s1] }")
    (folder / "pipeline.mlpipe").write_text("\n".join(lines) + "\n")
    stages = project.load().pipeline.stages
    assert [s.id for s in stages] == [f"s{n}" for n in range(3000, 0, -1)]
