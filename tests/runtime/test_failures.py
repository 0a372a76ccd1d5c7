"""A world that goes wrong: nothing is lost, nothing wrongly kept, and the message says what happened."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from mlflowc.errors import Failure
from mlflowc.ir.model import Keep
from mlflowc.runtime import locks
from mlflowc.runtime.events import Outcome
from mlflowc.runtime.plan import Action
from mlflowc.runtime.ports import LocalFileSystem, SystemClock
from tests.runtime.lab import DIR, Lab, QuickClock, metrics, stage

RAN, KEPT, RESTORED, FAILED, SKIPPED = (
    Outcome.RAN,
    Outcome.KEPT,
    Outcome.RESTORED,
    Outcome.FAILED,
    Outcome.SKIPPED,
)


def test_a_failed_stage_leaves_the_previous_outputs(chain: Lab) -> None:
    chain.run()
    before = chain.read("mlpipe.lock")
    chain.change("clean", lambda s: replace(s, commands=(("echo half > data/best.txt; echo why; exit 3",),)))
    result = chain.run()
    clean = result.stage("clean")
    assert clean is not None
    assert clean.message == "exit code 3"
    assert clean.left == chain.root / ".mlpipe/failed/clean"
    assert chain.read("data/best.txt") == "1\n2\n"
    assert chain.read(".mlpipe/failed/clean/data/best.txt") == "half\n"
    assert "why" in chain.read(".mlpipe/failed/clean/log.txt")
    assert [r.outcome for r in result.stages if r.stage == "score"] == [SKIPPED]
    assert chain.read("mlpipe.lock") == before


def test_what_did_not_depend_on_the_failed_stage_goes_on_if_asked(chain: Lab) -> None:
    chain.change("load", lambda s: replace(s, commands=(("exit 1",),)))
    assert chain.outcomes(keep_going=True) == {
        "load": FAILED,
        "clean": SKIPPED,
        "score": SKIPPED,
        "other": RAN,
    }


def test_after_a_failure_nothing_new_starts(lab: Lab) -> None:
    lab.stages = [
        stage("a", "exit 1", writes={"o": "a"}),
        *(stage(f"b{n}", "echo > {o:o}", writes={"o": f"b{n}"}) for n in range(5)),
    ]
    result = lab.run(jobs=1)
    assert result.count(FAILED) == 1
    assert result.count(SKIPPED) == 5


def test_a_failure_inside_a_pipe_and_an_unset_variable_are_failures(lab: Lab) -> None:
    lab.stages = [stage("pipe", "false | cat > {o:o}", writes={"o": "a"})]
    assert "exit code 1" in lab.fails("pipe").message
    lab.stages = [stage("unset", "echo $NOT_DECLARED > {o:o}", writes={"o": "a"})]
    assert lab.fails("unset").outcome is FAILED
    assert b"unbound variable" in lab.heard.text


def test_an_output_not_written_is_named(lab: Lab) -> None:
    lab.stages = [stage("none", "true", writes={"model": "out/model.bin"})]
    failed = lab.fails("none")
    assert "did not write output `model` (`out/model.bin`)" in failed.message
    lab.stages = [stage("none", "echo > out/model.bin", writes={"model": "out/model.bin"})]
    assert lab.run().ok


def test_an_output_of_the_run_before_is_not_taken_for_this_ones(lab: Lab) -> None:
    lab.stages = [stage("once", "echo 1 > {o:o}", writes={"o": "o"})]
    lab.run()
    lab.stages = [stage("once", "true # other", writes={"o": "o"})]
    assert "did not write" in lab.fails("once").message
    assert lab.read("o") == "1\n"


def test_wrong_kinds_of_output(lab: Lab) -> None:
    lab.stages = [stage("d", "mkdir {o:o}", writes={"o": "o"})]
    assert "is a folder, and `file` was declared" in lab.fails("d").message
    lab.stages = [stage("f", "echo > o", writes={"o": "o/"}, types={"o": DIR})]
    assert "is a file, and `dir` was declared" in lab.fails("f").message
    lab.stages = [stage("l", "ln -s /etc/hosts {o:o}", writes={"o": "o"})]
    assert "is a symbolic link" in lab.fails("l").message
    lab.stages = [stage("p", "mkfifo {o:o}", writes={"o": "o"})]
    assert "neither a file nor a folder" in lab.fails("p").message


def test_a_link_into_the_cache_is_refused(lab: Lab) -> None:
    command = "mkdir {o:o}; mkdir -p .mlpipe/cache; ln -s ../.mlpipe/cache {o:o}/door"
    lab.stages = [stage("evil", command, writes={"o": "o"}, types={"o": DIR})]
    assert "is a link into the cache" in lab.fails("evil").message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("not json", "holds no metrics"),
        ("[1]", "its top level is not a mapping"),
        ('{"acc": NaN}', "says that `acc` is nan"),
        ('{"acc": "high"}', "has no number `acc`"),
        ('{"other": 1, "deep": {"x": 2}}', "has no number `acc` (it has `deep.x`, `other`)"),
    ],
)
def test_bad_metrics(lab: Lab, text: str, expected: str) -> None:
    lab.write("source", text)
    lab.stages = [
        stage(
            "m",
            "cp {i:s} {o:m}",
            reads={"s": "./source"},
            writes={"m": "m.json"},
            types={"m": metrics("acc")},
        )
    ]
    assert expected in lab.fails("m").message


def test_a_field_declared_later_asks_for_a_run(lab: Lab) -> None:
    lab.write("source", '{"acc": 1, "deep": {"loss": 0.5}}')
    make = stage(
        "m", "cp {i:s} {o:m}", reads={"s": "./source"}, writes={"m": "m.json"}, types={"m": metrics("acc")}
    )
    lab.stages = [make]
    lab.run()
    declared = replace(make, outputs=(replace(make.outputs[0], type=metrics("acc", "deep.loss")),))
    lab.stages = [declared]
    assert lab.outcomes() == {"m": KEPT}
    lab.stages = [replace(make, outputs=(replace(make.outputs[0], type=metrics("auc")),))]
    assert "has no number `auc`" in lab.fails("m").message


def test_killed_by_a_signal(lab: Lab) -> None:
    lab.stages = [stage("k", "kill -9 $$", writes={"o": "o"})]
    failed = lab.fails("k")
    assert failed.message == "it was killed by SIGKILL"
    assert "memory" in failed.help


def test_a_timeout_ends_the_whole_group(lab: Lab) -> None:
    lab.stages = [
        stage("slow", "echo begun > {o:o}; (sleep 600 & echo $! > child); sleep 600", writes={"o": "o"})
    ]
    lab.change("slow", lambda s: replace(s, timeout=1))
    assert "longer than its timeout of 1 s" in lab.fails("slow").message
    child = int(lab.read("child"))
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
        status = Path(f"/proc/{child}/stat")
        # Ended, but not yet fetched by its parent: also gone.
        if not status.exists() or status.read_text().split()[2] == "Z":
            raise ProcessLookupError
    assert not (lab.root / "o").exists()


def test_what_runs_on_in_the_background_ends_with_the_stage(lab: Lab) -> None:
    lab.stages = [stage("bg", "sleep 600 & echo $! > child; echo done > {o:o}", writes={"o": "o"})]
    assert lab.run().ok
    status = Path(f"/proc/{int(lab.read('child'))}/stat")
    assert not status.exists() or status.read_text().split()[2] == "Z"


def test_retries_with_growing_pauses(lab: Lab) -> None:
    lab.clock = clock = QuickClock()
    command = "echo x >> tries; [ $(wc -l < tries) -ge 3 ] && echo ok > {o:o}"
    lab.stages = [stage("flaky", command, writes={"o": "o"}, retry=2)]
    assert lab.run().ok
    assert clock.waits == [0.5, 1.0]
    assert "trying again in 0.5 s" in lab.heard.notes[0]
    lab.stages = [stage("flaky", "exit 1", writes={"o": "o"}, retry=1)]
    assert lab.fails("flaky").message == "exit code 1"


def test_preempted_is_tried_again_from_what_was_kept(lab: Lab) -> None:
    lab.clock = QuickClock()
    command = "echo x >> {k:c}/log; [ $(wc -l < {k:c}/log) -ge 3 ] || exit 75; wc -l < {k:c}/log > {o:o}"
    lab.stages = [stage("spot", command, writes={"o": "o"}, keeps=(Keep("c", "ckpt/"),))]
    assert lab.run().ok
    assert lab.read("o").strip() == "3"
    assert "preempted" in lab.heard.notes[0]
    (lab.root / "o").unlink()
    assert lab.outcomes() == {"spot": RESTORED}


def test_an_input_edited_while_the_stage_runs(lab: Lab) -> None:
    lab.write("in.txt", "one")
    lab.stages = [
        stage("s", "cat {i:i} > {o:o}; echo two > in.txt", reads={"i": "./in.txt"}, writes={"o": "o"})
    ]
    failed = lab.fails("s")
    assert "`in.txt` changed while the stage ran" in failed.message
    assert not (lab.root / "o").exists()
    assert not list((lab.root / ".mlpipe/cache").glob("records/??/*"))


def test_writing_into_the_output_of_another_stage(lab: Lab) -> None:
    lab.stages = [
        stage("a", "head -c 100000 /dev/zero > {o:o}", writes={"o": "a.bin"}),
        stage("b", "chmod +w {i:a}; echo x >> {i:a}; echo > {o:o}", reads={"a": "a.o"}, writes={"o": "b"}),
    ]
    assert "`a.bin` changed while the stage ran" in lab.fails("b").message
    # The cache noticed as well, if the file was linked into it: nothing spoilt is ever given out.
    lab.stages = lab.stages[:1]
    assert lab.run().ok
    assert (lab.root / "a.bin").read_bytes() == b"\0" * 100000


def test_undeclared_variables_do_not_reach_the_command(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURPRISE", "1")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    lab.stages = [stage("env", "env | sort > {o:o}", writes={"o": "o"})]
    lab.run()
    names = {line.partition("=")[0] for line in lab.read("o").splitlines()}
    assert "PATH" in names
    assert not names & {"SURPRISE", "PYTHONPATH", "MLPIPEC_CACHE_DIR"}


def test_a_secret_is_needed_hidden_and_not_in_the_key(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.stages = [
        stage("s", 'echo "token is $TOKEN"; echo ok > {o:o}', writes={"o": "o"}, secrets=("TOKEN",))
    ]
    monkeypatch.delenv("TOKEN", raising=False)
    assert "needs the secret `TOKEN`" in lab.fails("s").message
    monkeypatch.setenv("TOKEN", "hunter2")
    assert lab.run().ok
    assert lab.heard.text == b"token is ***\n"
    monkeypatch.setenv("TOKEN", "another")
    assert lab.outcomes() == {"s": KEPT}
    for path in (lab.root / ".mlpipe/cache").rglob("*"):
        assert path.is_dir() or b"hunter2" not in path.read_bytes()


def test_very_much_output_is_shown_whole_and_kept_in_part(lab: Lab) -> None:
    lab.stages = [
        stage("loud", "head -c 40000000 /dev/zero | tr '\\0' x; echo; echo end > {o:o}", writes={"o": "o"})
    ]
    assert lab.run().ok
    assert lab.heard.text.count(b"x") == 40_000_000
    ws = lab.open()
    locked = ws.lock.stage("loud")
    assert locked is not None
    record = ws.store.record(locked.key)
    assert record is not None
    assert record.log is not None
    log = ws.store.object_path(record.log).read_bytes()
    assert len(log) < 6_000_000
    assert b"bytes of output left out here" in log


def test_a_missing_input_is_said_before_anything_runs(lab: Lab) -> None:
    lab.stages = [
        stage("ok", "echo > {o:o}", writes={"o": "o"}),
        stage("s", "cat {i:i} > {o:p}", reads={"i": "./nowhere.txt"}, writes={"p": "p"}),
    ]
    with pytest.raises(Failure, match=r"`s` cannot run: input `i`: `nowhere.txt` does not exist"):
        lab.run()
    assert not (lab.root / "o").exists()


class FullDisk(LocalFileSystem):
    """No space left for whatever has `where` in its path."""

    def __init__(self, where: str, number: int = errno.ENOSPC) -> None:
        super().__init__()
        self.where = where
        self.number = number

    def _check(self, path: Path) -> None:
        if self.where in str(path):
            raise OSError(self.number, os.strerror(self.number), str(path))

    def write(self, path: Path, data: bytes, *, sync: bool = False) -> None:
        """As on a full disk."""
        self._check(path)
        super().write(path, data, sync=sync)

    def copy(self, source: Path, target: Path) -> None:
        """As on a full disk."""
        self._check(target)
        super().copy(source, target)

    def clone(self, source: Path, target: Path) -> bool:
        """As on a full disk."""
        self._check(target)
        return super().clone(source, target)


@pytest.mark.parametrize("where", ["cache/tmp", "cache/records"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_no_space_left_and_read_only_cache(chain: Lab, where: str, number: int) -> None:
    chain.run()
    chain.params["clean.top"] = 1
    chain.fs = FullDisk(where, number)
    failed = chain.fails("clean")
    assert os.strerror(number) in failed.message
    assert chain.read("data/best.txt") == "1\n2\n"
    chain.fs = None
    assert chain.outcomes()["clean"] is RAN
    assert chain.read("data/best.txt") == "1\n"


def test_no_space_to_restore(chain: Lab) -> None:
    chain.run()
    chain.write("data/best.txt", "mine\n")
    chain.fs = FullDisk("data/best.txt")
    assert "No space left" in chain.fails("clean").message
    assert chain.read("data/best.txt") == "mine\n"


def test_a_cache_that_is_no_folder(chain: Lab) -> None:
    chain.write(".mlpipe/cache", "in the way")
    result = chain.run()
    assert not result.ok
    assert all("could not be stored" in r.message for r in result.stages if r.outcome is FAILED)


def test_nothing_to_do_needs_no_writable_state(chain: Lab) -> None:
    chain.run()
    chain.fs = FullDisk("", errno.EROFS)
    assert set(chain.outcomes().values()) == {KEPT}


def test_a_damaged_object_is_a_miss(chain: Lab) -> None:
    chain.run()
    ws = chain.open()
    locked = ws.lock.stage("clean")
    assert locked is not None
    path = ws.store.object_path(locked.outputs[0].hash)
    path.chmod(0o644)
    path.write_text("evil\n")
    (chain.root / "data/best.txt").unlink()
    assert chain.actions()["clean"] is Action.RUN
    assert chain.outcomes()["clean"] is RAN
    assert chain.read("data/best.txt") == "1\n2\n"


def test_a_collected_object_is_a_miss(chain: Lab) -> None:
    chain.run()
    shutil.rmtree(chain.root / ".mlpipe/cache/objects")
    assert set(chain.outcomes().values()) == {KEPT}
    shutil.rmtree(chain.root / "data")
    outcomes = chain.outcomes()
    assert (outcomes["load"], outcomes["clean"]) == (RAN, RAN)
    assert chain.read("data/best.txt") == "1\n2\n"


def test_a_torn_record_is_a_miss(chain: Lab) -> None:
    chain.run()
    (chain.root / "mlpipe.lock").unlink()
    for path in (chain.root / ".mlpipe/cache/records").glob("??/*"):
        path.write_bytes(path.read_bytes()[:-10])
    assert set(chain.outcomes().values()) == {RAN}


def test_a_damaged_listing_is_a_miss(lab: Lab) -> None:
    lab.stages = [stage("d", "mkdir {o:d}; echo 1 > {o:d}/f", writes={"d": "d"}, types={"d": DIR})]
    lab.run()
    shutil.rmtree(lab.root / "d")
    for path in (lab.root / ".mlpipe/cache/trees").glob("??/*"):
        path.chmod(0o644)
        path.write_text('mlpipe-tree 1\nf 00 1 "../../evil"\n')
    assert lab.outcomes() == {"d": RAN}


@pytest.mark.parametrize("junk", [b"", b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_damaged_index_is_made_anew(chain: Lab, junk: bytes) -> None:
    chain.run()
    for leftover in (chain.root / ".mlpipe").glob("index.db-*"):
        leftover.unlink()
    (chain.root / ".mlpipe/index.db").write_bytes(junk)
    assert set(chain.outcomes().values()) == {KEPT}
    assert set(chain.outcomes().values()) == {KEPT}
    chain.params["clean.top"] = 1
    assert chain.outcomes()["clean"] is RAN


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("stage load {", "not an entry"),
        ("stage load {}", "not the entry of a stage: `load`"),
        ("stage load []", "not an entry"),
        ("\0\0\0", "not an entry"),
    ],
)
def test_a_damaged_lock_names_the_line(chain: Lab, line: str, what: str) -> None:
    chain.run()
    chain.write("mlpipe.lock", chain.read("mlpipe.lock") + line + "\n")
    with pytest.raises(Failure, match="damaged at line 6: " + what) as caught:
        chain.run()
    assert "mlpipec run" in caught.value.help
    (chain.root / "mlpipe.lock").write_bytes(b"\xff\xfe")
    with pytest.raises(Failure, match="not UTF-8"):
        chain.run()


def test_what_a_killed_run_left_is_undone(chain: Lab) -> None:
    """As after `kill -9` between moving aside and publishing."""
    chain.run()
    from mlflowc.runtime import publish

    ws = chain.open()
    clean = ws.stage("clean")
    publish.move_aside(ws, clean)
    chain.write("data/best.txt", "partial\n")
    assert chain.actions()["clean"] is Action.RESTORE
    chain.change("clean", lambda s: replace(s, commands=(("exit 1",),)))
    chain.run()
    assert chain.read("data/best.txt") == "1\n2\n"


def test_a_killed_run_leaves_its_locks_to_the_command(lab: Lab, tmp_path: Path) -> None:
    """A command that outlives its run keeps others out until it ends."""
    folder = tmp_path / "locks"
    never = threading.Event()
    held = locks.acquire(folder, ["path o"], [], SystemClock(), never, lambda who: None)
    assert held is not None
    child = subprocess.Popen(["sleep", "600"], pass_fds=held.descriptors)
    try:
        # The parent goes without letting go, as when it is killed.
        for fd in held.descriptors:
            os.close(fd)
        told: list[str] = []
        stop = threading.Event()

        def waiting(who: str) -> None:
            told.append(who)
            stop.set()

        assert locks.acquire(folder, ["path o"], [], SystemClock(), stop, waiting) is None
        assert told == [f"process {os.getpid()}"]
    finally:
        child.kill()
        child.wait()
    again = locks.acquire(folder, ["path o"], [], SystemClock(), never, lambda who: None)
    assert again is not None
    again.release()


def test_two_runs_at_once_make_each_stage_once(lab: Lab) -> None:
    lab.stages = [
        stage(f"s{n}", f"echo x >> count{n}; sleep 0.2; echo {n} > {{o:o}}", writes={"o": f"o{n}"})
        for n in range(4)
    ]
    results = []

    def one() -> None:
        mine = Lab(lab.root, lab.stages)
        results.append(mine.run())

    threads = [threading.Thread(target=one) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(r.ok for r in results)
    assert [lab.read(f"count{n}") for n in range(4)] == ["x\n"] * 4
    assert set(lab.outcomes().values()) == {KEPT}


def test_stages_run_side_by_side(lab: Lab) -> None:
    """Each waits for the other's sign of life, so they end only if both are running."""
    wait = "for i in $(seq 500); do [ -e {} ] && break; sleep 0.02; done; [ -e {} ]"
    lab.stages = [
        stage("a", "touch sign-a; " + wait.replace("{}", "sign-b") + "; echo > {o:o}", writes={"o": "a"}),
        stage("b", "touch sign-b; " + wait.replace("{}", "sign-a") + "; echo > {o:o}", writes={"o": "b"}),
    ]
    assert lab.run(jobs=2).ok


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_a_name_with_everything_in_it(lab: Lab) -> None:
    name = "in/ä 'quoted' $HOME \"x\".txt"
    lab.write(name, "hello\n")
    lab.stages = [
        stage("s", "cat {i:i} > {o:o}", reads={"i": "./" + name}, writes={"o": "out/a b; rm -rf .txt"})
    ]
    assert lab.run().ok
    assert lab.read("out/a b; rm -rf .txt") == "hello\n"
