"""`mlpipec why`, down to the function of a code file, and in a clone that has no record of the result."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlflowc.ir.model import Env, Place
from mlflowc.runtime import codechange
from mlflowc.runtime.explain import Change, changes
from mlflowc.runtime.hashing import hash_bytes
from tests.support.git_repos import commit, git

HELP = """\
import math

LIMIT = 3


def one(x):
    return x + 1


def two(x):
    return x * 2


class Model:
    depth = 3

    def fit(self):
        return 1
"""


def _files(key: str) -> dict[str, str]:
    return {
        "pipeline.mlpipe": (
            'mlpipe 1\npipeline p\n\nstage s {\n  in  x = "x.txt"\n  out o = "o.txt"\n'
            f'  code_key = "{key}"\n  run = "python main.py {{{{x}}}} {{{{o}}}}"\n}}\n'
        ),
        "x.txt": "1\n",
        "main.py": "import sys\nimport aid\nopen(sys.argv[2], 'w').write(str(aid.one(1)))\n",
        "aid.py": HELP,
        ".gitignore": "o.txt\n",
    }


def _call(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "mlflowc", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done
    return done.stdout


@pytest.mark.parametrize("key", ["bytes", "ast"])
def test_functions_that_changed_are_named(tmp_path: Path, key: str) -> None:
    folder = tmp_path / "sub"
    commit(tmp_path, {f"sub/{name}": content for name, content in _files(key).items()})
    _call(folder, "run")
    changed = HELP.replace("x + 1", "x + 2").replace("return 1", "return 2").replace("import math\n", "")
    (folder / "aid.py").write_text(changed + "\n\ndef three():\n    pass\n")
    assert (
        "  code `aid.py` changed: function `Model.fit`, function `one`, function `three` is new,"
        " what is outside of functions\n"
    ) in _call(folder, "why", "s")
    (folder / "aid.py").write_text(HELP.replace("depth = 3", "depth = 4").replace("two", "zwei"))
    assert (
        "code `aid.py` changed: function `two` is gone, function `zwei` is new, what class `Model` sets\n"
    ) in _call(folder, "why", "s")


def test_comments_alone_are_said_to_be(tmp_path: Path) -> None:
    commit(tmp_path, _files("bytes"))
    _call(tmp_path, "run")
    (tmp_path / "aid.py").write_text(HELP.replace("    return x + 1", "    return (x + 1)  # more"))
    assert "code `aid.py` changed: comments and layout alone\n" in _call(tmp_path, "why")


def test_what_git_does_not_have_is_not_guessed(tmp_path: Path) -> None:
    commit(tmp_path, _files("bytes"))
    (tmp_path / "aid.py").write_text(HELP.replace("x + 1", "x + 7"))
    _call(tmp_path, "run")
    (tmp_path / "aid.py").write_text(HELP.replace("x + 1", "x + 8"))
    assert "code `aid.py` changed\n" in _call(tmp_path, "why")
    (tmp_path / "aid.py").write_text("def one(x:\n")
    assert "code `aid.py` changed\n" in _call(tmp_path, "why")


def test_a_clone_without_a_cache_is_told_what_changed(tmp_path: Path) -> None:
    first = tmp_path / "first"
    commit(first, _files("bytes"))
    _call(first, "run")
    made = commit(first)
    git(tmp_path, "clone", "-q", "first", "second")
    clone = tmp_path / "second"
    shutil.rmtree(clone / ".mlpipe", ignore_errors=True)
    (clone / "x.txt").write_text("2\n")
    assert _call(clone, "why", "s").splitlines() == [
        "s: would run; different from the lock:",
        f"  `x.txt` changed since {made[:9]}",
    ]


def test_code_with_an_odd_escape_is_no_warning(tmp_path: Path) -> None:
    """Here warnings are errors; from Python 3.12 on they would be printed."""
    text = "def one(x):\n    return '\\d'\n"
    commit(tmp_path, {"aid.py": text})
    (tmp_path / "aid.py").write_text(text.replace("return", "return x,"))
    change = Change("code:aid.py", hash_bytes(text.encode()), "another")
    assert codechange.text(tmp_path, change, None).endswith(": function `one`")


CHAIN = """\
mlpipe 1
pipeline p

