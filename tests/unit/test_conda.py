"""Conda environments: what of them enters a key and the lock, and making them.

Packages come from a channel that the tests write; rattler resolves and installs them, through the same calls
that micromamba, mamba and conda get.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlflowc.errors import Failure
from mlflowc.ir.model import Env, Place
from mlflowc.runtime import environments
from mlflowc.runtime.conda import environment, files, tool
from mlflowc.runtime.conda.model import Package, in_order, this_platform
from mlflowc.runtime.lockfile import LockFile
from tests.support import conda
from tests.support.wheels import wheel

PLACE = Place("pipeline.mlpipe", 1, 1)
NOTHING = LockFile()
HERE = this_platform()
FILE = """\
name: demo
channels: [./channel]
dependencies:
  - alpha
"""


def env(**fields: object) -> Env:
    given = {"conda": "environment.yml", **fields}
    return Env("py", PLACE, **given)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("MLPIPEC_CACHE_DIR", str(folder))
    monkeypatch.setenv("RATTLER_CACHE_DIR", str(folder / "rattler"))
    monkeypatch.setenv("MLPIPEC_CONDA", "rattler")
    for name in ("UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_INDEX", "UV_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    environment._resolved.clear()
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose file names `alpha`, which needs `beta`."""
    root = tmp_path / "project"
    channel = root / "channel"
    program = "#!/bin/sh\necho alpha in /PREFIX\n"
    conda.package(channel, "alpha", needs=("beta >=1",), files={"bin/alpha": program})
    conda.package(channel, "beta", files={"share/beta": "1"})
    (root / "environment.yml").write_text(FILE)
    return root


def key(root: Path, lock: LockFile = NOTHING, e: Env | None = None) -> dict[str, str]:
    environment._resolved.clear()
    return environments.key_parts(root, e or env(), lock)


def says(root: Path, lock: LockFile, *command: str, e: Env | None = None) -> str:
    variables = environments.prepare(root, e or env(), lock, lambda line: None)
    done = subprocess.run(
        command, env={**os.environ, **variables}, capture_output=True, text=True, check=True, cwd=root
    )
    return done.stdout.strip()


# --- resolution and keys


def test_a_resolution_is_kept_a_line_a_package(project: Path) -> None:
    lock = environments.pinned(project, [env()], NOTHING)
    entry = lock.get("package", f"py.{HERE}.alpha")
    assert entry is not None
    assert entry["url"] == "file://${PROJECT}/channel/noarch/alpha-1.0-0.tar.bz2"
    assert len(entry["sha256"]) == 64
    assert entry["needs"] == ["beta"]
    assert lock.get("package", f"py.{HERE}.beta") is not None
    assert LockFile.parse(lock.render()) == lock


