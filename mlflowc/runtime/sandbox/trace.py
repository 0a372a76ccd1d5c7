"""What a command touches, as strace sees it.

The tracer runs apart from the command and its process group (`-DD`), so that the command is still our child,
ends as it would, and may leave processes behind. Only calls that open, start, link and rename are stopped at.
"""

from __future__ import annotations

import codecs
import math
import os
import posixpath
import re
import select
import shutil
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from mlflowc.errors import Failure

_OPEN = frozenset({"open", "openat", "openat2", "creat"})
_START = frozenset({"execve", "execveat"})
_MOVE = frozenset({"rename", "renameat", "renameat2"})
_LINK = frozenset({"link", "linkat"})
_CHANGE = frozenset({"truncate", "unlink", "unlinkat"})
_FOLDER = frozenset({"chdir", "fchdir"})
# With `?`, a call that this architecture does not have is no mistake.
_CALLS = ",".join(f"?{c}" for c in sorted(_OPEN | _START | _MOVE | _LINK | _CHANGE | _FOLDER))

_LINE = re.compile(r"(\d+)\s+(.*)")
_CALL = re.compile(r"(\w+)\((.*)\)\s+=\s+(-?\d+)(?:<((?:[^>\\]|\\.)*)>)?")
_UNFINISHED = re.compile(r"(\w+)\((.*?),? <unfinished \.\.\.>")
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)")
_PLACE = re.compile(r'(?:(?:AT_FDCWD|\d+)(?:<((?:[^>\\]|\\.)*)>)?, )?"((?:[^"\\]|\\.)*)"')
_FD = re.compile(r"\d+<((?:[^>\\]|\\.)*)>")
_POLL_MS = 100
_CHUNK = 1 << 16
_LAST_WORDS = 2.0
_ESCAPE = re.compile(r"\\(?:[0-7]{1,3}|x[0-9a-f]{2}|.)")


class Touch(NamedTuple):
    """`act` is `read`, `write` (made, changed, replaced, removed) or `both`.

    `path` is the absolute path as the command said it, without `.` and `..`; `real` where that led.
    """

    act: str
    path: str
    real: str


def command(log: Path) -> tuple[str, ...]:
    """What to put before a command so that what it touches is written into `log`."""
    return (
        *("strace", "-DD", "-f", "--seccomp-bpf", "-q", "-y", "-s", "0"),
        *("-e", f"trace={_CALLS}", "-e", "signal=none", "-o", str(log), "--"),
    )


