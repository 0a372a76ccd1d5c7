"""Two branches, one lock: real merges by git, with the driver and by hand afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflowc.errors import Failure
from mlflowc.runtime.lockfile import LockFile
from mlflowc.runtime.lockmerge import Side, merge, sides
from tests.support import project
from tests.support.wheels import wheel

PIPELINE = """\
mlpipe 1

pipeline merging

params "params.yaml"

stage a {
  in  one = "one.txt"
  out x = "out/a.txt"
  run = "cat {{one}} > {{x}}"
}

stage b {
  in  two = "two.txt"
  param b.n
  out scores: metrics { n: int } = "out/b.json"
  run = "cat {{two}} >&2; echo '{\\"n\\": '{{params.b.n}}'}' > {{scores}}"
}

stage c {
  in  x = a.x
  out z = "out/c.txt"
  run = "cat {{x}} > {{z}}"
}
"""


@pytest.fixture
def made(tmp_path: Path) -> project.Checkout:
    """A project that ran, with its lock committed on `main`."""
    made = project.new(tmp_path / "p", PIPELINE)
    made.write({"one.txt": "1\n", "two.txt": "2\n", "params.yaml": "b:\n  n: 1\n", ".gitignore": "out/\n"})
    made.mlpipec("run")
    made.commit()
    return made


def branches(made: project.Checkout, ours: dict[str, str], theirs: dict[str, str]) -> None:
    """Commits `theirs` on a branch `side` and `ours` on `main`, each with a run."""
    made.git("checkout", "-q", "-b", "side")
    for branch, files in (("side", theirs), ("main", ours)):
        made.git("checkout", "-q", branch)
        made.write(files)
        made.mlpipec("run")
        made.commit()


def merged(made: project.Checkout) -> tuple[bool, str]:
    """Merges `side` into `main`: whether that went without a conflict, and what was said."""
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    done = subprocess.run(
        ["git", "merge", "-q", "--no-edit", "side"],
        cwd=made.path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    return done.returncode == 0, done.stdout + done.stderr


def lock(made: project.Checkout) -> LockFile:
    """The lock as it is."""
    return LockFile.read(made.path)


def conflicted(made: project.Checkout) -> bool:
    """Whether git still sees a conflict in the lock."""
    return "mlpipe.lock" in made.git("diff", "--name-only", "--diff-filter=U")


# --- the driver


def test_different_stages_on_two_branches(made: project.Checkout) -> None:
    made.mlpipec("lock", "--install-merge-driver")
    made.commit()
    branches(made, {"one.txt": "10\n"}, {"two.txt": "20\n"})
    good, said = merged(made)
    assert good, said
    assert "both changed" not in said
    made.mlpipec("verify")
    # What the branches made is in the cache.
    assert " ran" not in made.mlpipec("run").out
    assert made.read("out/a.txt") == made.read("out/c.txt") == "10\n"


def test_the_same_stage_on_both_is_settled_by_the_driver(made: project.Checkout) -> None:
    made.mlpipec("lock", "--install-merge-driver")
    made.commit()
    branches(made, {"params.yaml": "b:\n  n: 2\n"}, {"two.txt": "20\n"})
    mine = lock(made).stage("b")
    good, said = merged(made)
    assert good, said
    assert "both changed stage b: ours (by rule; a run brings it up to date)" in said
    assert lock(made).stage("b") == mine
    # Neither side is right, and nothing takes it for right.
    assert "b" in made.mlpipec("verify", code=1).out
    assert made.mlpipec("run").code == 0
    made.mlpipec("verify")


def test_installing_twice_changes_nothing(made: project.Checkout) -> None:
    made.write({".gitattributes": "*.txt text"})
    first = made.mlpipec("lock", "--install-merge-driver")
    assert "commit `.gitattributes`" in first.out
    before = made.read(".gitattributes")
    assert before == "*.txt text\nmlpipe.lock merge=mlpipe-lock\n"
    assert "commit" not in made.mlpipec("lock", "--install-merge-driver").out
    assert made.read(".gitattributes") == before


def test_the_driver_leaves_a_damaged_lock_to_people(made: project.Checkout) -> None:
    made.mlpipec("lock", "--install-merge-driver")
    made.commit()
    made.git("checkout", "-q", "-b", "side")
    made.write({"mlpipe.lock": made.read("mlpipe.lock").replace("stage b", "stage b damaged")})
    made.commit()
    made.git("checkout", "-q", "main")
    made.write({"two.txt": "3\n"})
    made.mlpipec("run")
    made.commit()
    good, said = merged(made)
    assert not good
    assert "is damaged at line" in said
    assert "<<<<<<< " in made.read("mlpipe.lock")


def test_the_driver_needs_git(tmp_path: Path) -> None:
    (tmp_path / "pipeline.mlpipe").write_text(PIPELINE)
    bare = project.Checkout(tmp_path)
    assert "no git repository" in bare.mlpipec("lock", "--install-merge-driver", code=1).err


# --- afterwards


def test_resolve_takes_the_side_that_the_checkout_agrees_with(made: project.Checkout) -> None:
    branches(made, {"params.yaml": "b:\n  n: 2\n"}, {"params.yaml": "b:\n  n: 3\n"})
    good, _ = merged(made)
    assert not good
    assert conflicted(made)
    # While the pipeline's own files are in conflict, nobody can know.
    made.git("checkout", "--theirs", "--", "params.yaml")
    done = made.mlpipec("lock", "--resolve")
    assert "both changed stage b: theirs (it belongs to the files here)" in done.err
    entry = lock(made).stage("b")
    assert entry is not None
    assert entry.metrics == {"scores": {"n": 3}}
    made.git("add", "-A")
    assert not conflicted(made)
    made.mlpipec("verify")


def test_resolve_while_the_parameters_are_in_conflict_too(made: project.Checkout) -> None:
    branches(made, {"params.yaml": "b:\n  n: 2\n"}, {"params.yaml": "b:\n  n: 3\n"})
    merged(made)
    done = made.mlpipec("lock", "--resolve")
    assert "by rule alone, for the pipeline cannot be read yet" in done.out
    entry = lock(made).stage("b")
    assert entry is not None
    assert entry.metrics == {"scores": {"n": 2}}


def test_what_is_behind_a_stage_follows_its_side(made: project.Checkout) -> None:
    """The key of `c` depends on what `a` made: both come from the same side."""
    branches(made, {"one.txt": "10\n"}, {"one.txt": "11\n"})
    merged(made)
    made.git("checkout", "--theirs", "--", "one.txt")
    done = made.mlpipec("lock", "--resolve")
    for stage in ("a", "c"):
        assert f"both changed stage {stage}: theirs (it belongs to the files here)" in done.err
    made.mlpipec("verify")


def test_resolve_from_markers_alone(made: project.Checkout) -> None:
    branches(made, {"params.yaml": "b:\n  n: 2\n"}, {"params.yaml": "b:\n  n: 3\n"})
    merged(made)
    text = made.read("mlpipe.lock")
    made.git("merge", "--abort")
    made.write({"mlpipe.lock": text})
    line = text.split("\n").index("<<<<<<< HEAD") + 1
    for command in ("status", "verify", "run"):
        told = made.mlpipec(command, code=1).err
        assert f"`mlpipe.lock` has an unsettled merge conflict (line {line})" in told
        assert "`mlpipec lock --resolve` settles this one" in told
        assert "git checkout" not in told
    done = made.mlpipec("lock", "--resolve")
    assert "both changed stage b: ours (it belongs to the files here)" in done.err
    made.mlpipec("verify")


def test_nothing_to_resolve(made: project.Checkout) -> None:
    assert "nothing to settle" in made.mlpipec("lock", "--resolve").out
    assert "mlpipe.lock: 3 stages" in made.mlpipec("lock").out


def test_markers_that_do_not_fit_are_said(made: project.Checkout) -> None:
    made.write({"mlpipe.lock": "<<<<<<< ours\n>>>>>>> theirs\n"})
    assert "do not fit together at line 2" in made.mlpipec("lock", "--resolve", code=1).err
    made.write({"mlpipe.lock": "<<<<<<< ours\n=======\n"})
    assert "the last one has no end" in made.mlpipec("lock", "--resolve", code=1).err


def test_one_thing_at_a_time(made: project.Checkout) -> None:
    assert "exclude" in made.mlpipec("lock", "--resolve", "--install-merge-driver", code=2).err


# --- packages


ENV = """\
mlpipe 1

