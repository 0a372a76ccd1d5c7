"""Stages in containers: started by podman, and by docker's client against podman's service."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import absent
from tests.e2e.harness import containers
from tests.e2e.harness.tools import Tools
from tests.support import project

pytestmark = pytest.mark.containers


@pytest.fixture(scope="module")
def podman(tools: Tools) -> Iterator[None]:
    """The local image."""
    if reason := containers.missing():
        absent(reason)
    containers.provide(tools, [])
    with containers.using():
        yield


@pytest.fixture
def image(podman: None, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An image of this test alone, by a tag; podman is what `mlpipec` finds."""
    for name in ("CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF", "PATH"):
        monkeypatch.setenv(name, containers.environment()[name])
    monkeypatch.setenv("MLPIPEC_CONTAINER", "podman")
    name = f"localhost/mlp-{os.getpid()}-{abs(hash(request.node.name))}:latest"
    containers.variant(name, "one\n")
    first = containers.output("image", "inspect", "--format", "{{.Id}}", name)
    yield name
    for made in {name, first}:
        subprocess.run(
            ["podman", "image", "rm", "--force", made], env=containers.environment(), capture_output=True
        )


def pipeline(image: str, run: str, more: str = "", stage: str = "") -> str:
    return f"""\
mlpipe 1

pipeline boxed

env box {{
  image = "{image}"
{more}
}}

stage a {{
  env = box
  out x = "out/a.txt"
{stage}
  run = \"\"\"
{run}
  \"\"\"
}}
"""


def make(tmp_path: Path, text: str) -> project.Checkout:
    return project.new(tmp_path / "p", text)


def running() -> set[str]:
    return set(containers.output("ps", "--all", "--format", "{{.Names}}").split())


def until(what: Callable[[], bool]) -> None:
    for _ in range(300):
        if what():
            return
        time.sleep(0.1)
    pytest.fail("it never came to that")


