"""Ways in which caches went wrong: none may give a wrong result, lose one, or end in a traceback."""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlflowc import project
from mlflowc.errors import Failure
from mlflowc.runtime.events import Outcome, RunResult
from mlflowc.runtime.execute import run
from mlflowc.runtime.hashing import hash_file
from mlflowc.runtime.lockfile import LockFile
from mlflowc.runtime.logs import Log
from mlflowc.runtime.plan import Action, make_plan
from tests.runtime.lab import DIR, Lab, stage
from tests.support.project import MLPIPEC

# --- several at once


def _readers(lab: Lab, count: int) -> None:
    fill = "mkdir {o:d}; for i in $(seq 300); do echo $i > {o:d}/$i; done"
    lab.stages = [stage("make", fill, writes={"d": "out/d"}, types={"d": DIR})]
    for n in range(count):
        read = stage(f"read{n}", "ls {i:d} | wc -l > {o:o}", reads={"d": "make.d"}, writes={"o": f"n{n}"})
        lab.stages.append(read)


def _alone(lab: Lab, name: str, results: list[RunResult]) -> None:
    """As the job of one stage does: what is before it is only brought back."""
    ws = Lab(lab.root, lab.stages).open()
    try:
        results.append(run(ws, make_plan(ws, [name], exact={name})))
    finally:
        ws.close()


def test_many_that_need_the_same_missing_input_put_it_there_once(lab: Lab) -> None:
    _readers(lab, 5)
    lab.run("make")
    for path in sorted((lab.root / "out/d").iterdir()):
        path.unlink()
    results: list[RunResult] = []
    names = [f"read{n}" for n in range(5)]
    threads = [threading.Thread(target=_alone, args=(lab, name, results)) for name in names]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert [r.ok for r in results] == [True] * 5
    assert [lab.read(f"n{n}") for n in range(5)] == ["300\n"] * 5


# --- inputs that do not keep still


def test_an_input_edited_and_put_back_while_the_stage_runs(lab: Lab) -> None:
    """As a `git checkout` of another branch and back does."""
    lab.write("in.txt", "one")
    command = "echo two > in.txt; cat {i:i} > {o:o}; printf one > in.txt"
    lab.stages = [stage("s", command, reads={"i": "./in.txt"}, writes={"o": "o"})]
    assert "`in.txt` changed while the stage ran" in lab.fails("s").message
    assert not list((lab.root / ".mlpipe/cache").glob("records/??/*"))


def test_a_file_in_a_folder_edited_and_put_back_while_the_stage_runs(lab: Lab) -> None:
    lab.write("in/x", "one")
    command = "echo two > in/x; cat {i:i}/x > {o:o}; printf one > in/x"
    lab.stages = [stage("s", command, reads={"i": "./in"}, writes={"o": "o"})]
    assert "`in` changed while the stage ran" in lab.fails("s").message


def test_a_link_made_to_an_input_is_no_change_of_it(lab: Lab) -> None:
    lab.write("in/x", "one")
    command = "ln in/x other; cat {i:i}/x > {o:o}"
    lab.stages = [stage("s", command, reads={"i": "./in"}, writes={"o": "o"})]
    assert lab.run().ok
    lab.stages = [replace(lab.stages[0], commands=(("ln in/x another; cat in/x > o",),))]
    assert lab.run().ok


# --- signals


def test_a_hang_up_that_is_ignored_stays_ignored(lab: Lab) -> None:
    """`nohup mlpipec run` goes on when its terminal is closed."""
    wait = "touch started; until [ -e go ]; do sleep 0.02; done; echo > {{o}}"
    lab.write(
        "pipeline.mlpipe", f'mlpipe 1\npipeline x\nstage s {{\n  out o: file = "o"\n  run = "{wait}"\n}}\n'
    )
    code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); from mlflowc.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "run"], cwd=lab.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    while not (lab.root / "started").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGHUP)
    lab.write("go", "")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out


# --- outputs that do not keep still, and odd ones


