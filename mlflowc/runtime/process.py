"""Running a command: its own process group, its output as it comes, an end when it must end."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from mlflowc.errors import Failure
from mlflowc.runtime.ports import Command, Exit

if TYPE_CHECKING:
    import subprocess

_POLL = 0.1
_GRACE = 5.0
_DRAIN = 0.5
_CHUNK = 65536


class BashRunner:
    """Runs commands under `bash -euo pipefail`."""

    def __init__(self, grace: float = _GRACE) -> None:
        """`grace`: seconds between asking a command to end (SIGTERM) and ending it (SIGKILL)."""
        self._grace = grace

    def run(self, command: Command, sink: Callable[[bytes], None], cancel: threading.Event) -> Exit:
        """Runs it to its end. What it left running in the background is ended with it."""
        stop: Stop
        try:
            if command.container is not None:
                # Few pipelines have containers.
                from mlflowc.runtime.containers.running import Contained

                stop = contained = Contained(command, command.container)
                process = contained.process
            elif command.confine is not None:
                process = _start_apart(command, command.confine)
                stop = _Group(process.pid)
            else:
                process = _start(command)
                stop = _Group(process.pid)
        except FileNotFoundError as e:
            if not command.cwd.is_dir():
                raise Failure(
                    f"the folder `{command.cwd}` does not exist", help="the stage's `dir` names it"
                ) from e
            raise Failure("`bash` was not found", help="commands of stages run under bash; install it") from e
        except OSError as e:
            raise Failure(f"cannot start the command: {e.strerror}", help=_too_long(e)) from e
        assert process.stdout is not None
        with process.stdout as pipe:
            end = _End(stop, command.timeout, self._grace, cancel, command.hurry)
            try:
                _pump(pipe.fileno(), process.poll, sink, end)
            finally:
                end.kill()
                process.wait()
                stop.settle()
        return Exit(process.returncode, end.timed_out, end.cancelled)


def _start(command: Command) -> subprocess.Popen[bytes]:
    import subprocess  # a workspace is also opened where nothing is to be started

    return subprocess.Popen(
        [*command.wrap, "bash", "-euo", "pipefail", "-c", command.script],
        cwd=command.cwd,
        env=dict(command.env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
        process_group=0,
        pass_fds=command.inherit,
    )


def _start_apart(command: Command, confine: Callable[[], None]) -> subprocess.Popen[bytes]:
    """Starts it from a thread that first gives things up. Raises whatever went wrong there."""
    import subprocess  # noqa: F401 - its files may be out of reach in that thread

    started: list[subprocess.Popen[bytes] | BaseException] = []

    def start() -> None:
        try:
            confine()
            started.append(_start(command))
        except BaseException as e:
            started.append(e)

    thread = threading.Thread(target=start, name="confined")
    thread.start()
    thread.join()
    if isinstance(started[0], BaseException):
        raise started[0]
    return started[0]


def _too_long(e: OSError) -> str:
    import errno

    return (
        "the command with its file names is longer than the system allows" if e.errno == errno.E2BIG else ""
    )


class Stop(Protocol):
    """Ends what was started: `ask` by SIGTERM, `kill` at once; `settle` after it has ended."""

    def ask(self) -> None: ...
    def kill(self) -> None: ...
    def settle(self) -> None: ...


class _Group:
    """A process group."""

    def __init__(self, group: int) -> None:
        self._group = group

    def ask(self) -> None:
        """Asks every process of the group to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends every process of the group."""
        self._signal(signal.SIGKILL)

    def settle(self) -> None:
        """Nothing is left."""

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._group, number)


class _End:
    """Decides when what was started must end, and ends it."""

    def __init__(
        self,
        stop: Stop,
        timeout: float | None,
        grace: float,
        cancel: threading.Event,
        hurry: threading.Event | None,
    ) -> None:
        self._stop = stop
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._grace = grace
        self._cancel = cancel
        self._hurry = hurry
        self._kill_at: float | None = None
        self.timed_out = False
        self.cancelled = False

    def check(self) -> None:
        """Asks it to end when it is time, and ends it when it does not."""
        now = time.monotonic()
        if self._kill_at is not None:
            if now >= self._kill_at or (self._hurry is not None and self._hurry.is_set()):
                self.kill()
        elif self._cancel.is_set():
            self.cancelled = True
            self._ask(now)
        elif self._deadline is not None and now >= self._deadline:
            self.timed_out = True
            self._ask(now)

    def wait(self) -> float:
        """Seconds until the next `check` is due."""
        due = self._kill_at if self._kill_at is not None else self._deadline
        return _POLL if due is None else min(_POLL, max(0.0, due - time.monotonic()))

    def kill(self) -> None:
        """Ends it, now."""
        self._stop.kill()

    def _ask(self, now: float) -> None:
        self._kill_at = now + self._grace
        self._stop.ask()


def _pump(fd: int, poll: Callable[[], int | None], sink: Callable[[bytes], None], end: _End) -> None:
    """Hands over output until the pipe closes, or shortly after the command has ended while a child holds it
    open.
    """
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    ended_at: float | None = None
    while True:
        if poller.poll(end.wait() * 1000):
            data = os.read(fd, _CHUNK)
            if not data:
                break
            sink(data)
        end.check()
        if ended_at is None:
            if poll() is not None:
                ended_at = time.monotonic()
                end.kill()
        elif time.monotonic() - ended_at > _DRAIN:
            return
    while poll() is None:
        # Its output is closed, but it works on.
        time.sleep(min(0.005, end.wait()))
        end.check()