def test_a_stage_runs_in_it(image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDECLARED", "seen")
    monkeypatch.setenv("DECLARED", "two\nlines")
    monkeypatch.setenv("TOKEN", "s3cret")
    run = """\
  cp /version {{x}}
  echo "${UNDECLARED-none} $DECLARED $OTHER $PWD" >> {{x}}
  echo "the secret has ${#TOKEN} characters" >> {{x}}
  echo first; echo second >&2; echo third
"""
    more = '  pass = [DECLARED]\n  vars { OTHER = "it\'s" }'
    stage = '  dir = "work"\n  secrets = [TOKEN]'
    made = make(tmp_path, pipeline(image, run, more, stage))
    made.write({"work/keep": ""})
    done = made.mlpipec("run")
    text = made.read("out/a.txt")
    assert text == f"one\nnone two\nlines it's {made.path}/work\nthe secret has 6 characters\n"
    assert [w for w in done.out.split() if w in ("first", "second", "third")] == ["first", "second", "third"]
    # The image names another user.
    assert (made.path / "out/a.txt").stat().st_uid == os.getuid()
    (made.path / "out/a.txt").unlink()
    assert "1 restored" in made.mlpipec("run").out
    assert "nothing to do" in made.mlpipec("run").out


def test_a_secret_is_on_no_command_line(image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "s3cret-value")
    made = make(
        tmp_path, pipeline(image, "  touch started; sleep 1; touch {{x}}", stage="  secrets = [TOKEN]")
    )
    with subprocess.Popen([project.MLPIPEC, "run"], cwd=made.path, stdout=subprocess.DEVNULL) as run:
        until((made.path / "started").exists)
        lines = [p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if p.exists()]
        assert any(b"_MLPIPE_TOKEN" in line for line in lines)
        assert not any(b"s3cret-value" in line for line in lines)
        assert run.wait(60) == 0


def test_a_tag_that_moves_is_never_stale(image: str, tmp_path: Path) -> None:
    made = make(tmp_path, pipeline(image, "  cat /version > {{x}}; echo WORKING a"))
    assert made.mlpipec("run").worked == ["a"]
    first = made.read("mlpipe.lock")
    containers.variant(image, "two\n")
    # Who has resolved it goes on with what it was.
    assert made.mlpipec("run").worked == []
    assert made.mlpipec("run", "--force").worked == ["a"]
    assert made.read("out/a.txt") == "one\n"
    # Whoever asks anew gets another key: nothing of before is taken for it.
    made.write({"mlpipe.lock": "".join(x for x in first.splitlines(True) if not x.startswith("env "))})
    assert made.mlpipec("run").worked == ["a"]
    assert made.read("out/a.txt") == "two\n"
    assert "environment: image" in made.mlpipec("diff", "@1", "@3", code=None).out


def test_by_digest_nothing_is_written_down(image: str, tmp_path: Path) -> None:
    digest = containers.output("image", "inspect", "--format", "{{.Digest}}", image)
    name = image.removesuffix(":latest") + "@" + digest
    made = make(tmp_path, pipeline(name, "  cat /version > {{x}}"))
    made.mlpipec("run")
    assert made.read("out/a.txt") == "one\n"
    assert "\nenv " not in made.read("mlpipe.lock")
    # The same image by its tag is the same key.
    made.write({"pipeline.mlpipe": pipeline(image, "  cat /version > {{x}}")})
    assert made.mlpipec("run").out.count("ran") == 0


@pytest.mark.parametrize(("code", "tries"), [(3, 1), (75, 4)])
def test_exit_codes_come_through(image: str, tmp_path: Path, code: int, tries: int) -> None:
    made = make(tmp_path, pipeline(image, f"  echo try >> tries.txt; exit {code}"))
    done = made.mlpipec("run", code=1)
    assert f"exit code {code}" in done.out + done.err
    assert made.read("tries.txt").count("try") == tries


def test_a_timeout_ends_the_container(image: str, tmp_path: Path) -> None:
    run = "  trap 'echo asked > asked.txt; exit 1' TERM\n  touch started; while :; do sleep 0.1; done"
    made = make(tmp_path, pipeline(image, run, stage="  timeout = 3s"))
    done = made.mlpipec("run", code=1)
    assert "longer than its timeout" in done.out + done.err
    assert made.read("asked.txt") == "asked\n"
    assert not {n for n in running() if n.startswith("mlpipe-")} & named_by(made)


def test_one_that_does_not_listen_is_ended(image: str, tmp_path: Path) -> None:
    run = "  trap '' TERM\n  touch started; while :; do sleep 0.1; date > beat; done"
    made = make(tmp_path, pipeline(image, run, stage="  timeout = 1s"))
    made.mlpipec("run", code=1)
    assert still(made)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_end_of_the_run_is_the_end_of_the_container(
    image: str, tmp_path: Path, number: signal.Signals
) -> None:
    run = "  while :; do date +%N > beat; sleep 0.05; done"
    made = make(tmp_path, pipeline(image, run))
    before = running()
    with subprocess.Popen(
        [project.MLPIPEC, "run"], cwd=made.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        until((made.path / "beat").exists)
        process.send_signal(number)
        process.wait(60)
    until(lambda: not {n for n in running() - before if n.startswith(f"mlpipe-{process.pid}-")})
    assert still(made)
    # Its locks went with it: another run is not kept waiting.
    made.write({"pipeline.mlpipe": pipeline(image, "  cat /version > {{x}}")})
    made.mlpipec("run")
    assert made.read("out/a.txt") == "one\n"


def still(made: project.Checkout) -> bool:
    """Whether nothing writes any more."""
    last = (made.path / "beat").stat().st_mtime_ns
    time.sleep(0.5)
    return (made.path / "beat").stat().st_mtime_ns == last


def named_by(made: project.Checkout) -> set[str]:
    """Containers that see the project."""
    lines = containers.output("ps", "--all", "--format", "{{.Names}} {{.Mounts}}").splitlines()
    return {line.split()[0] for line in lines if str(made.path) in line}


def test_actions_and_exec(image: str, tmp_path: Path) -> None:
    text = pipeline(image, "  cat /version > {{x}}")
    text += (
        'action say { in a.x, env = box, run = "cat /version {{x}} > said.txt" }\non push { run = [say] }\n'
    )
    made = make(tmp_path, text)
    made.mlpipec("exec", "a", "--on", "push")
    made.mlpipec("exec", "say", "--on", "push")
    assert made.read("said.txt") == "one\none\n"


def test_docker(image: str, tmp_path: Path, docker_host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker's own client; what answers it is podman."""
    if not shutil.which("docker"):
        absent("there is no docker client")
    monkeypatch.setenv("DOCKER_HOST", docker_host)
    monkeypatch.setenv("MLPIPEC_CONTAINER", "docker")
    monkeypatch.setenv("TOKEN", "s3cret")
    run = "  cat /version > {{x}}; echo ${#TOKEN} >> {{x}}; id -u >> {{x}}"
    made = make(tmp_path, pipeline(image, run, stage="  secrets = [TOKEN]"))
    made.mlpipec("run")
    assert made.read("out/a.txt") == f"one\n6\n{os.getuid()}\n"
    run = "  trap '' TERM\n  touch started; while :; do sleep 0.1; date > beat; done"
    made.write({"pipeline.mlpipe": pipeline(image, run, stage="  timeout = 1s")})
    made.mlpipec("run", code=1)
    assert still(made)
    assert named_by(made) == set()


def test_the_sandbox_says_that_it_does_not_reach_in(image: str, tmp_path: Path) -> None:
    made = make(tmp_path, pipeline(image, "  cat /version > {{x}}"))
    done = made.mlpipec("run", "--sandbox", "audit", code=1)
    assert "does not reach into a container" in done.out + done.err


def test_an_image_that_is_not_there(image: str, tmp_path: Path) -> None:
    made = make(tmp_path, pipeline("localhost/mlp-absent@sha256:" + "0" * 64, "  touch {{x}}"))
    done = made.mlpipec("run", code=1)
    assert "cannot fetch the image `localhost/mlp-absent@sha256:0000" in done.out + done.err
