"""Starting an executor so that it, and all that it starts, is gone after a limit."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

Completed: TypeAlias = "subprocess.CompletedProcess[str]"


def run(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout: float, input: str = ""
) -> Completed:
    """Runs `command` in a session of its own; after `timeout` seconds the whole process group is killed.

    SIGKILL at once: gitlab-ci-local in a cycle ignores SIGTERM. Raises `TimeoutExpired` with the output.
    """
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as child:
        try:
            out, err = child.communicate(input, timeout)
        except subprocess.TimeoutExpired as late:
            _kill(child.pid)
            out, err = child.communicate()
            raise subprocess.TimeoutExpired(command, timeout, out, err) from late
        except BaseException:
            _kill(child.pid)
            raise
        return subprocess.CompletedProcess(command, child.returncode, out, err)


def _kill(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