def test_a_kept_resolution_needs_no_tool(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = environments.pinned(project, [env()], NOTHING)
    before = key(project, lock)
    monkeypatch.setattr(tool, "command", lambda: pytest.fail("the tool was called"))
    assert key(project, lock) == before
    assert environments.pinned(project, [env()], lock) is lock
    assert environments.is_current(project, env(), lock)


def test_newer_releases_change_nothing_until_asked_for(project: Path) -> None:
    lock = environments.pinned(project, [env()], NOTHING)
    before = key(project, lock)
    conda.package(project / "channel", "beta", "2.0")
    assert key(project, lock) == before
    (project / "environment.yml").write_text(FILE + "  - beta >=2\n")
    assert not environments.is_current(project, env(), lock)
    assert key(project, lock) != before
    environment._resolved.clear()
    newer = environments.pinned(project, [env()], lock)
    assert "beta-2.0" in newer.entries["package", f"py.{HERE}.beta"]["url"]


def test_comments_do_not_resolve_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = environments.pinned(project, [env()], NOTHING)
    monkeypatch.setattr(tool, "command", lambda: pytest.fail("the tool was called"))
    (project / "environment.yml").write_text("# why\n" + FILE)
    assert environments.is_current(project, env(), lock)
    key(project, lock)


def test_the_key_is_the_same_elsewhere(project: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    project.rename(other)
    before = key(other)
    other.rename(project)
    assert key(project) == before


def test_the_key_is_of_what_packages_hold_and_not_of_where_they_are(project: Path) -> None:
    lock = environments.pinned(project, [env()], NOTHING)
    moved = {
        k: {**e, "url": e["url"].replace("file://${PROJECT}/channel", "https://mirror.example")}
        for k, e in lock.entries.items()
        if k[0] == "package"
    }
    assert key(project, LockFile({**lock.entries, **moved})) == key(project, lock)
    name = ("package", f"py.{HERE}.beta")
    other = {name: {**lock.entries[name], "sha256": "0" * 64}}
    assert key(project, LockFile({**lock.entries, **other})) != key(project, lock)


def test_a_file_that_names_platforms_has_one_key_on_all(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "environment.yml").write_text(FILE + "platforms: [linux-64, osx-arm64, linux-aarch64]\n")
    lock = environments.pinned(project, [env()], NOTHING)
    assert lock.entries["env", "py"]["platforms"] == ["linux-64", "linux-aarch64", "osx-arm64"]
    assert lock.get("package", "py.osx-arm64.alpha") is not None
    before = key(project, lock)
    for other in ("osx-arm64", "linux-aarch64"):
        monkeypatch.setattr(environment, "this_platform", lambda other=other: other)
        assert key(project, lock) == before
        assert environments.is_current(project, env(), lock)


def test_another_platform_is_added_and_the_first_stays(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = environments.pinned(project, [env()], NOTHING)
    other = "osx-arm64" if HERE != "osx-arm64" else "linux-64"
    monkeypatch.setattr(environment, "this_platform", lambda: other)
    conda.package(project / "channel", "beta", "2.0")
    assert not environments.is_current(project, env(), lock)
    environment._resolved.clear()
    both = environments.pinned(project, [env()], lock)
    assert both.entries["env", "py"]["platforms"] == sorted([HERE, other])
    assert both.entries["package", f"py.{HERE}.beta"] == lock.entries["package", f"py.{HERE}.beta"]
    assert "beta-2.0" in both.entries["package", f"py.{other}.beta"]["url"]


def test_a_platform_that_the_file_does_not_name(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "environment.yml").write_text(FILE + "platforms: [osx-arm64]\n")
    monkeypatch.setattr(environment, "this_platform", lambda: "linux-64")
    with pytest.raises(Failure, match="is for osx-arm64, and this machine is linux-64"):
        environments.prepare(project, env(), NOTHING, lambda line: None)


def test_python_of_the_environment_is_asked_for(project: Path) -> None:
    conda.python(project / "channel", HERE)
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    lock = environments.pinned(project, [env(python=version)], NOTHING)
    assert lock.get("package", f"py.{HERE}.python") is not None
    parts = key(project, lock, env(python=version))
    assert list(parts) == ["conda"]


# --- making


def test_an_environment_is_made_once_and_has_what_was_resolved(project: Path, own_cache: Path) -> None:
    lock = environments.pinned(project, [env()], NOTHING)
    conda.package(project / "channel", "beta", "2.0")
    said: list[str] = []
    variables = environments.prepare(project, env(), lock, said.append)
    prefix = Path(variables["CONDA_PREFIX"])
    assert prefix.parent == own_cache / "envs"
    assert (prefix / "share" / "beta").read_text() == "1"
    # What is in it knows where it is: it was not made elsewhere and moved.
    assert says(project, lock, "alpha") == f"alpha in {prefix}"
    assert "conda, 2 packages" in said[0]
    said.clear()
    assert environments.prepare(project, env(), lock, said.append) == variables
    assert said == []


def test_two_environments_of_the_same_packages_are_one_folder(project: Path) -> None:
    lock = environments.pinned(project, [env()], NOTHING)
    other = dataclasses.replace(env(), name="other")
    (project / "environment.yml").write_text(FILE.replace("alpha", "alpha  =1.0"))
    first = environments.prepare(project, env(), lock, lambda line: None)
    assert environments.prepare(project, other, NOTHING, lambda line: None) == first


def test_a_package_that_is_not_what_it_was_is_refused(project: Path, own_cache: Path) -> None:
    lock = environments.pinned(project, [env()], NOTHING)
    conda.package(project / "channel", "beta", files={"share/beta": "other"})
    with pytest.raises(Failure, match="cannot make environment `py`"):
        environments.prepare(project, env(), lock, lambda line: None)
    assert [p for p in (own_cache / "envs").iterdir() if p.is_dir()] == []


def test_a_build_that_was_killed_is_made_again(project: Path) -> None:
    lock = environments.pinned(project, [env()], NOTHING)
    prefix = Path(environments.prepare(project, env(), lock, lambda line: None)["CONDA_PREFIX"])
    (prefix / ".mlpipec-complete").unlink()
    (prefix / "share" / "beta").unlink()
    environments.prepare(project, env(), lock, lambda line: None)
    assert (prefix / "share" / "beta").read_text() == "1"


def test_scripts_of_activation_set_variables(project: Path) -> None:
    conda.package(
        project / "channel",
        "gamma",
        files={"etc/conda/activate.d/gamma.sh": 'export GAMMA_DATA="$CONDA_PREFIX/share"; echo noise\n'},
    )
    (project / "environment.yml").write_text(FILE + "  - gamma\n")
    variables = environments.prepare(project, env(), NOTHING, lambda line: None)
    assert variables["GAMMA_DATA"] == variables["CONDA_PREFIX"] + "/share"
    assert set(variables) == {"PATH", "CONDA_PREFIX", "GAMMA_DATA"}


def test_pip_lists_are_for_uv(project: Path) -> None:
    conda.python(project / "channel", HERE)
    conda.package(
        project / "channel",
        "delta",
        needs=("python",),
        files={"site-packages/delta.py": "D = 4"},
        python=True,
    )
    wheel(project / "wheels", "omega", "1.0", needs=("psi",))
    wheel(project / "wheels", "psi", "1.0")
    pip = "  - delta\n  - pip:\n    - --no-index\n    - --find-links wheels\n    - omega\n"
    (project / "environment.yml").write_text(FILE + pip)
    lock = environments.pinned(project, [env()], NOTHING)
    assert lock.get("package", "py.pip.omega") == {"pins": ["==1.0"]}
    assert lock.get("package", "py.pip.psi") == {"pins": ["==1.0"]}
    before = key(project, lock)
    program = "import delta, importlib.metadata as m; print(delta.D, m.version('omega'), m.version('psi'))"
    assert says(project, lock, "python", "-c", program) == "4 1.0 1.0"
    wheel(project / "wheels", "psi", "2.0")
    assert key(project, lock) == before
    assert environments.is_current(project, env(), lock)
    assert key(project, NOTHING) != before


def test_pip_without_python(project: Path) -> None:
    (project / "environment.yml").write_text(FILE + "  - pip: [omega]\n")
    with pytest.raises(Failure, match="lists packages of `pip`, and has no Python"):
        key(project)


# --- files that are resolutions


def test_an_explicit_file(project: Path) -> None:
    channel = project / "channel"
    lines = [f"{(channel / 'noarch' / n).as_uri()}" for n in ("alpha-1.0-0.tar.bz2", "beta-1.0-0.tar.bz2")]
    md5 = json.loads((channel / "noarch" / "repodata.json").read_text())["packages"]["alpha-1.0-0.tar.bz2"][
        "md5"
    ]
    text = f"# platform: {HERE}\n@EXPLICIT\n{lines[0]}#{md5}\n{lines[1]}\n"
    (project / "explicit.txt").write_text(text)
    e = env(conda="explicit.txt")
    assert environments.pinned(project, [e], NOTHING) is NOTHING
    assert environments.is_current(project, e, NOTHING)
    before = key(project, e=e)
    assert says(project, NOTHING, "alpha", e=e).startswith("alpha in")
    (project / "explicit.txt").write_text(text.replace(md5, "0" * 32))
    assert key(project, e=e) != before
    with pytest.raises(Failure, match="cannot make environment"):
        environments.prepare(project, e, NOTHING, lambda line: None)


def test_a_lock_of_conda_lock(project: Path) -> None:
    channel = project / "channel"
    told = json.loads((channel / "noarch" / "repodata.json").read_text())["packages"]
    packages = []
    for platform in ("linux-64", "linux-aarch64", "osx-64", "osx-arm64"):
        for name in ("alpha", "beta"):
            archive = f"{name}-1.0-0.tar.bz2"
            packages.append(
                {
                    "name": name,
                    "version": "1.0",
                    "manager": "conda",
                    "platform": platform,
                    "dependencies": {"beta": ">=1"} if name == "alpha" else {},
                    "url": (channel / "noarch" / archive).as_uri(),
                    "hash": {"md5": told[archive]["md5"], "sha256": told[archive]["sha256"]},
                    "category": "main",
                }
            )
    packages.append({**packages[0], "name": "unwanted", "category": "dev"})
    (project / "conda-lock.yml").write_text(json.dumps({"version": 1, "metadata": {}, "package": packages}))
    e = env(conda="conda-lock.yml")
    assert environments.is_current(project, e, NOTHING)
    assert says(project, NOTHING, "alpha", e=e).startswith("alpha in")
    asked = files.read(project, "conda-lock.yml")
    assert asked.given is not None
    assert [p.name for p in asked.given["linux-64"]] == ["alpha", "beta"]


# --- what goes wrong


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "is not a mapping"),
        ("dependencies: [a]\n", "names no `channels`"),
        ("channels: [c]\ndependencies: [{conda: [a]}]\n", "is not a dependency"),
        ("channels: c\n", "`channels` is not a list of names"),
        ("channels: [c]\nplatforms: [amiga]\n", "`amiga` is not a platform"),
        ("channels: [c]\nvariables: {A: b}\n", "would not be part of a key"),
        ("channels: [c]\ndependecies: [a]\n", "`dependecies` is not known"),
        ("channels: [c]\ndependencies: [pip: ['--user']]\n", "is not understood"),
        ("a: [\n", "cannot read the conda file"),
        ("@EXPLICIT\nnumpy\n", "is not the address of a package"),
        ("@EXPLICIT\nhttps://x/noarch/a-1-0.conda#zz\n", "is not a hash"),
        ("@EXPLICIT\nhttps://x/linux-64/a-1-0.conda\nhttps://x/osx-64/a-1-0.conda\n", "at once"),
        ("package: [{name: a}]\n", "not a lock of conda-lock"),
    ],
)
def test_a_file_that_is_wrong(project: Path, text: str, message: str) -> None:
    (project / "environment.yml").write_text(text)
    with pytest.raises(Failure, match=message):
        key(project)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"`environment\.yml` does not exist"):
        key(tmp_path)


