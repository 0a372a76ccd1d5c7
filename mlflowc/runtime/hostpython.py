"""The Python that a command finds on PATH."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from functools import cache
from pathlib import Path

from mlflowc.runtime import interpreters
from mlflowc.runtime.hashing import hash_bytes
from mlflowc.runtime.ports import LocalFileSystem
from mlflowc.runtime.shell import invocations

_PYTHON = re.compile(r"python(?:3(?:\.\d+)?)?")
_VERSIONED = re.compile(r"python(3\.\d+)")
_VERSION = re.compile(r"\d+\.\d+")
# Programs that are Python programs, or start the `python` on PATH.
_TOOL = re.compile(r"jupyter|papermill|ipython|torchrun|accelerate|pytest|streamlit|deepspeed")
_HINT = re.compile(rf"python|\.py|\.sh|\./|{_TOOL.pattern}")


def named(command: str) -> str:
    """The name under which `command` (shell text) starts Python, or an empty string when it does not.

    A shell script may hide it: `bash x.sh` and `./x` count as using `python3`.
    """
    if not _HINT.search(command):
        return ""
    for call in invocations(command):
        for n, word in enumerate(call.words):
            name = os.path.basename(word)  # noqa: PTH119
            if _PYTHON.fullmatch(name):
                return name
            if _TOOL.fullmatch(name) or word.endswith((".py", ".sh")) or (n == 0 and word.startswith("./")):
                return "python3"
    return ""


def host_python(name: str) -> str:
    """`3.11` for the interpreter of that name on PATH; an empty string when there is none.

    Starting an interpreter takes longer than all else that a run with nothing to do does: where its file says
    its version, that is believed.
    """
    path = shutil.which(name)
    return _version(path, os.environ.get("PYENV_VERSION", ""), os.getcwd()) if path else ""  # noqa: PTH109


@cache
def _version(path: str, _pyenv: str, _folder: str) -> str:
    real = os.path.realpath(path)
    if real == os.path.realpath(sys.executable):
        return f"{sys.version_info[0]}.{sys.version_info[1]}"
    settings = Path(path).parent.parent / "pyvenv.cfg"
    try:
        said = re.search(r"^version(?:_info)?\s*=\s*(\d+\.\d+)", settings.read_text("utf-8"), re.MULTILINE)
        if said:
            return said[1]
    except (OSError, UnicodeDecodeError):
        pass
    match = _VERSIONED.fullmatch(Path(real).name)
    if match and not _is_script(real):
        return match[1]
    looks = interpreters.looks(Path(path).name)
    # Only where a version manager has to be asked: it brings `platform` and others along.
    from mlflowc.runtime import venvs

    kept = venvs.cache_folder() / "interpreters" / hash_bytes(repr(looks).encode())
    if looks is not None and (found := _kept(kept)):
        return found
    version = _asked(path)
    if looks is not None and version and interpreters.looks(Path(path).name) == looks:
        # Nobody waits for it: where it cannot be kept, it is asked again.
        with contextlib.suppress(OSError):
            LocalFileSystem().make_folder(kept.parent)
            LocalFileSystem().write(kept, version.encode())
    return version


def _kept(path: Path) -> str:
    """What was kept of an interpreter that looked the same: starting one through a version manager's script
    takes longer than many a command of ours.
    """
    try:
        version = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
    return version if _VERSION.fullmatch(version) else ""


def _asked(path: str) -> str:
    import subprocess  # slow to import, and seldom needed

    try:
        done = subprocess.run(
            [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    version = done.stdout.strip()
    return version if done.returncode == 0 and _VERSION.fullmatch(version) else ""


def _is_script(path: str) -> bool:
    # A version manager's stand-in: its name says nothing.
    try:
        with open(path, "rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return True