@pytest.mark.skipif(shutil.which("setsid") is None, reason="no setsid")
def test_a_folder_that_a_daemon_goes_on_writing_into(lab: Lab) -> None:
    """Whatever is kept is what its hash says, and what is restored is what was there."""
    write = "while [ ! -e stop ]; do for n in 1 100 200; do echo $RANDOM > out/$n; done; done"
    command = "mkdir {o:o}; for n in $(seq 200); do echo $n > {o:o}/$n; done; " + (
        f"(setsid bash -c '{write}' >/dev/null 2>&1 & echo $! > daemon); until [ -s daemon ]; do :; done"
    )
    lab.stages = [stage("s", command, writes={"o": "out"}, types={"o": DIR})]
    try:
        result = lab.run().stage("s")
    finally:
        lab.write("stop", "")
        subprocess.run(["pkill", "-P", lab.read("daemon").strip()], check=False)
    assert result is not None
    assert result.outcome is Outcome.RAN or "still being written" in result.message
    for path in (lab.root / ".mlpipe/cache/objects").glob("??/*"):
        assert hash_file(path) == path.parent.name + path.name


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes")
def test_names_come_back_as_they_were(lab: Lab) -> None:
    names = [b"a\xcc\x88", b"\xc3\xa4", b"\xff\xfe", b"-n\nl", b" ", b"'\"$x"]
    for name in names:
        with open(os.fsencode(lab.root) + b"/" + name + b".in", "wb") as file:
            file.write(name)
    command = "mkdir {o:o}; cp -- {i:i} {o:o}"
    lab.stages = [stage("s", command, reads={"i": "glob:*.in"}, writes={"o": "o"}, types={"o": DIR})]
    assert lab.outcomes() == {"s": Outcome.RAN}
    assert lab.outcomes() == {"s": Outcome.KEPT}
    shutil.rmtree(lab.root / "o")
    assert lab.outcomes() == {"s": Outcome.RESTORED}
    folder = os.fsencode(lab.root / "o")
    assert sorted(os.fsencode(p.name) for p in (lab.root / "o").iterdir()) == sorted(
        name + b".in" for name in names
    )
    for name in names:
        with open(folder + b"/" + name + b".in", "rb") as file:
            assert file.read() == name


def test_a_link_out_of_an_output_folder_leads_to_something_else(lab: Lab) -> None:
    """The result is not what it was, and cannot be restored: the stage runs again, as the plan says."""
    lab.write("other.txt", "one")
    lab.stages = [
        stage("s", "mkdir {o:o}; ln -s ../other.txt {o:o}/l", writes={"o": "o"}, types={"o": DIR}),
        stage("t", "cat {i:d}/l > {o:o}", reads={"d": "s.o"}, writes={"o": "t"}),
    ]
    assert lab.run().ok
    assert lab.plan().idle
    lab.write("other.txt", "two")
    assert lab.actions()["s"] is Action.RUN
    assert lab.outcomes() == {"s": Outcome.RAN, "t": Outcome.RAN}
    assert lab.read("t") == "two"
    assert lab.plan().idle
    shutil.rmtree(lab.root / "o")
    assert lab.outcomes() == {"s": Outcome.RESTORED, "t": Outcome.KEPT}


# --- a cache with strange things in it


def test_what_a_killed_process_left_is_not_in_the_way(lab: Lab) -> None:
    """In a container the process has the same number every time."""
    lab.stages = [stage("s", "head -c 100000 /dev/zero > {o:o}", writes={"o": "o"})]
    litter = lab.root / ".mlpipe/cache/tmp"
    litter.mkdir(parents=True)
    for n in range(10):
        (litter / f"{os.getpid()}-{n}").write_text("half")
        (litter / f"{os.getpid()}-{n}").chmod(0o444)
    assert lab.run().ok


@pytest.mark.parametrize("kind", ["records", "trees", "objects"])
def test_a_folder_where_a_file_of_the_cache_belongs(lab: Lab, kind: str) -> None:
    lab.stages = [stage("s", "mkdir {o:o}; echo 1 > {o:o}/x", writes={"o": "o"}, types={"o": DIR})]
    lab.run()
    for path in list((lab.root / ".mlpipe/cache" / kind).glob("??/*")):
        path.unlink()
        path.mkdir()
        (path / "x").write_text("x")
    (lab.root / "mlpipe.lock").unlink()
    shutil.rmtree(lab.root / "o")
    assert lab.run().ok
    assert lab.read("o/x") == "1\n"
    assert lab.plan().idle


def test_what_another_process_is_writing_is_left_alone(chain: Lab) -> None:
    chain.run()
    ws = chain.open()
    record = next((chain.root / ".mlpipe/cache/records").glob("??/*"))
    half = record.with_name(record.name + ".0123456789abcdef.tmp")
    half.write_bytes(b"half")
    assert len(list(ws.store.records())) == 4
    assert half.exists()