pipeline packages

env py { requirements = "requirements.txt" }

stage a {
  env = py
  out x = "out/a.txt"
  run = "python -c 'import alpha; print(alpha.__name__)' > {{x}}"
}
"""


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> project.Checkout:
    """A project with packages from wheels of its own, resolved and committed."""
    for name in ("UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_INDEX", "UV_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    made = project.new(tmp_path / "p", ENV)
    for name in ("alpha", "beta", "gamma"):
        for version in ("1.0", "2.0"):
            wheel(made.path / "wheels", name, version)
    made.write({"requirements.txt": requirements("alpha==1.0")})
    made.mlpipec("run")
    made.commit()
    return made


def requirements(*lines: str) -> str:
    """A requirements file that installs from the project's wheels."""
    return "--no-index\n--find-links wheels\n" + "".join(f"{line}\n" for line in lines)


def test_packages_changed_on_both_are_taken_as_a_whole(packages: project.Checkout) -> None:
    packages.mlpipec("lock", "--install-merge-driver")
    packages.commit()
    branches(
        packages,
        {"requirements.txt": requirements("alpha==1.0", "beta==1.0")},
        {"requirements.txt": requirements("alpha==2.0")},
    )
    good, said = merged(packages)
    assert not good, "the requirements themselves are in conflict"
    assert "both changed env py: ours" in said
    names = {name for kind, name in lock(packages).entries if kind == "package"}
    assert names == {"py.alpha", "py.beta"}
    assert lock(packages).get("package", "py.alpha") == {"pins": ["==1.0"]}
    packages.write({"requirements.txt": requirements("alpha==2.0", "beta==1.0")})
    packages.mlpipec("run")
    assert lock(packages).get("package", "py.alpha") == {"pins": ["==2.0"]}
    packages.mlpipec("verify")