@cache
def missing() -> str:
    """Why no command can be traced here, as half a sentence; empty where one can."""
    if shutil.which("strace") is None:
        return "cannot audit here: install strace"
    try:
        done = subprocess.run(
            [*command(Path("/dev/null")), "true"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError) as e:
        return f"cannot audit here: strace cannot be run: {e}"
    # A tracer that may not trace lets its command go untraced, or not start at all: it says so.
    said = done.stderr.strip().splitlines()
    if done.returncode == 0 and not said:
        return ""
    return f"cannot audit here: strace may not trace: {said[0] if said else f'exit code {done.returncode}'}"


class Trace:
    """Listens to the tracer while the command runs, through a pipe with a name: what a command that opens
    a million files a minute touches must fit into memory once, and never on the disk.
    """

    def __init__(self, pipe: Path, folder: str) -> None:
        """Makes `pipe`, which the tracer is to write into. The command begins in `folder`.

        Raises `Failure` where that cannot be.
        """
        try:
            os.mkfifo(pipe, 0o600)
            # Without waiting for its writer, which may never come.
            self._fd = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as e:
            raise Failure(
                f"cannot audit here: no pipe can be made in `{pipe.parent}`: {e.strerror}"
            ) from None
        self._over = threading.Event()
        self._until = math.inf
        self._found: dict[Touch, None] = {}
        self._thread = threading.Thread(target=self._listen, args=(folder,), name="trace", daemon=True)
        self._thread.start()

    def end(self) -> list[Touch]:
        """What was touched, each once, in order. To be called when the command has ended.

        Raises `Failure` when it was not traced.
        """
        self.close()
        if not self._found:
            # Not even the start of the shell: that is no command without files.
            raise Failure("the audit saw nothing of the command: strace did not trace it")
        return list(self._found)

    def close(self) -> None:
        """Stops listening, when all has been said."""
        self._until = min(self._until, time.monotonic() + _LAST_WORDS)
        self._over.set()
        self._thread.join()

    def _listen(self, folder: str) -> None:
        try:
            for touch in touches(self._lines(), folder):
                self._found[touch] = None
        finally:
            os.close(self._fd)

    def _lines(self) -> Iterator[str]:
        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        rest = b""
        # What a command left running elsewhere may go on touching files for ever.
        while not self._over.is_set() or time.monotonic() < self._until:
            events = poller.poll(_POLL_MS)
            data = os.read(self._fd, _CHUNK) if events else b""
            if data:
                *lines, rest = (rest + data).split(b"\n")
                yield from (line.decode("utf-8", "surrogateescape") for line in lines)
            elif self._over.is_set():
                return
            elif events:
                # Its writer has gone, and another may come: a tracer begins anew for each try.
                self._over.wait(_POLL_MS / 1000)


def touches(lines: Iterable[str], folder: str) -> Iterator[Touch]:
    """What the lines of a tracer say, as it comes, of a command that began in `folder`."""
    folders: dict[str, str] = {}
    begun: dict[str, str] = {}
    for line in lines:
        match = _LINE.match(line)
        if match is None:
            continue
        process, text = match[1], match[2]
        if unfinished := _UNFINISHED.match(text):
            begun[process] = f"{unfinished[1]}({unfinished[2]}"
            continue
        if resumed := _RESUMED.match(text):
            text = begun.pop(process, "") + ("" if resumed[2].startswith(")") else ", ") + resumed[2].strip()
        call = _CALL.match(text)
        if call is None or call[3].startswith("-"):
            continue
        name, given, result = call[1], call[2], call[4]
        here = folders.get(process, folder)
        if name in _FOLDER:
            folders[process] = _new_folder(name, given, here)
        else:
            yield from _touched(name, given, result, here)


def _new_folder(name: str, given: str, here: str) -> str:
    if name == "fchdir":
        match = _FD.match(given)
        return _decoded(match[1]) if match else here
    places = _places(given, here)
    return places[0] if places else here


def _touched(name: str, given: str, result: str | None, here: str) -> Iterator[Touch]:
    places = _places(given, here)
    if not places:
        return
    path = places[0]
    if name in _OPEN:
        real = _decoded(result) if result is not None else path
        act = _act(name, given)
        if act and "O_DIRECTORY" not in given and not (act == "read" and posixpath.isdir(real)):
            yield Touch(act, path, real)
    elif name in _START:
        yield Touch("read", path, posixpath.realpath(path))
    elif name in _MOVE or name in _LINK:
        yield Touch("both" if name in _MOVE else "read", path, path)
        if len(places) > 1:
            yield Touch("write", places[1], places[1])
    else:
        yield Touch("write", path, path)


def _act(name: str, given: str) -> str:
    """What an `open` is for; nothing where it opens no content."""
    flags = given[given.rfind('"') :]
    if "O_PATH" in flags:
        return ""
    if name == "creat" or "O_TRUNC" in flags or "O_EXCL" in flags:
        return "write"
    if "O_WRONLY" in flags:
        return "write"
    return "both" if "O_RDWR" in flags else "read"


def _places(given: str, here: str) -> list[str]:
    """The paths among the arguments, absolute, in order."""
    return [
        posixpath.normpath(posixpath.join(_decoded(base) if base else here, _decoded(path)))
        for base, path in _PLACE.findall(given)
    ]


def _decoded(text: str) -> str:
    """What strace escaped, as Python names files."""
    if "\\" not in text:
        return text
    plain = _ESCAPE.sub(_unescaped, text)
    return plain.encode("latin-1", "surrogateescape").decode("utf-8", "surrogateescape")


def _unescaped(match: re.Match[str]) -> str:
    return codecs.decode(match[0].encode("ascii"), "unicode_escape") if match[0] != "\\>" else ">"
