"""Images: what of them enters a key and the lock, which program is asked, what it is asked.

A script stands for podman or docker; the real ones are in the end-to-end tests.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mlflowc.errors import Failure
from mlflowc.ir.model import Env, Gpu, Place, Runner, Stage
from mlflowc.runtime import childenv, environments
from mlflowc.runtime.containers import environment, tool
from mlflowc.runtime.lockfile import LockFile
from mlflowc.runtime.ports import Command, Container

PLACE = Place("pipeline.mlpipe", 1, 1)
DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
NOTHING = LockFile()


def env(image: str = f"python@{DIGEST}", **fields: object) -> Env:
    return Env("box", PLACE, image=image, **fields)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    environment._resolved.clear()
    tool._is_podman.cache_clear()
    tool.is_rootless.cache_clear()
    for name in ("MLPIPE_IMAGE", "MLPIPEC_CONTAINER"):
        monkeypatch.delenv(name, raising=False)


class Fake:
    """A program that says what it is asked, and knows some images."""

    def __init__(self, folder: Path, name: str = "podman") -> None:
        self.folder = folder
        self.path = folder / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "images").mkdir(exist_ok=True)
        self.path.write_text(
            f"""#!/bin/sh
echo "$@" >> {folder}/asked
case "$1 $2" in
  "--version "*) echo "{name} version 5" ;;
  "image inspect") cat "{folder}/images/$(echo "$3" | tr / _)" 2> {folder}/no ||
            {{ echo "no such image: $3" >&2; exit 1; }} ;;
  "pull "*) [ -e {folder}/online ] || {{ echo "registry out of reach" >&2; exit 125; }}
            cp {folder}/online "{folder}/images/$(echo "$3" | tr / _)" ;;
  "info "*) cat {folder}/security ;;
