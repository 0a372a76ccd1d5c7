"""What an interpreter on PATH looks like: while it looks the same, it is of the same version."""

from __future__ import annotations

import os
import shutil

from mlflowc import plainfile


def looks(name: str) -> tuple[object, ...] | None:
    """What an interpreter on PATH looks like; None when its version may depend on more than its file."""
    path = shutil.which(name)
    if path is None:
        return ("none",)
    real = os.path.realpath(path)
    try:
        with open(real, "rb") as file:
            # A version manager's script: what it starts is decided elsewhere.
            start = file.read(4096)
            if start.startswith(b"#!"):
                return _pyenv(path, start)
        settings = _look(f"{os.path.dirname(os.path.dirname(path))}/pyvenv.cfg")  # noqa: PTH120
        return (path, real, _signature(os.stat(real)), settings)  # noqa: PTH116
    except OSError:
        return None


def _pyenv(path: str, script: bytes) -> tuple[object, ...] | None:
    """What decides which interpreter a script of pyenv starts; None for another's script, or one that goes on
    to search PATH.
    """
    root = os.path.dirname(os.path.dirname(path))  # noqa: PTH120
    if f'exec "{root}/libexec/pyenv" exec "$program"'.encode() not in script:
        return None
    if any(os.environ.get(f"PYENV_{n}") for n in ("DIR", "HOOK_PATH", "VIRTUAL_ENV")):
        return None
    version, folder = os.environ.get("PYENV_VERSION"), os.getcwd()  # noqa: PTH109
    if os.environ.get("PWD", folder) != folder and os.path.realpath(os.environ["PWD"]) == folder:
        return None  # its folders are searched by another name
    files = [f"{root}/version"]
    while True:
        files.insert(-1, f"{folder}/.python-version")
        if folder == os.path.dirname(folder):  # noqa: PTH120
            break
        folder = os.path.dirname(folder)  # noqa: PTH120
    said = [version.encode() if version else None, *map(_content, files)]
    chosen = next((s for s in said if s is not None), b"system")
    # `system`, or a version that is not there, is whatever PATH leads to next.
    names = chosen.replace(b":", b" ").split()
    versions = [os.fsdecode(n) for n in names]
    bins = tuple(_look(f"{root}/versions/{v}/bin/{os.path.basename(path)}") for v in versions)  # noqa: PTH119
    if not versions or bins[0] is None or any(v == "system" or v.startswith(("/", ".")) for v in versions):
        return None
    places = [f"{root}/{p}" for p in ("versions", "plugins", "pyenv.d", "libexec/pyenv")]
    # Where others may have put words of their own.
    places += ["/etc/pyenv.d", "/usr/etc/pyenv.d", "/usr/local/etc/pyenv.d", "/usr/lib/pyenv/hooks"]
    return (path, script, tuple(said), bins, tuple(map(_look, places)))


def _content(path: str) -> bytes | None:
    try:
        return plainfile.read(path)
    except OSError:
        return None


def _look(path: str) -> tuple[int, int, int, int] | None:
    try:
        return _signature(os.stat(path))  # noqa: PTH116
    except OSError:
        return None


def _signature(st: os.stat_result) -> tuple[int, int, int, int]:
    return (st.st_size, st.st_mtime_ns, st.st_ctime_ns, st.st_ino)