@given(st.data())
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_compiled_form_is_not_believed(tmp_path: Path, data: st.DataObject) -> None:
    """One flipped bit could be another command."""
    (tmp_path / "pipeline.mlpipe").write_text(
        'mlpipe 1\npipeline x\nstage s {\n  out o: file = "o"\n  run = "echo > {{o}}"\n}\n'
    )
    file = str(tmp_path / "pipeline.mlpipe")
    good = project.load(file).pipeline
    kept = next((tmp_path / ".mlpipe/compiled").iterdir())
    content = bytearray(kept.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content[at:]
    kept.write_bytes(content)
    assert project.load(file).pipeline == good


_ODD = [None, 5, "x", [], {}, [1], {"a": 1}, {"a": {"b": "c"}}, 1.5, ["x", {}]]


def _odd(value: object) -> Iterator[object]:
    """`value` with one thing in it replaced by something of another type."""
    yield from _ODD
    if isinstance(value, dict):
        for name in value:
            yield from ({**value, name: odd} for odd in _odd(value[name]))
            yield {n: v for n, v in value.items() if n != name}


def test_a_lock_with_values_of_other_types(chain: Lab) -> None:
    """Each is refused by a message with its line, or does no harm."""
    chain.run()
    lines = chain.read("mlpipe.lock").splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("stage clean "))
    entry = {**json.loads(lines[at].split(" ", 2)[2]), "metrics": {"m": {"x": 1}}}
    refused = 0
    for odd in _odd(entry):
        chain.write(
            "mlpipe.lock", "\n".join([*lines[:at], f"stage clean {json.dumps(odd)}", *lines[at + 1 :]])
        )
        try:
            lock = LockFile.read(chain.root)
        except Failure as e:
            assert f"line {at + 1}" in e.message
            refused += 1
            continue
        assert LockFile.parse(lock.render()) == lock
        chain.plan()
    assert refused > 50


# --- secrets


@given(st.lists(st.integers(1, 70_000), max_size=6), st.integers(0, 3))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_secret_is_hidden_however_output_comes_in_pieces(
    tmp_path: Path, cuts: list[int], ends: int
) -> None:
    secret = "hunter2-hunter3"
    text = b"x" * 65_530 + (secret.encode() + b"y" * 40) * 3 + b"\n" * ends + secret.encode()
    shown = bytearray()
    log = Log(tmp_path / "log", shown.extend, [secret])
    places = [0, *sorted(c for c in cuts if c < len(text)), len(text)]
    for a, b in itertools.pairwise(places):
        log(text[a:b])
    kept = log.close()
    assert kept is not None
    for out in (bytes(shown), kept.read_bytes()):
        assert b"hunter" not in out
        assert out.count(b"***") == 4


# --- permissions, and what stands in the way