def test_resolve_takes_the_packages_of_the_requirements_that_are_there(packages: project.Checkout) -> None:
    branches(
        packages,
        {"requirements.txt": requirements("alpha==1.0", "beta==1.0")},
        {"requirements.txt": requirements("alpha==2.0", "gamma==2.0")},
    )
    merged(packages)
    packages.git("checkout", "--theirs", "--", "requirements.txt")
    done = packages.mlpipec("lock", "--resolve")
    assert "both changed env py: theirs (it belongs to the files here)" in done.err
    assert "both changed stage a: theirs (it belongs to the files here)" in done.err
    assert {n for k, n in lock(packages).entries if k == "package"} == {"py.alpha", "py.gamma"}
    packages.mlpipec("verify")


# --- by itself

entries = st.dictionaries(
    st.tuples(st.sampled_from(["data", "env", "package"]), st.sampled_from(["a", "b", "a.x", "a.y", "b.x"])),
    st.fixed_dictionaries({"v": st.integers(0, 2)}),
)
locks = entries.map(LockFile)


@given(locks, locks)
def test_what_one_side_changed_is_taken(base: LockFile, changed: LockFile) -> None:
    for merged in (merge(base, changed, base), merge(base, base, changed), merge(base, changed, changed)):
        assert merged.lock.render() == changed.render()
        assert merged.settled == ()


@given(locks, locks, locks)
def test_every_environment_is_one_sides_whole(base: LockFile, ours: LockFile, theirs: LockFile) -> None:
    result = merge(base, ours, theirs)
    for env in "ab":
        parts = [
            {
                (k, n): e
                for (k, n), e in lock.entries.items()
                if (k == "env" and n == env) or (k == "package" and n.startswith(env + "."))
            }
            for lock in (result.lock, ours, theirs)
        ]
        assert parts[0] in parts[1:]
    assert all(not s.known for s in result.settled)


@given(locks, locks, locks)
def test_the_judge_decides(base: LockFile, ours: LockFile, theirs: LockFile) -> None:
    settled = {(s.kind, s.name) for s in merge(base, ours, theirs).settled}
    asked: list[tuple[str, str]] = []

    def judge(kind: str, name: str, mine: LockFile, other: LockFile) -> Side:
        asked.append((kind, name))
        return Side.THEIRS

    result = merge(base, ours, theirs, judge)
    assert set(asked) == settled
    assert all(s.side is Side.THEIRS and s.known for s in result.settled)


def test_markers_with_the_ancestor() -> None:
    text = "# same\n<<<<<<< HEAD\nours\n||||||| base\nbefore\n=======\ntheirs\n>>>>>>> side\nend\n"
    assert sides(text) == ("# same\nbefore\nend\n", "# same\nours\nend\n", "# same\ntheirs\nend\n")
    assert sides("stage a {}\n") is None
    with pytest.raises(Failure):
        sides("=======\n")
