"""Starts a command in a container, and ends it surely.

The program that was started (`podman run`) only shows what the container does: to end that program is not to
end the container, which another process keeps. So the container has a name, and

- asking it to end sends SIGTERM to every process in it but the first, a shell that only waits;
- ending it removes it by name, whatever state it is in;
- a watcher holds the reading end of a pipe from us: should we be killed ourselves, the pipe closes, and it
  removes the container. It keeps our locks until that is done.

Values of variables travel in the environment of the program, under names of their own (it needs `HOME` and
`PATH` itself), and never on its command line, which others can read.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess

from mlflowc.runtime.ports import Command, Container

_PREFIX = "_MLPIPE_"
# The first process of a container gets no signal that it does not handle, and its death is the end of all.
_FIRST = """\
exec 2>&1
for name in ${!_MLPIPE_@}; do export "${name#_MLPIPE_}=${!name}"; unset "$name"; done
unset name
bash -euo pipefail -c "$1"
exit $?
"""
_WATCH = """\
read -r word
[ "$word" = done ] && exit
for try in 1 2 3 4 5 6 7 8; do "$@" > /dev/null 2>&1; sleep 0.5; done
"""
_LIMIT = 60.0


class Contained:
    """A container that was started; `process` is the program that shows what it does."""

    def __init__(self, command: Command, container: Container) -> None:
        """Raises `OSError` when the program cannot be started."""
        self._tool = container.tool
        self.name = f"mlpipe-{os.getpid()}-{secrets.token_hex(6)}"
        force = ["--time", "0", "--ignore"] if container.podman else []
        self._remove = [container.tool, "rm", "--force", "--volumes", *force, self.name]
        self._removed = False
        self._watcher = subprocess.Popen(
            ["bash", "-c", _WATCH, "mlpipec-watch", *self._remove],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
            pass_fds=command.inherit,
        )
        try:
            self.process = subprocess.Popen(
                _words(command, container, self.name),
                env={**os.environ, **{_PREFIX + name: value for name, value in command.env.items()}},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=0,
                process_group=0,
                pass_fds=command.inherit,
            )
        except BaseException:
            self._tell_watcher()
            raise

    def ask(self) -> None:
        """Asks what runs in it to end."""
        subprocess.Popen(
            [self._tool, "exec", self.name, "bash", "-c", "kill -TERM -1"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def kill(self) -> None:
        """Ends it now. Where it ended by itself there is nothing left to end."""
        code = self.process.poll()
        if code is None or code < 0 or code == 125:
            if not self._removed:
                self._removed = True
                self._run_remove()
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            if code is not None:
                self._tell_watcher()
        else:
            self._tell_watcher()

    def _run_remove(self) -> None:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                self._remove,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_LIMIT,
            )

    def settle(self) -> None:
        """Once the program has ended: after a killed one, what it may have been about to start is removed."""
        if self.process.returncode < 0 or self._removed:
            self._run_remove()
        self._tell_watcher()

    def _tell_watcher(self) -> None:
        pipe = self._watcher.stdin
        if pipe is not None and not pipe.closed:
            with contextlib.suppress(OSError):
                pipe.write(b"done\n")
                pipe.close()
            self._watcher.wait()


def _words(command: Command, container: Container, name: str) -> list[str]:
    words = [container.tool, "run", "--rm", "--name", name, "--label", "mlpipe=stage", "--pull", "never"]
    words += ["--log-driver", "none", *container.options]
    for folder in container.mounts:
        words += ["--volume", f"{folder}:{folder}"]
    for variable in command.env:
        words += ["--env", _PREFIX + variable]
    words += ["--workdir", str(command.cwd), "--entrypoint", "bash", container.image]
    return [*words, "-c", _FIRST, "mlpipec", command.script]