def test_unsatisfiable_shows_what_the_tool_says(project: Path) -> None:
    (project / "environment.yml").write_text(FILE + "  - beta >=7\n")
    with pytest.raises(Failure, match=r"cannot resolve environment `py` for .*: rattler says(?s:.*)beta"):
        key(project)


def test_no_tool(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLPIPEC_CONDA")
    for name in ("MAMBA_EXE", "CONDA_EXE", "CONDA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tool, "find_spec", lambda name: None)
    with pytest.raises(Failure, match="micromamba, mamba or conda is needed") as e:
        key(project)
    assert "install micromamba" in e.value.help


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_which_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLPIPEC_CONDA")
    for name in ("MAMBA_EXE", "CONDA_EXE", "CONDA"):
        monkeypatch.delenv(name, raising=False)
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    assert tool.command()[-1] == "mlflowc.runtime.conda.rattler"
    # As GitHub's machines say where theirs is.
    monkeypatch.setenv("CONDA", str(tmp_path / "miniconda"))
    there = script(tmp_path / "miniconda" / "bin" / "conda", "exit 0")
    assert tool.command() == [str(there)]
    for name in ("conda", "mamba", "micromamba"):
        found = script(programs / name, "exit 0")
        assert tool.command() == [str(found)]
    monkeypatch.setenv("MLPIPEC_CONDA", "mamba")
    assert tool.command() == [str(programs / "mamba")]
    monkeypatch.setenv("MLPIPEC_CONDA", "absent")
    with pytest.raises(Failure, match="names `absent`, which is not there"):
        tool.command()


def test_what_conda_is_asked_and_answers(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """conda tells addresses in `FETCH` alone, and puts a token into them."""
    answer = {
        "actions": {
            "FETCH": [
                {
                    "name": "alpha",
                    "url": "https://user:pass@host/t/tk-1-2/main/noarch/alpha-1-0.conda",
                    "md5": "a" * 32,
                    "sha256": "b" * 64,
                    "depends": ["beta >=1", "__glibc >=2"],
                }
            ],
            "LINK": [{"name": "alpha", "base_url": "https://host/main", "dist_name": "alpha-1-0"}],
        }
    }
    (tmp_path / "answer").write_text(json.dumps(answer))
    program = (
        f'echo "$@" >> {tmp_path}/asked; echo "$CONDA_SUBDIR" >> {tmp_path}/asked; cat {tmp_path}/answer'
    )
    monkeypatch.setenv("MLPIPEC_CONDA", str(script(tmp_path / "conda", program)))
    found = tool.solve("py", ["alpha >=1"], ["conda-forge"], "osx-arm64")
    url = "https://host/main/noarch/alpha-1-0.conda"
    assert found == {"alpha": Package("alpha", url, "a" * 32, "b" * 64, ("beta",))}
    words, platform = (tmp_path / "asked").read_text().splitlines()
    assert words.startswith("create --yes --prefix ")
    assert words.endswith("--dry-run --json --override-channels --channel conda-forge alpha >=1")
    assert platform == "osx-arm64"


@pytest.mark.parametrize("answer", ["", "[]", '{"actions": 3}', '{"actions": {"LINK": [{"name": "a"}]}}'])
def test_an_answer_that_is_not_understood(
    answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLPIPEC_CONDA", str(script(tmp_path / "conda", f"echo '{answer}'")))
    with pytest.raises(Failure, match=r"not understood|does not say where `a` is"):
        tool.solve("py", ["a"], [], HERE)


def test_packages_come_after_what_they_need() -> None:
    chain = [Package("a", "a", needs=("b",)), Package("b", "b", needs=("c", "absent")), Package("c", "c")]
    assert [p.name for p in in_order(chain)] == ["c", "b", "a"]
    circle = [Package("b", "b", needs=("a",)), Package("a", "a", needs=("b",))]
    assert [p.name for p in in_order(circle)] == ["a", "b"]