esac
"""
        )
        self.path.chmod(0o755)
        (folder / "security").write_text('["name=seccomp"]')

    def has(self, name: str, **told: object) -> None:
        (self.folder / "images" / name.replace("/", "_")).write_text(json.dumps([told]))

    def online(self, **told: object) -> None:
        (self.folder / "online").write_text(json.dumps([told]))

    @property
    def asked(self) -> str:
        return (self.folder / "asked").read_text() if (self.folder / "asked").exists() else ""


@pytest.fixture
def podman(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    found = Fake(tmp_path / "programs")
    monkeypatch.setenv("PATH", f"{found.folder}:/usr/bin:/bin")
    return found


# --- keys and the lock


def test_the_key_is_the_digest_and_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "find", lambda: pytest.fail("a program was called"))
    by_digest = environments.key_parts(tmp_path, env(), NOTHING)
    assert by_digest == {"image": DIGEST}
    assert environments.key_parts(tmp_path, env(f"python:3.11@{DIGEST}"), NOTHING) == by_digest
    assert environments.key_parts(tmp_path, env(f"python@{OTHER}"), NOTHING) != by_digest
    assert environments.pinned(tmp_path, [env()], NOTHING) is NOTHING
    assert environments.is_current(tmp_path, env(), NOTHING)


def test_a_tag_is_looked_up_once(tmp_path: Path, podman: Fake) -> None:
    podman.online(RepoDigests=[f"docker.io/library/python@{DIGEST}"], Digest=DIGEST, Id="c" * 64)
    e = env("python:3.11")
    assert not environments.is_current(tmp_path, e, NOTHING)
    lock = environments.pinned(tmp_path, [e], NOTHING)
    assert lock.get("env", "box") == {"image": "python:3.11", "digest": DIGEST}
    assert environments.key_parts(tmp_path, e, lock) == {"image": DIGEST}
    environment._resolved.clear()
    asked = podman.asked
    podman.has("python:3.11", RepoDigests=[f"docker.io/library/python@{OTHER}"])
    assert environments.key_parts(tmp_path, e, lock) == {"image": DIGEST}
    assert environments.is_current(tmp_path, e, lock)
    assert podman.asked == asked
    # Another tag is another question.
    assert not environments.is_current(tmp_path, env("python:3.12"), lock)
    assert environments.key_parts(tmp_path, e, NOTHING) == {"image": OTHER}


def test_the_digest_of_all_platforms_goes_before_that_of_one(podman: Fake) -> None:
    podman.has("python:3.11", RepoDigests=[f"python@{DIGEST}", f"python@{OTHER}"], Digest=DIGEST)
    assert tool.resolve("python:3.11") == OTHER


def test_an_image_of_no_registry_is_known_by_its_own_number(podman: Fake) -> None:
    podman.has("mine:latest", RepoDigests=[], Id=DIGEST)
    assert tool.resolve("mine:latest") == DIGEST
    podman.has(DIGEST, Id=DIGEST)
    assert tool.here("mine:latest", DIGEST) == DIGEST


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("python", "python"),
        ("python:3.11", "python"),
        ("localhost:5000/a/b", "localhost:5000/a/b"),
        ("localhost:5000/a/b:1", "localhost:5000/a/b"),
        (f"host/a:1@{OTHER}", "host/a"),
    ],
)
def test_by_digest(reference: str, name: str) -> None:
    assert tool.exact(reference, DIGEST) == f"{name}@{DIGEST}"


# --- what runs


def test_prepare_fetches_what_is_not_here(tmp_path: Path, podman: Fake) -> None:
    said: list[str] = []
    podman.online(Id=DIGEST)
    variables = environments.prepare(tmp_path, env(), NOTHING, said.append)
    assert said == [f"fetching image `python@{DIGEST}`"]
    assert f"pull --quiet python@{DIGEST}" in podman.asked
    assert variables["HOME"] == "/tmp"
    environments.prepare(tmp_path, env(), NOTHING, said.append)
    assert len(said) == 1


def test_fetching_that_fails(tmp_path: Path, podman: Fake) -> None:
    with pytest.raises(
        Failure, match=r"cannot fetch the image `python@sha256:a+`: podman says\n  registry out"
    ):
        environments.prepare(tmp_path, env(), NOTHING, print)


def test_what_the_container_sees(tmp_path: Path, podman: Fake) -> None:
    podman.has(f"python@{DIGEST}", Id=DIGEST)
    found = environments.container(
        env(), NOTHING, None, [tmp_path, tmp_path / "inside", Path("/usr/share"), tmp_path]
    )
    assert found is not None
    assert found.image == f"python@{DIGEST}"
    assert sorted(found.mounts) == sorted([str(tmp_path.resolve()), "/usr/share"])
    assert "host" in found.options
    assert "--device" not in found.options


def test_gpus_are_given_where_the_runner_has_them(
    tmp_path: Path, podman: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    podman.has(f"python@{DIGEST}", Id=DIGEST)
    runner = Runner("gpu", PLACE, gpu=Gpu())
    monkeypatch.setattr(environment, "gpus", lambda asked: ("0",))
    found = environments.container(env(), NOTHING, runner, [tmp_path])
    assert found is not None
    assert "nvidia.com/gpu=all" in found.options
    docker = Fake(tmp_path / "docker", "docker")
    docker.has(f"python@{DIGEST}", Id=DIGEST)
    monkeypatch.setenv("MLPIPEC_CONTAINER", str(docker.path))
    found = environments.container(env(), NOTHING, runner, [tmp_path])
    assert found is not None
    assert found.options[-2:] == ("--gpus", "all")
    monkeypatch.setattr(environment, "gpus", lambda asked: ())
    found = environments.container(env(), NOTHING, runner, [tmp_path])
    assert found is not None
    assert "--gpus" not in found.options


@pytest.mark.parametrize(
    ("name", "uid", "security", "expected"),
    [
        ("podman", 0, "[]", ["--user", "0:7"]),
        ("podman", 5, "[]", ["--userns", "keep-id", "--user", "5:7"]),
        ("docker", 5, '["name=seccomp"]', ["--user", "5:7"]),
        ("docker", 5, '["name=rootless"]', ["--user", "0:0"]),
    ],
)
def test_outputs_belong_to_who_runs_it(
    name: str, uid: int, security: str, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = Fake(tmp_path / "programs", name)
    (fake.folder / "security").write_text(security)
    fake.has(f"python@{DIGEST}", Id=DIGEST)
    monkeypatch.setenv("MLPIPEC_CONTAINER", str(fake.path))
    monkeypatch.setattr(os, "getuid", lambda: uid)
    monkeypatch.setattr(os, "getgid", lambda: 7)
    found = environments.container(env(), NOTHING, None, [tmp_path])
    assert found is not None
    assert list(found.options[-len(expected) :]) == expected


def test_a_folder_with_a_colon_is_refused(tmp_path: Path, podman: Fake) -> None:
    podman.has(f"python@{DIGEST}", Id=DIGEST)
    with pytest.raises(Failure, match="cannot be seen from a container"):
        environments.container(env(), NOTHING, None, [tmp_path / "a:b"])


def test_variables_of_the_host_stay_out(monkeypatch: pytest.MonkeyPatch) -> None:
    host = {
        "PATH": "/host",
        "HOME": "/home/me",
        "HTTPS_PROXY": "proxy",
        "USER": "me",
        "LD_LIBRARY_PATH": "/x",
    }
    stage = Stage("a", "a", PLACE)
    e = env(vars=(("A", "1"),))
    found = childenv.variables(stage, e, {"HOME": "/tmp"}, host)
    assert {n: found.get(n) for n in (*host, "A")} == {
        "PATH": None,
        "HOME": "/tmp",
        "HTTPS_PROXY": "proxy",
        "USER": None,
        "LD_LIBRARY_PATH": None,
        "A": "1",
    }


def test_inside_the_image_no_container_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "find", lambda: pytest.fail("a program was called"))
    monkeypatch.setenv("MLPIPE_IMAGE", DIGEST)
    assert environments.prepare(tmp_path, env(), NOTHING, print) == {}
    assert environments.container(env(), NOTHING, None, [tmp_path]) is None
    found = childenv.variables(Stage("a", "a", PLACE), env(), {}, {"PATH": "/here"})
    assert found["PATH"] == "/here"
    monkeypatch.undo()
    monkeypatch.setenv("MLPIPE_IMAGE", OTHER)
    monkeypatch.setattr(tool, "find", lambda: tool.Tool("/bin/podman", podman=True))
    monkeypatch.setattr(tool, "here", lambda reference, digest: reference)
    assert environments.container(env(), NOTHING, None, [tmp_path]) is not None


def test_what_is_started_names_values_nowhere(tmp_path: Path) -> None:
    from mlflowc.runtime.containers import running

    container = Container("/bin/podman", True, f"python@{DIGEST}", ("/p",), ("--network", "host"))
    command = Command(
        "echo 'hi there'", Path("/p/work"), {"TOKEN": "s3cret", "PATH": "/x"}, container=container
    )
    words = running._words(command, container, "mlpipe-1")
    assert words[:4] == ["/bin/podman", "run", "--rm", "--name"]
    assert not any("s3cret" in w for w in words)
    assert words[words.index("--env") + 1] == "_MLPIPE_TOKEN"
    assert words[words.index("--volume") + 1] == "/p:/p"
    assert words[-1] == "echo 'hi there'"


# --- which program


def test_which_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "programs"
    monkeypatch.setenv("PATH", f"{folder}")
    with pytest.raises(Failure, match="podman or docker is needed") as e:
        tool.find()
    assert "apt-get install podman" in e.value.help
    docker = Fake(folder, "docker")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(tool, "_NAMES", ("docker",))
    assert tool.find() == (str(docker.path), False)
    monkeypatch.setattr(tool, "_NAMES", ("podman", "docker"))
    podman = Fake(folder, "podman")
    assert tool.find() == (str(podman.path), True)
    monkeypatch.setenv("MLPIPEC_CONTAINER", "docker")
    assert tool.find().name == "docker"
    monkeypatch.setenv("MLPIPEC_CONTAINER", "absent")
    with pytest.raises(Failure, match="names `absent`, which is not there"):
        tool.find()


def test_a_program_that_does_not_work(tmp_path: Path, podman: Fake) -> None:
    podman.path.write_text("#!/bin/sh\necho 'cannot connect to the machine' >&2\nexit 125\n")
    with pytest.raises(Failure, match="podman cannot look at images:\n  cannot connect") as e:
        environments.prepare(tmp_path, env(), NOTHING, print)
    assert "MLPIPEC_CONTAINER" in e.value.help
