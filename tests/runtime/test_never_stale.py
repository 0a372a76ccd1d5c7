"""Ways in which caches of other tools gave an old result for a new question, where no other test has them.

And what is saved from a folder comes back from the cache as it was, whatever is in it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlflowc.runtime.events import Outcome
from tests.runtime.lab import DIR, Lab, stage
from tests.support.project import Checkout

PIPELINE = """\
mlpipe 1

pipeline p

data raw = "data/raw.txt"

stage copy {
  in  raw       = raw
  out o: file   = "o.txt"
  run = "cat {{raw}} > {{o}}"
}
"""


@pytest.mark.parametrize("how", ["write", "keep the time", "older", "other inode, same time"])
def test_an_input_that_git_ignores_is_an_input(tmp_path: Path, how: str) -> None:
    """However it is changed: also with its old time, or an older one, or by a rename."""
    project = Checkout(tmp_path / "project")
    project.write({"pipeline.mlpipe": PIPELINE, ".gitignore": "data/\n", "data/raw.txt": "one\n"})
    subprocess.run(["git", "init", "-q"], cwd=project.path, check=True)
    project.mlpipec("run")
    assert "nothing to do" in project.mlpipec("run").out
    path = project.path / "data/raw.txt"
    before = path.stat()
    if how == "other inode, same time":
        new = project.path / "data/new"
        new.write_text("two\n")
        os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
        new.replace(path)
    else:
        path.write_text("two\n")
    if how == "keep the time":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif how == "older":
        os.utime(path, (1_000_000_000, 1_000_000_000))
    assert "1 ran" in project.mlpipec("run").out
    assert (project.path / "o.txt").read_text() == "two\n"


_NAMES = st.one_of(
    st.sampled_from(
        ["a", "-rf", " ", "a b", "new\nline", "*", "$HOME", "'", "ä", "ä.ö", "..x", ".hidden", "\\"]
    ),
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8),
)
_CONTENTS = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"x" * 70_000, b"\0" * 70_000]),
    # A file with a hole: its length, and where something stands.
    st.tuples(st.integers(1, 300_000), st.binary(max_size=5)),
)


@st.composite
def _folders(draw: st.DrawFn, depth: int = 2) -> dict[str, object]:
    """Names to contents, `(content, True)` for what can be run, folders, and links as strings."""
    found: dict[str, object] = {}
    for name in draw(st.lists(_NAMES, max_size=4)):
        form = unicodedata.normalize(draw(st.sampled_from(["NFC", "NFD"])), name)
        # Two names that are one to people, and to other systems, are refused.
        taken = {unicodedata.normalize("NFC", n) for n in found}
        plain = unicodedata.normalize("NFC", form)
        if plain in taken or plain in (".", "..") or len(os.fsencode(form)) > 200:
            continue
        kinds = ["file", "exec", "link"] + ["folder"] * (depth > 0)
        kind = draw(st.sampled_from(kinds))
        if kind == "folder":
            found[form] = draw(_folders(depth - 1))
        elif kind == "link":
            found[form] = draw(st.sampled_from([".", "nowhere", *[n for n in found if n]]))
        else:
            found[form] = (draw(_CONTENTS), kind == "exec")
    return found


def _make(folder: Path, given_: dict[str, object]) -> None:
    folder.mkdir()
    for name, what in given_.items():
        path = folder / name
        if isinstance(what, dict):
            _make(path, what)
        elif isinstance(what, str):
            path.symlink_to(what)
        else:
            assert isinstance(what, tuple)
            content, executable = what
            if isinstance(content, tuple):
                with path.open("wb") as file:
                    file.truncate(content[0])
                    file.seek(content[0] // 2)
                    file.write(content[1])
            else:
                path.write_bytes(content)
            path.chmod(0o755 if executable else 0o644)


def _looks(folder: Path) -> dict[str, object]:
    """All that counts of a folder."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*"), key=os.fsencode):
        name = os.fspath(path.relative_to(folder))
        if path.is_symlink():
            found[name] = path.readlink()
        elif path.is_dir():
            found[name] = "folder"
        else:
            found[name] = (path.read_bytes(), bool(path.stat().st_mode & 0o100))
    return found


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(_folders())
def test_what_is_saved_comes_back(contents: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory(prefix="mlpipec-tree-") as place:
        root = Path(place) / "project"
        root.mkdir()
        _make(Path(place) / "given", contents)
        lab = Lab(root)
        lab.stages = [stage("a", "cp -a ../given {o:o}", writes={"o": "out"}, types={"o": DIR})]
        assert lab.outcomes() == {"a": Outcome.RAN}
        before = _looks(root / "out")
        assert before == _looks(Path(place) / "given")
        shutil.rmtree(root / "out")
        assert lab.outcomes() == {"a": Outcome.RESTORED}
        assert _looks(root / "out") == before
        assert lab.plan().idle
