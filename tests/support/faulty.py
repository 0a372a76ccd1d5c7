"""Programs that die, or meet a failing disk, at their n-th change of a file. Real processes, really killed.

`python faulty.py` is a small server: it has the package imported already, and for each line of JSON on its
stdin it forks a child that runs the command line `argv` in the folder `cwd`, and answers with a line of JSON.
In the child every change below `root` is counted, whoever makes it: Python's audit events tell of all that
opens, renames, links, makes or removes something; `os.write` and `os.fsync` are wrapped. At the change number
`at` happens what `how` says:

    kill     the process is killed (SIGKILL) before it
    torn     a write is done by half, then the process is killed; other changes: as `kill`
    once     it fails with `number` (an errno)
    always   so does each after it
    short    a write takes only a part, as the system may do, and all goes on
    full     no file may become longer than `at` bytes (the system cuts writes short, and then refuses them)

`Faults` is the client. This file stands alone: nothing of the tests is imported in the server.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PATHS = {
    "os.rename": 2,
    "os.remove": 1,
    "os.mkdir": 1,
    "os.rmdir": 1,
    "os.link": 2,
    "os.symlink": 2,
    "os.chmod": 1,
    "os.truncate": 1,
    "os.utime": 1,
}
_CHANGING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# A child that waits for ever is a failure, not a hang of the tests.
_LIMIT = 60


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended: `code` is its exit code, or minus the signal that killed it. `changes` were made."""

    code: int
    changes: int
    out: str
    err: str

    @property
    def killed(self) -> bool:
        """Whether it was killed as was wanted."""
        return self.code == -signal.SIGKILL


class Faults:
    """A server, to be closed."""

    def __init__(self) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("CI", "GITHUB", "MLPIPE"))}
        self._server = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def call(
        self,
        cwd: Path,
        argv: Sequence[str],
        *,
        root: Path | None = None,
        at: int = 0,
        how: str = "",
        number: int = 0,
    ) -> Ended:
        """Runs a command line, with a fault if `how` names one. Changes below `root` (or `cwd`) count."""
        job = {
            "cwd": str(cwd),
            "argv": [*argv],
            "root": str(root or cwd),
            "at": at,
            "how": how,
            "number": number,
        }
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()
        return Ended(**json.loads(self._server.stdout.readline()))

    def close(self) -> None:
        """Ends the server."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait(_LIMIT)
        self._server.stdout.close()


class _Fault:
    """Counts changes, and does what is to be done at one of them."""

    def __init__(self, job: dict[str, Any], counter: int) -> None:
        self._root = os.path.realpath(job["root"])
        self._at, self._how, self._number = job["at"], job["how"], job["number"]
        self._counter = counter
        self._pid = os.getpid()
        self._write, self._fsync = os.write, os.fsync
        self._done = 0
        self._off = False
        self._guard = threading.RLock()

    def install(self) -> None:
        """From now on."""
        if self._how == "full":
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (self._at, hard))
            return
        os.write = self._short_write
        os.fsync = self._sync
        sys.addaudithook(self._heard)

    def _heard(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = args
            if isinstance(flags, int) and flags & _CHANGING and not isinstance(path, int):
                self._change(path)
        elif event in _PATHS:
            self._change(*args[: _PATHS[event]])

    def _short_write(self, fd: int, data: Any) -> int:
        if self._off or fd == self._counter or not self._ours(fd):
            return self._write(fd, data)
        done = self._count()
        if self._how == "short" and len(data) > 1:
            return self._write(fd, memoryview(data)[: 1 + done % (len(data) - 1)])
        if self._how == "torn" and done == self._at:
            self._write(fd, memoryview(data)[: len(data) // 2])
        self._happen(done, "write")
        return self._write(fd, data)

    def _sync(self, fd: Any) -> None:
        if not self._off and self._ours(fd if isinstance(fd, int) else fd.fileno()):
            self._happen(self._count(), "fsync")
        self._fsync(fd)

    def _ours(self, fd: int) -> bool:
        try:
            return str(Path(f"/proc/self/fd/{fd}").readlink()).startswith(self._root + "/")
        except OSError:
            return False

    def _change(self, *paths: Any) -> None:
        if self._off or os.getpid() != self._pid:
            return
        texts = [str(Path.cwd() / os.fsdecode(p)) for p in paths if isinstance(p, (str, bytes, os.PathLike))]
        # What SQLite writes is its own affair; locks and logs of other tools are none of ours.
        if any(t.startswith(self._root + "/") and "/.git/" not in t for t in texts):
            self._happen(self._count(), texts[-1])

    def _count(self) -> int:
        """The number of this change: no two threads get the same."""
        with self._guard:
            self._done += 1
            os.pwrite(self._counter, str(self._done).encode(), 0)
            return self._done

    def _happen(self, done: int, what: str) -> None:
        if self._how in ("kill", "torn") and done >= self._at:
            os.kill(self._pid, signal.SIGKILL)
        if (self._how == "once" and done == self._at) or (self._how == "always" and done >= self._at):
            raise OSError(self._number, os.strerror(self._number), what)

    def stop(self) -> None:
        """No more faults."""
        self._off = True


def _child(job: dict[str, Any], out: int, err: int, counter: int) -> None:
    os.chdir(job["cwd"])
    os.environ["PWD"] = job["cwd"]
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.argv = ["mlpipec", *job["argv"]]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from mlflowc.__main__ import main

    fault = _Fault(job, counter)
    fault.install()
    code = 3
    try:
        main()
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else 1
    except BaseException:
        fault.stop()
        traceback.print_exc()
    finally:
        fault.stop()
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _serve() -> None:
    # All that a command may need: a child then starts in no time.
    import mlflowc.commands.cache
    import mlflowc.commands.caching
    import mlflowc.commands.exec
    import mlflowc.commands.import_
    import mlflowc.commands.lock
    import mlflowc.commands.running
    import mlflowc.runtime.process
    import mlflowc.runtime.remotes.hub  # noqa: F401

    for line in sys.stdin:
        job = json.loads(line)
        with tempfile.TemporaryFile() as counter:
            # Pipes: a limit on the length of files is not meant for them.
            (out, out_end), (err, err_end) = os.pipe(), os.pipe()
            pid = os.fork()
            if pid == 0:
                signal.alarm(_LIMIT)
                _child(job, out_end, err_end, counter.fileno())
            os.close(out_end)
            os.close(err_end)
            said = _drain(out, err)
            _, status = os.waitpid(pid, 0)
            counter.seek(0)
            answer = {
                "code": os.waitstatus_to_exitcode(status),
                "changes": int(counter.read() or b"0"),
                "out": said[out].decode("utf-8", "replace"),
                "err": said[err].decode("utf-8", "replace"),
            }
        print(json.dumps(answer), flush=True)


def _drain(*pipes: int) -> dict[int, bytes]:
    said = dict.fromkeys(pipes, b"")
    with selectors.DefaultSelector() as waiting:
        for pipe in pipes:
            waiting.register(pipe, selectors.EVENT_READ)
        while waiting.get_map():
            for key, _ in waiting.select():
                data = os.read(key.fd, 65536)
                said[key.fd] += data
                if not data:
                    waiting.unregister(key.fd)
                    os.close(key.fd)
    return said


if __name__ == "__main__":
    _serve()