@pytest.fixture
def ordinary() -> Iterator[None]:
    """Permissions hold in the test's thread, and in those that it starts, also for root."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # the third version of the call, this thread
    before = (ctypes.c_uint32 * 6)()
    assert libc.capget(header, before) == 0, os.strerror(ctypes.get_errno())
    less = (ctypes.c_uint32 * 6)(*before)
    less[0] &= ~(1 << 1 | 1 << 2)  # effective: neither CAP_DAC_OVERRIDE nor CAP_DAC_READ_SEARCH
    assert libc.capset(header, less) == 0, os.strerror(ctypes.get_errno())
    yield
    assert libc.capset(header, before) == 0, os.strerror(ctypes.get_errno())


@pytest.mark.usefixtures("ordinary")
@pytest.mark.parametrize(
    ("command", "where"),
    [
        ("echo > {o:o}/x; chmod 000 {o:o}/x", "out/x"),
        ("mkdir {o:o}/x; chmod 000 {o:o}/x", "out/x"),
        ("echo > {o:o}/x; chmod 000 {o:o}", "out"),
    ],
)
def test_outputs_that_cannot_be_read(lab: Lab, command: str, where: str) -> None:
    lab.stages = [stage("s", "mkdir {o:o}; " + command, writes={"o": "out"}, types={"o": DIR})]
    for _ in range(2):
        assert f"`{where}` cannot be read" in lab.fails("s").message
    lab.stages = [stage("s", "mkdir {o:o}; echo > {o:o}/x", writes={"o": "out"}, types={"o": DIR})]
    assert lab.run().ok


@pytest.mark.usefixtures("ordinary")
def test_an_output_folder_that_may_not_be_written(lab: Lab) -> None:
    command = "mkdir -p {o:o}/deep; echo > {o:o}/deep/x; chmod 555 {o:o}/deep {o:o}"
    lab.stages = [stage("s", command, writes={"o": "out"}, types={"o": DIR})]
    for _ in range(3):
        assert lab.run(force=True).ok
    (lab.root / "out/deep").chmod(0o755)
    (lab.root / "out/deep/y").touch()
    (lab.root / "out/deep").chmod(0o555)
    assert lab.outcomes() == {"s": Outcome.RESTORED}
    assert not list((lab.root / ".mlpipe/aside").iterdir())


def test_a_file_where_an_output_needs_a_folder(lab: Lab) -> None:
    lab.write("first", "mine")
    lab.write("out/x", "precious")
    lab.stages = [stage("s", "echo > {o:a}; echo > {o:b}", writes={"a": "first", "b": "out/x/y/z"})]
    failed = lab.fails("s")
    assert "output `b` (`out/x/y/z`) needs a folder where `out/x` is a file" in failed.message
    assert lab.read("out/x") == "precious"
    assert lab.read("first") == "mine"


# --- streams


@pytest.mark.parametrize("command", ["run", "exec s", "status", "check"])
def test_in_a_folder_that_is_gone(tmp_path: Path, command: str) -> None:
    program = f"mkdir gone; cd gone; rmdir ../gone; {MLPIPEC} {command}"
    done = subprocess.run(["bash", "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1, done
    assert "the folder that this was called in is gone" in done.stderr


@pytest.mark.parametrize(
    ("redirect", "code"),
    [("<&-", 0), (">&-", 0), ("2>&-", 0), (">&- 2>&- <&-", 0), (">/dev/full", 1)],
)
@pytest.mark.parametrize("command", ["run", "run --json", "status", "run --dry"])
def test_streams_that_are_closed_or_full(lab: Lab, command: str, redirect: str, code: int) -> None:
    if not Path("/dev/full").exists() and "full" in redirect:
        pytest.skip("no /dev/full")
    lab.write(
        "pipeline.mlpipe",
        'mlpipe 1\npipeline x\nstage s {\n  out o: file = "o"\n  run = "echo hello; echo > {{o}}"\n}\n',
    )
    program = f"{sys.executable} -m mlflowc"
    done = subprocess.run(
        ["bash", "-c", f"{program} {command} {redirect}"], cwd=lab.root, capture_output=True, text=True
    )
    assert "bug" not in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert done.returncode == code, done.stderr
    assert (lab.root / "o").exists() == (command in ("run", "run --json"))


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes")
def test_a_name_that_is_no_text_is_shown(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    body = 'in i = glob("*.in")\n out o: file = "o"\n run = "cat {{i}} > {{o}}"'
    lab.write("pipeline.mlpipe", f"mlpipe 1\npipeline x\nstage s {{\n {body}\n}}\n")
    lab.write("a.in", "a")
    for arguments in (["run"], ["why", "s"], ["show", "s"], ["run", "--json"]):
        (tmp_path / os.fsdecode(b"\xff.in")).write_text("b")
        done = subprocess.run(
            [sys.executable, "-m", "mlflowc", *arguments], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr


def test_a_file_in_a_folder_edited_between_planning_and_start(lab: Lab) -> None:
    """The folder is not walked again before the command; the walk behind it sees it, and nothing is kept."""
    lab.write("in/x", "one")
    lab.stages = [stage("s", "cat {i:i}/x > {o:o}", reads={"i": "./in"}, writes={"o": "o"})]
    ws = lab.open()
    plan = make_plan(ws)
    lab.write("in/x", "two")
    result = run(ws, plan)
    ws.close()
    assert not result.ok or lab.read("o") == "two"
    if not result.ok:
        assert not list((lab.root / ".mlpipe/cache").glob("records/??/*"))
    assert lab.run().ok
    assert lab.read("o") == "two"
    assert lab.plan().idle


def test_a_folder_that_an_earlier_stage_changed_is_looked_at_again(lab: Lab) -> None:
    lab.write("in/x", "one")
    first = stage("a", "echo 1 > {o:o}; sleep 0.05; printf two > in/x", writes={"o": "a.txt"})
    second = stage("b", "cat {i:i}/x > {o:o}", reads={"i": "./in", "a": "a.o"}, writes={"o": "b.txt"})
    lab.stages = [first, second]
    assert lab.run().ok
    assert lab.read("b.txt") == "two"
