"""What a remote is to everything here: names with bytes behind them. One module a kind, found by URL."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from mlflowc import extras
from mlflowc.errors import Failure
from mlflowc.ir.model import Value

CHUNK = 1024 * 1024


class Found(NamedTuple):
    """A name that is there: its size in bytes and when it was written, in seconds since 1970."""

    name: str
    size: int
    modified: float


class RemoteError(Exception):
    """A remote did not do what it was asked. `transient`: it may, if asked again. `refused`: not to us."""

    def __init__(
        self, message: str, *, transient: bool = False, help: str = "", refused: bool = False
    ) -> None:
        super().__init__(message)
        self.message = message
        self.transient = transient
        self.help = help
        self.refused = refused


class AbsentError(Exception):
    """Nothing has that name."""


class Transport(Protocol):
    """A flat store of names like `v1/trusted/packs/ab…`. Safe to use from `width` threads at once.

    All may raise `RemoteError`. `shown` is the address for people, without secrets.
    """

    shown: str
    width: int
    writable: bool

    def read(self, name: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` on, as they come. Raises `AbsentError`."""
        ...

    def size(self, name: str) -> int | None:
        """The size in bytes, None where nothing has the name."""
        ...

    def write(self, name: str, content: bytes | Path, *, fresh: bool = False) -> bool:
        """Puts the content there, all or nothing. With `fresh`, False when the name was taken."""
        ...

    def names(self, prefix: str) -> Iterator[Found]:
        """Everything whose name starts with the folder `prefix`, in no order."""
        ...

    def remove(self, name: str) -> None:
        """Takes it away; fine when nothing has the name."""
        ...

    def close(self) -> None:
        """Ends all connections."""
        ...


@runtime_checkable
class AtOnce(Protocol):
    """A transport that can give a stretch in one piece, without copying it."""

    def at_once(self, name: str, start: int, length: int) -> memoryview | None:
        """The bytes, or as many as there are; None where only `read` can. Raises as `read` does."""
        ...


# Scheme -> the module with a function `connect(address, options)`.
_KINDS: Mapping[str, str] = {
    "file": "folder",
    "s3": "cloud",
    "gs": "cloud",
    "az": "cloud",
    "http": "cloud",
    "https": "cloud",
    "ssh": "ssh",
}
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://")


def scheme_of(address: str) -> str:
    """`s3` of `s3://bucket`; `file` of a path. Raises `Failure` for a scheme that nobody knows."""
    match = _SCHEME.match(address)
    scheme = match[1] if match else "file"
    if scheme not in _KINDS:
        raise Failure(
            f"a remote cannot be at `{address}`: nothing here speaks `{scheme}`",
            help=f"a folder's path, or one of {', '.join(f'{s}://' for s in _KINDS)}",
            code=2,
        )
    return scheme


def connect(address: str, root: Path, options: Mapping[str, Value], *, own: bool = False) -> Transport:
    """The transport of an address. A folder's path is relative to `root`. Raises `Failure`.

    `own`: a bucket's credentials are its own, and not what this job has by `auth`.

    Nothing is sent yet: whether the remote can be reached shows with the first question.
    """
    if not address.strip():
        raise Failure("the address of the remote is empty", code=2)
    scheme = scheme_of(address)
    try:
        # Each kind needs a client of its own, which nobody else should wait for.
        module = importlib.import_module(f"mlflowc.runtime.remotes.{_KINDS[scheme]}")
    except ModuleNotFoundError as e:
        if (e.name or "").startswith("mlflowc"):
            raise
        raise Failure(
            f"a remote at `{scheme}://` needs `{e.name}`, which is not installed",
            help=extras.install("remote"),
        ) from None
    more = {"own": own} if _KINDS[scheme] == "cloud" else {}
    transport: Transport = module.connect(address, root, options, **more)
    return transport
