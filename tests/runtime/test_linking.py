"""`cache { link = … }`: what large outputs share with the cache, as one sees it on the disk."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from mlflowc.runtime import ports
from tests.runtime.test_cli import Call, call

__all__ = ["call"]

PIPELINE = """\
mlpipe 1

pipeline big

LINK
stage make {
  out  one: file = "out/one.bin"
  out  many: dir = "out/many/"
  out  tool: file = "out/tool.sh"
  run  = \"\"\"
  rm -rf {{many}}; mkdir -p {{many}}
  head -c 100000 /dev/zero > {{one}}
  head -c 200000 /dev/zero > {{many}}/big.bin
  echo small > {{many}}/small.txt
  head -c 300000 /dev/zero > {{tool}}; chmod +x {{tool}}
  echo {{one}} > count.txt; echo x >> ran.txt
  \"\"\"
}
"""
LARGE = ("out/one.bin", "out/many/big.bin", "out/tool.sh")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # What a disk can decides with `auto`: here it can share no blocks.
    monkeypatch.setattr(ports.LocalFileSystem, "clone", lambda *_: False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(project: Path, link: str) -> None:
    block = f"cache {{ link = {link} }}\n" if link else ""
    (project / "pipeline.mlpipe").write_text(PIPELINE.replace("LINK\n", block))


def shared(project: Path) -> dict[str, tuple[bool, bool]]:
    """For each large output: whether it is a file of the cache, and whether it may be written."""
    objects = {p.stat().st_ino for p in (project / ".mlpipe/cache/objects").glob("??/*")}
    found = {}
    for name in LARGE:
        st = (project / name).stat()
        assert (st.st_ino in objects) == (st.st_nlink > 1)
        found[name] = (st.st_ino in objects, bool(st.st_mode & stat.S_IWUSR))
    return found


OWN = dict.fromkeys(LARGE, (False, True))
LINKED = dict.fromkeys(LARGE, (True, False))


@pytest.mark.parametrize(
    ("link", "wanted"),
    [("", LINKED), ("auto", LINKED), ("hardlink", LINKED), ("copy", OWN), ("reflink", OWN)],
)
def test_made_and_restored_outputs_share_what_the_setting_says(
    project: Path, call: Call, link: str, wanted: dict[str, tuple[bool, bool]]
) -> None:
    write(project, link)
    first = call("run")
    assert first.code == 0, first.err
    assert shared(project) == wanted
    for name in LARGE:
        (project / name).unlink()
    assert call("run").code == 0
    assert shared(project) == wanted
    assert (project / "out/tool.sh").stat().st_mode & 0o100
    assert (project / "out/many/small.txt").stat().st_nlink == 1
    assert (project / "ran.txt").read_text() == "x\n"


@pytest.mark.parametrize("link", ["auto", "reflink", "hardlink", "copy"])
def test_only_some_settings_ask_the_disk_for_clones(
    project: Path, call: Call, monkeypatch: pytest.MonkeyPatch, link: str
) -> None:
    made = []

    def clone(_: object, source: Path, target: Path) -> bool:
        made.append(source)
        target.write_bytes(Path(source).read_bytes())
        return True

    monkeypatch.setattr(ports.LocalFileSystem, "clone", clone)
    write(project, link)
    assert call("run").code == 0
    assert bool(made) == (link in ("auto", "reflink"))
    assert shared(project) == (LINKED if link == "hardlink" else OWN)


def test_where_no_link_can_be_made_there_is_a_copy(
    project: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(ports.LocalFileSystem, "link", link)
    write(project, "hardlink")
    assert call("run").code == 0
    assert shared(project) == OWN


def test_another_setting_makes_nothing_again_and_holds_from_the_next_restore(
    project: Path, call: Call
) -> None:
    write(project, "hardlink")
    assert call("run").code == 0
    lock = (project / "mlpipe.lock").read_text()
    write(project, "copy")
    assert "nothing to do" in call("run").out
    assert shared(project) == LINKED
    for name in LARGE:
        (project / name).unlink()
    assert "1 restored" in call("run").out
    assert shared(project) == OWN
    # What is written by hand now spoils nothing: the result comes back.
    with (project / "out/one.bin").open("ab") as file:
        file.write(b"z")
    assert "1 restored" in call("run").out
    assert (project / "out/one.bin").stat().st_size == 100_000
    assert (project / "mlpipe.lock").read_text() == lock
    assert (project / "ran.txt").read_text() == "x\n"


def test_a_setting_that_does_not_exist(project: Path, call: Call) -> None:
    write(project, "hardlnk")
    said = call("check")
    assert said.code == 1
    assert "`auto`, `reflink`, `hardlink` or `copy`" in said.err + said.out
    assert "write `hardlink`?" in said.err + said.out
    write(project, '"symlink"')
    said = call("check")
    assert said.code == 1
    assert "`auto`, `reflink`, `hardlink` or `copy`" in said.err + said.out
    assert "`copy` for outputs that may be written by hand" in said.err + said.out


@pytest.mark.skipif(sys.platform != "linux", reason="a CI job as it is run there")
def test_a_job_of_ci_goes_by_it(project: Path, call: Call) -> None:
    write(project, "copy")
    assert call("exec", "make").code == 0
    assert shared(project) == OWN


@pytest.mark.parametrize("name", LARGE)
def test_what_was_edited_in_place_is_told_and_made_again(project: Path, call: Call, name: str) -> None:
    write(project, "auto")
    assert call("run").code == 0
    good = (project / name).read_bytes()
    mode = (project / name).stat().st_mode
    # As root does, whom no mode stops.
    (project / name).chmod(0o644)
    with (project / name).open("ab") as file:
        file.write(b"z")
    (project / name).chmod(mode)
    reason = f"`{name}` was edited in place, and the cache's copy with it (they were one file)"
    assert reason in call("status").out
    # Each that looks drops what is wrong; the next must not tell something else.
    assert reason in call("status").out
    assert reason in call("why", "make").out
    assert reason in call("run").out
    assert (project / name).read_bytes() == good
    assert "nothing to do" in call("run").out


def test_why_tells_it_also_where_there_are_older_results(project: Path, call: Call) -> None:
    write(project, "auto")
    text = (project / "pipeline.mlpipe").read_text()
    (project / "pipeline.mlpipe").write_text(text.replace("head -c 100000", "head -c 150000"))
    assert call("run").code == 0
    write(project, "auto")
    assert call("run").code == 0
    (project / "out/one.bin").chmod(0o644)
    with (project / "out/one.bin").open("ab") as file:
        file.write(b"z")
    (project / "out/one.bin").chmod(0o444)
    said = call("why", "make").out
    assert "`out/one.bin` was edited in place" in said
    assert "changed" not in said


def test_who_made_it_writable_is_told_what_is_known(project: Path, call: Call) -> None:
    write(project, "auto")
    assert call("run").code == 0
    (project / "out/one.bin").chmod(0o644)
    (project / "out/one.bin").write_bytes(b"mine")
    reason = "`out/one.bin` was changed, and the cache has no good copy of what it was"
    assert reason in call("status").out
    assert reason in call("run").out


def test_a_clone_without_results_is_told_as_before(project: Path, call: Call) -> None:
    write(project, "auto")
    assert call("run").code == 0
    for name in ("one.bin", "tool.sh", "many/big.bin", "many/small.txt"):
        (project / "out" / name).unlink()
    for path in (project / ".mlpipe/cache/objects").glob("??/*"):
        path.unlink()
    assert "its result is in the lock file, but not in this cache" in call("status").out
