"""`mlpipec why`, down to the function of a code file, and in a clone that has no record of the result."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlflowc.runtime import codechange
from mlflowc.runtime.explain import Change
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