param C = 1

stage clean {
  in  raw = "raw.txt"
  out text = "clean.txt"
  run = "python clean.py {{raw}} {{text}}"
}

stage train {
  in  text = clean.text
  param C
  out model = "model.txt"
  run = "cat {{text}} > {{model}}; echo {{params.C}} >> {{model}}"
}

stage judge {
  in  model = train.model
  out note = "note.txt"
  run = "wc -c < {{model}} > {{note}}"
}
"""


@pytest.fixture
def cloned(tmp_path: Path) -> Path:
    """A clone of a project that has run; `../store` is a remote with all results."""
    first = tmp_path / "first"
    files = {
        "pipeline.mlpipe": CHAIN,
        "raw.txt": "1\n",
        "clean.py": "import sys\nopen(sys.argv[2], 'w').write(open(sys.argv[1]).read())\n",
        ".gitignore": "clean.txt\nmodel.txt\nnote.txt\n",
    }
    commit(first, files)
    _call(first, "run")
    _call(first, "cache", "push", "--remote", "../store")
    commit(first)
    git(tmp_path, "clone", "-q", "first", "second")
    return tmp_path / "second"


def _edit(clone: Path) -> None:
    (clone / "pipeline.mlpipe").write_text(CHAIN.replace("C = 1", "C = 2"))
    script = clone / "clean.py"
    script.write_text(script.read_text().replace(".read()", ".read() * 2"))


def test_why_asks_the_remote_as_status_does(cloned: Path) -> None:
    told = "its result is in the remote (`{}` is missing); it would be restored, not run"
    assert _call(cloned, "why", "--remote", "../store").splitlines() == [
        f"clean: {told.format('clean.txt')}",
        f"train: {told.format('model.txt')}",
        f"judge: {told.format('note.txt')}",
    ]
    assert "would run: its result is in the lock file, but not in this cache" in _call(
        cloned, "why", "clean", "--no-remote"
    )


def test_a_stage_that_waits_says_what_is_different_already(cloned: Path) -> None:
    _edit(cloned)
    lines = _call(cloned, "why").splitlines()
    assert lines[0] == "clean: would run; different from the lock:"
    assert lines[1].startswith("  code `clean.py` changed since ")
    assert lines[2:] == [
        "train: depends on what `clean` makes; already different from the lock:",
        "  parameter `C` changed: 1 → 2",
        "judge: depends on what `train` makes",
    ]


def test_the_remote_tells_of_the_result_of_the_lock(cloned: Path) -> None:
    _edit(cloned)
    lines = _call(cloned, "why", "--remote", "../store").splitlines()
    assert lines[0].startswith("clean: would run; different from the result ")
    assert lines[0].endswith(" of the lock:")
    assert lines[1] == "  code `clean.py` changed: what is outside of functions"


def test_a_run_in_a_clone_says_what_is_other_than_in_the_lock(cloned: Path) -> None:
    _edit(cloned)
    told = _call(cloned, "run")
    assert "▶ clean: its key is not that of the lock\n" in told
    assert "▶ train: parameter `C` changed: 1 → 2, input `text` is other than in the lock\n" in told
    assert "▶ judge: input `model` is other than in the lock\n" in told


def test_the_file_of_requirements_is_named() -> None:
    env = Env("e", Place("pipeline.mlpipe", 1, 1), requirements="needs/all.txt")
    told = [c.text for c in changes({"env:requirements": "a"}, {"env:requirements": "b"}, env)]
    assert told == ["environment: requirements of `needs/all.txt` changed: a → b"]
