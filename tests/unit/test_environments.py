"""Environments: what of them enters a key, how they are made, what is said when they cannot be.

Packages come from wheels that the tests write, so nothing is downloaded.
"""

from __future__ import annotations

import dataclasses
import hashlib
import multiprocessing
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlflowc.errors import Failure
from mlflowc.ir.model import Env, Place
from mlflowc.runtime import environments, hostpython, uvtool, venvs
from mlflowc.runtime.lockfile import LockFile
from tests.support.wheels import wheel

MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"
PLACE = Place("pipeline.mlpipe", 1, 1)
FROM_WHEELS = "--no-index\n--find-links wheels\n"
NOTHING = LockFile()


def env(requirements: str | None = "requirements.txt", **fields: object) -> Env:
    given = {"python": MINOR, "requirements": requirements, **fields}
    return Env("py", PLACE, **given)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("MLPIPEC_CACHE_DIR", str(folder))
    for name in ("UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_INDEX", "UV_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    environments._resolved.clear()
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose requirements name `alpha`, which needs `beta`."""
    root = tmp_path / "project"
    wheel(root / "wheels", "alpha", "1.0", needs=("beta>=1",))
    wheel(root / "wheels", "beta", "1.0")
    (root / "requirements.txt").write_text(FROM_WHEELS + "alpha\n")
    return root


@pytest.fixture
def no_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uvtool, "run", lambda *a, **k: pytest.fail("uv was called"))


def forget() -> None:
    environments._resolved.clear()


def says(root: Path, e: Env, lock: LockFile, program: str) -> str:
    variables = environments.prepare(root, e, lock, lambda line: None)
    done = subprocess.run(
        ["python", "-c", program], env={**os.environ, **variables}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


# --- resolution and keys


def test_a_resolution_is_kept_a_line_a_package(project: Path) -> None:
    lock = environments.pinned(project, [env()], NOTHING)
    assert lock.get("package", "py.alpha") == {"pins": ["==1.0"]}
    assert lock.get("package", "py.beta") == {"pins": ["==1.0"]}
    assert lock.get("env", "py")["file"] == "requirements.txt"  # type: ignore[index]
    assert str(project) not in lock.render()
    assert LockFile.parse(lock.render()) == lock


def test_a_kept_resolution_needs_no_uv(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = environments.pinned(project, [env()], NOTHING)
    parts = environments.key_parts(project, env(), lock)
    forget()
    monkeypatch.setattr(uvtool, "run", lambda *a, **k: pytest.fail("uv was called"))
    assert environments.key_parts(project, env(), lock) == parts
    assert environments.pinned(project, [env()], lock) is lock
    assert set(parts) == {"requirements", "python"}
    assert parts["python"] == MINOR


def test_the_key_is_the_same_elsewhere_and_without_the_lock(project: Path, tmp_path: Path) -> None:
    lock = environments.pinned(project, [env()], NOTHING)
    other = shutil.copytree(project, tmp_path / "elsewhere" / "checkout")
    parts = environments.key_parts(project, env(), lock)
    assert environments.key_parts(other, env(), lock) == parts
    forget()
    assert environments.key_parts(other, env(), NOTHING) == parts


def test_newer_releases_change_nothing_until_asked_for(project: Path) -> None:
    lock = environments.pinned(project, [env()], NOTHING)
    parts = environments.key_parts(project, env(), lock)
    wheel(project / "wheels", "alpha", "2.0", needs=("beta>=1",))
    wheel(project / "wheels", "beta", "2.0")
    forget()
    assert environments.key_parts(project, env(), lock) == parts

    (project / "requirements.txt").write_text(FROM_WHEELS + "alpha>=2\n")
    forget()
    newer = environments.pinned(project, [env()], lock)
    assert newer.get("package", "py.alpha") == {"pins": ["==2.0"]}
    assert newer.get("package", "py.beta") == {"pins": ["==1.0"]}, "what still fits stays"
    assert environments.key_parts(project, env(), newer)["requirements"] != parts["requirements"]


def test_comments_and_layout_do_not_resolve_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = environments.pinned(project, [env()], NOTHING)
    forget()
    monkeypatch.setattr(uvtool, "run", lambda *a, **k: pytest.fail("uv was called"))
    (project / "requirements.txt").write_text("# what we need\n" + FROM_WHEELS + "\n  alpha   # the first\n")
    assert environments.pinned(project, [env()], lock) is lock


def test_included_files_and_constraints_count(project: Path) -> None:
    wheel(project / "wheels", "beta", "2.0")
    (project / "more").mkdir()
    (project / "requirements.txt").write_text(FROM_WHEELS + "-r more/base.txt\n-c more/limits.txt\n")
    (project / "more/base.txt").write_text("alpha\n")
    (project / "more/limits.txt").write_text("beta<2\n")
    lock = environments.pinned(project, [env()], NOTHING)
    assert lock.get("package", "py.beta") == {"pins": ["==1.0"]}
    (project / "more/limits.txt").write_text("beta>=2\n")
    forget()
    assert environments.pinned(project, [env()], lock).get("package", "py.beta") == {"pins": ["==2.0"]}


def test_markers_are_kept_for_other_platforms(project: Path) -> None:
    (project / "requirements.txt").write_text(FROM_WHEELS + "alpha\nbeta; sys_platform == 'win32'\n")
    wheel(project / "wheels", "alpha", "1.0")
    lock = environments.pinned(project, [env()], NOTHING)
    assert lock.get("package", "py.beta") == {"pins": ["==1.0 ; sys_platform == 'win32'"]}
    assert says(project, env(), lock, "import importlib.util as u; print(u.find_spec('beta'))") == "None"


def test_lines_of_environments_that_are_gone_go(project: Path) -> None:
    lock = environments.pinned(project, [env()], NOTHING).with_("stage", "x", {"key": "k", "outputs": {}})
    assert set(environments.pinned(project, [], lock).entries) == {("stage", "x")}


def test_variables_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    e = env(None, python=None, vars=(("MODE", "fast"),), passed=("THERE", "EMPTY", "NOT_THERE"))
    monkeypatch.setenv("THERE", "1")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("NOT_THERE", raising=False)
    assert environments.key_parts(tmp_path, e, NOTHING) == {
        "var:MODE": "fast", "pass:THERE": "=1", "pass:EMPTY": "=", "pass:NOT_THERE": "",
    }  # fmt: skip
    assert environments.prepare(tmp_path, e, NOTHING, print) == {}


def test_pins_do_without_the_network(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that names every version has a key without asking, and the same one as after asking."""
    (project / "requirements.txt").write_text(FROM_WHEELS + "alpha==1.0\nbeta==1.0\n")
    asked = environments.key_parts(project, env(), NOTHING)
    forget()

    def unreachable(*arguments: object, **options: object) -> str:
        raise uvtool.NetworkFailure("no network")

    monkeypatch.setattr(uvtool, "run", unreachable)
    assert environments.key_parts(project, env(), NOTHING) == asked
    assert environments.pinned(project, [env()], NOTHING) == NOTHING, "nobody knows if it is complete"


def test_pins_that_are_not_complete_are_found_out(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "requirements.txt").write_text(FROM_WHEELS + "alpha==1.0\n")
    real = uvtool.run

    def no_resolver(arguments: list[str], **options: object) -> str:
        if arguments[:2] == ["pip", "compile"]:
            raise uvtool.NetworkFailure("no network")
        return real(arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(uvtool, "run", no_resolver)
    with pytest.raises(Failure, match="beta"):
        environments.prepare(project, env(), NOTHING, lambda line: None)


def test_hashes_make_a_file_its_own_resolution(project: Path, no_uv: None) -> None:
    digest = hashlib.sha256((project / "wheels/beta-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    (project / "requirements.txt").write_text(FROM_WHEELS + f"beta==1.0 \\\n    --hash=sha256:{digest}\n")
    parts = environments.key_parts(project, env(), NOTHING)
    assert environments.pinned(project, [env()], NOTHING) is NOTHING
    (project / "requirements.txt").write_text(FROM_WHEELS + f"beta==1.0 --hash=sha256:{'0' * 64}\n")
    assert environments.key_parts(project, env(), NOTHING)["requirements"] != parts["requirements"]


def test_a_wrong_hash_is_refused(project: Path) -> None:
    (project / "requirements.txt").write_text(FROM_WHEELS + f"beta==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(Failure, match=r"(?i)hash"):
        environments.prepare(project, env(), NOTHING, lambda line: None)


def test_an_empty_file_is_only_python(project: Path, no_uv: None) -> None:
    (project / "requirements.txt").write_text("# nothing yet\n")
    assert set(environments.key_parts(project, env(), NOTHING)) == {"requirements", "python"}


# --- what comes from the project itself


def test_a_wheel_of_the_project_counts_by_content(project: Path) -> None:
    (project / "requirements.txt").write_text(FROM_WHEELS + "./wheels/beta-1.0-py3-none-any.whl\n")
    lock = environments.pinned(project, [env()], NOTHING)
    parts = environments.key_parts(project, env(), lock)
    assert says(project, env(), lock, "import beta; print(beta.VERSION)") == "1.0"
    wheel(project / "wheels", "beta", "1.0", content="EXTRA = 1")
    forget()
    assert environments.key_parts(project, env(), lock)["requirements"] != parts["requirements"]


def editable(project: Path, needs: str) -> None:
    (project / "lib/inner").mkdir(parents=True, exist_ok=True)
    (project / "lib/inner/__init__.py").write_text("WHAT = 'inner'\n")
    (project / "lib/pyproject.toml").write_text(
        f'[project]\nname = "inner"\nversion = "1"\ndependencies = ["{needs}"]\n'
    )
    (project / "requirements.txt").write_text(FROM_WHEELS + "-e ./lib\n")


def test_an_editable_requirement_counts_by_what_it_needs(project: Path) -> None:
    editable(project, "beta")
    lock = environments.pinned(project, [env()], NOTHING)
    assert lock.get("env", "py")["local"] == ["-e ./lib"]  # type: ignore[index]
    parts = environments.key_parts(project, env(), lock)
    (project / "lib/pyproject.toml").write_text(
        '[project]\nname = "inner"\nversion = "1"\ndescription = "x"\ndependencies = ["beta"]\n'
    )
    forget()
    assert environments.key_parts(project, env(), environments.pinned(project, [env()], lock)) == parts
    editable(project, "alpha")
    forget()
    assert environments.key_parts(project, env(), environments.pinned(project, [env()], lock)) != parts
    assert environments.import_paths(project, env()) == ("lib", "lib/src")


def test_a_copy_of_the_project_is_refused(project: Path) -> None:
    (project / "requirements.txt").write_text(".\n")
    with pytest.raises(Failure, match="copy of the whole project") as caught:
        environments.key_parts(project, env(), NOTHING)
    assert "-e ." in caught.value.help


# --- making


def test_an_environment_has_what_was_resolved_and_is_made_once(
    project: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = environments.pinned(project, [env()], NOTHING)
    lines: list[str] = []
    variables = environments.prepare(project, env(), lock, lines.append)
    assert lines[0] == f"making environment `py` (Python {MINOR})"
    place = Path(variables["VIRTUAL_ENV"])
    assert place.parent == own_cache / "envs"
    assert variables["PATH"].startswith(f"{place}/bin:")
    assert says(
        project, env(), lock, "import alpha, beta, sys; print(alpha.VERSION, beta.VERSION, sys.prefix)"
    ) == (f"1.0 1.0 {place}")
    # A command of a package works although the folder was renamed after it was made.
    done = subprocess.run([place / "bin/alpha"], capture_output=True, text=True, check=True)
    assert done.stdout == "alpha 1.0\n"
    assert list(place.glob("lib/python*/site-packages/__pycache__/alpha.*.pyc"))
    monkeypatch.setattr(uvtool, "run", lambda *a, **k: pytest.fail("uv was called"))
    assert environments.prepare(project, env(), lock, lines.append) == variables
    assert len(lines) == 2
    assert [p.name for p in place.parent.iterdir() if ".tmp-" in p.name] == []


@pytest.mark.parametrize("damage", ["marker", "python"])
def test_an_incomplete_environment_is_made_again(project: Path, damage: str) -> None:
    lock = environments.pinned(project, [env()], NOTHING)
    place = Path(environments.prepare(project, env(), lock, lambda line: None)["VIRTUAL_ENV"])
    if damage == "marker":
        (place / venvs._MARKER).unlink()
        shutil.rmtree(next(place.glob("lib/python*/site-packages")))
    else:
        (place / "bin/python").unlink()
        (place / "bin/python").symlink_to("/nonexistent/python")
    leftover = place.parent / f"{place.name}.tmp-killed"
    leftover.mkdir()
    assert says(project, env(), lock, "import beta; print(beta.VERSION)") == "1.0"
    assert not leftover.exists()


def test_a_failed_build_leaves_nothing(project: Path, own_cache: Path) -> None:
    lock = environments.pinned(project, [env()], NOTHING)
    (project / "wheels/beta-1.0-py3-none-any.whl").unlink()
    with pytest.raises(Failure, match="cannot make environment `py`: uv says"):
        environments.prepare(project, env(), lock, lambda line: None)
    assert [p.name for p in (own_cache / "envs").iterdir() if p.suffix != ".lock"] == []


def _prepare_elsewhere(
    root: Path, lock: str, cache: str, out: multiprocessing.Queue[tuple[str, list[str]]]
) -> None:
    os.environ["MLPIPEC_CACHE_DIR"] = cache
    lines: list[str] = []
    variables = environments.prepare(root, env(), LockFile.parse(lock), lines.append)
    out.put((variables["VIRTUAL_ENV"], lines))


def test_processes_at_once_make_it_once(project: Path, own_cache: Path) -> None:
    lock = environments.pinned(project, [env()], NOTHING).render()
    context = multiprocessing.get_context("spawn")
    out: multiprocessing.Queue[tuple[str, list[str]]] = context.Queue()
    workers = [
        context.Process(target=_prepare_elsewhere, args=(project, lock, str(own_cache), out))
        for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    answers = [out.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join()
    assert len({place for place, _ in answers}) == 1
    assert sum(any(line.startswith("making") for line in lines) for _, lines in answers) == 1
    assert [w.exitcode for w in workers] == [0, 0, 0]


def test_a_lock_of_uv(project: Path) -> None:
    (project / "pyproject.toml").write_text(
        '[project]\nname = "thing"\nversion = "0"\nrequires-python = ">=3.11"\ndependencies = ["beta"]\n'
        '[tool.uv.sources]\nbeta = { path = "wheels/beta-1.0-py3-none-any.whl" }\n'
    )
    subprocess.run(
        [uvtool.binary(), "lock", "--quiet", "--offline"], cwd=project, check=True, capture_output=True
    )
    e = env(None, lock="uv.lock")
    parts = environments.key_parts(project, e, NOTHING)
    assert set(parts) == {"lock", "python"}
    assert says(project, e, NOTHING, "import beta; print(beta.VERSION)") == "1.0"
    with (project / "uv.lock").open("a") as file:
        file.write("# changed\n")
    assert environments.key_parts(project, e, NOTHING)["lock"] != parts["lock"]
    (project / "pyproject.toml").unlink()
    with pytest.raises(Failure, match=r"no `pyproject.toml` beside"):
        environments.prepare(project, e, NOTHING, lambda line: None)


def test_only_python(tmp_path: Path) -> None:
    e = env(None)
    assert environments.key_parts(tmp_path, e, NOTHING) == {"python": MINOR}
    assert says(tmp_path, e, NOTHING, "import sys; print('%d.%d' % sys.version_info[:2])") == MINOR


def test_path_of_the_environment_stays_behind_its_python(tmp_path: Path) -> None:
    e = dataclasses.replace(env(None), vars=(("PATH", "/somewhere"),))
    variables = environments.prepare(tmp_path, e, NOTHING, lambda line: None)
    assert variables["PATH"] == f"{variables['VIRTUAL_ENV']}/bin:/somewhere"


# --- what cannot be


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"`requirements.txt` does not exist"):
        environments.key_parts(tmp_path, env(), NOTHING)
    (tmp_path / "requirements.txt").write_text("-r base.txt\n")
    with pytest.raises(Failure, match=r"`base.txt`, which `requirements.txt` includes, does not exist"):
        environments.key_parts(tmp_path, env(), NOTHING)
    with pytest.raises(Failure, match=r"lock file `uv.lock` does not exist"):
        environments.key_parts(tmp_path, env(None, lock="uv.lock"), NOTHING)


def test_unsatisfiable_shows_what_uv_says(project: Path) -> None:
    (project / "requirements.txt").write_text(FROM_WHEELS + "alpha\nbeta<1\n")
    with pytest.raises(Failure, match="environment `py`") as caught:
        environments.key_parts(project, env(), NOTHING)
    assert "No solution found" in caught.value.message
    assert "beta<1" in caught.value.message.replace(" ", "")


def test_no_network(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "requirements.txt").write_text("a-package-from-the-index\n")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(uvtool.NetworkFailure, match="out of reach") as caught:
        environments.key_parts(project, env(), NOTHING)
    assert "HTTPS_PROXY" in caught.value.help


def test_no_such_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    with pytest.raises(Failure, match=r"3\.99") as caught:
        environments.prepare(tmp_path, env(None, python="3.99"), NOTHING, lambda line: None)
    assert "pyenv" not in caught.value.message


def test_no_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    uvtool.binary.cache_clear()
    monkeypatch.setitem(sys.modules, "uv", None)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(Failure, match="`uv` is needed") as caught:
        uvtool.binary()
    uvtool.binary.cache_clear()
    assert "pip install uv" in caught.value.help


@pytest.mark.parametrize(
    ("fields", "message", "help"),
    [
        ({"lock": "poetry.lock"}, "`poetry.lock`", "poetry export"),
        ({"lock": "pdm.lock"}, "`pdm.lock`", "uv lock"),
        ({"python": "three"}, "not a version of Python", 'python = "3.11"'),
    ],
)
def test_refused(fields: dict[str, str], message: str, help: str, tmp_path: Path) -> None:
    for call in (environments.key_parts, lambda *args: environments.prepare(*args, print)):
        with pytest.raises(Failure, match=message) as caught:
            call(tmp_path, env(None, **fields), NOTHING)
        assert help in caught.value.help


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MLPIPEC_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(Failure, match="cannot make environment") as caught:
        environments.prepare(tmp_path, env(None), NOTHING, print)
    assert "MLPIPEC_CACHE_DIR" in caught.value.help


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLPIPEC_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert venvs.cache_folder() == Path("/x/mlpipec")
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert venvs.cache_folder() == Path.home() / ".cache/mlpipec"


# --- the host's Python


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python a.py", "python"), ("cd x && python3.12 -m y", "python3.12"),
        ("timeout 5 /usr/bin/python3 x", "python3"),
        ("uv run a.py", "python3"), ("papermill a.ipynb b.ipynb", "python3"), ("bash all.sh", "python3"),
        ("./go", "python3"), ("echo python-free && cp a b", ""), ("Rscript a.R", ""),
    ],
)  # fmt: skip
def test_commands_that_use_python(command: str, expected: str) -> None:
    assert hostpython.named(command) == expected


def test_the_host_python_counts_where_it_is_used(tmp_path: Path) -> None:
    parts = environments.key_parts(tmp_path, None, NOTHING, python="python3")
    real = subprocess.run(
        ["python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert parts == {"python": real.stdout.strip()}
    assert environments.key_parts(tmp_path, None, NOTHING) == {}
    assert environments.key_parts(tmp_path, None, NOTHING, python="python3.99") == {"python": "none"}


@pytest.mark.parametrize("kind", ["venv", "versioned", "stand-in"])
def test_versions_are_read_or_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    folder = tmp_path / "v/bin"
    folder.mkdir(parents=True)
    program = folder / "python"
    if kind == "venv":
        program.write_bytes(b"\x7fELF")
        (tmp_path / "v/pyvenv.cfg").write_text("home = /x\nversion = 3.12.4\n")
    elif kind == "versioned":
        (folder / "python3.12").write_bytes(b"\x7fELF")
        (folder / "python3.12").chmod(0o755)
        program.symlink_to("python3.12")
    else:
        program.write_text("#!/bin/sh\necho 3.12\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")
    assert hostpython.host_python("python") == "3.12"


def test_a_version_manager_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "pyenv"
    for version in ("3.11.7", "3.12.1"):
        (root / "versions" / version / "bin").mkdir(parents=True)
        (root / "versions" / version / "bin/python3").write_text("#!/bin/sh\n")
    (root / "version").write_text("3.12.1\n")
    scripts = {
        "shims/python3": f'program="${{0##*/}}"\nexec "{root}/libexec/pyenv" exec "$program" "$@"\n',
        "libexec/pyenv": f"echo asked >> {root}/calls\ncut -d. -f1-2 {root}/version\n",
    }
    for name, text in scripts.items():
        (root / name).parent.mkdir()
        (root / name).write_text(f"#!/bin/bash\n{text}")
        (root / name).chmod(0o755)
    monkeypatch.setenv("MLPIPEC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{root}/shims:/bin:/usr/bin")
    for name in [n for n in os.environ if n.startswith("PYENV_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PWD", str(tmp_path))

    def ask() -> tuple[str, int]:
        hostpython._version.cache_clear()
        return hostpython.host_python("python3"), len((root / "calls").read_text().splitlines())

    assert [ask(), ask()] == [("3.12", 1), ("3.12", 1)]
    (root / "version").write_text("3.11.7\n")
    assert [ask(), ask()] == [("3.11", 2), ("3.11", 2)], "another version was chosen"
    (root / "version").write_text("system\n")
    ask()
    assert ask()[1] == 4, "who decides is not to be seen"
    for kept in (tmp_path / "cache/interpreters").iterdir():
        kept.write_text("3.x")
    (root / "version").write_text("3.12.1\n")
    assert ask() == ("3.12", 5), "what was kept is damaged"
    hostpython._version.cache_clear()
