"""What a kind of source is to everything else: something that can be looked at, and fetched from.

A module of a kind has a function `open(args, root, env) -> Source`, named in `mlflowc.sources.table`. What
can be said of a source without asking it (where its data stands, which files of the repository decide
what it is, which secrets it needs) is in `mlflowc.ir.feeds`, so that planning needs no client of anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias

from mlflowc.errors import Failure
from mlflowc.ir.model import Value

# What the source itself says about the state of its data: `etag`, `last_modified`, `version_id`, `commit`,
# `md5`, …; equal exactly when the data is the same as far as the source knows. Empty: it cannot say, and
# only the content tells. No secrets, no times of this machine: it is committed in `mlpipe.lock`.
Version: TypeAlias = Mapping[str, str]


class Found(NamedTuple):
    """What is there now: its version, and its size in bytes where that is known without fetching it."""

    version: Version
    size: int | None = None


class GoneError(Failure):
    """The version that was asked for is not to be had any more, while the source itself may be there.

    `message` says what is there instead, or that nothing is.
    """


class Progress(Protocol):
    """Told how far a fetch is. Cheap enough to be called for every chunk; safe in several threads."""

    def __call__(self, done: int, total: int | None) -> None:
        """`done` bytes of `total` (None: unknown) are here, those of an earlier try among them."""
        ...


class Source(Protocol):
    """One `data` declaration's source. Safe to use from one thread at a time.

    `shown` is what messages call it: an address without password, token or signature.
    """

    shown: str

    def look(self, pinned: Version | None) -> Found:
        """What the source has now; cheap (a HEAD, a listing of refs, a local file).

        `pinned` is what the lock says, for sources that can ask "is it still this?". Raises `Failure`, with
        the place, the cause and help, when the source is gone, has moved, refuses, or cannot be reached.
        """
        ...

    def fetch(self, version: Version, into: Path, progress: Progress) -> Version:
        """Writes exactly that version at `into`, a file or a folder, and returns its version.

        `into` and everything beside it in its folder is this source's own: nothing else writes there, and it
        is kept between tries, so that what a broken try left (a part file beside `into`) may be resumed;
        `into` itself does not exist before. The version returned holds all of `version`, and what only
        fetching could tell. Raises `GoneError` when this version is not to be had, and `Failure` when
        less came than was promised, when the source refuses, or cannot be reached.
        """
        ...


class Opener(Protocol):
    """The function `open` of a kind's module."""

    def __call__(self, args: Mapping[str, Value], root: Path, env: Mapping[str, str]) -> Source:
        """The source with the arguments of its declaration. `root` is the project folder, `env` the variables
        that credentials are read from. Nothing is sent yet. Raises `Failure` for arguments that make no
        sense.
        """
        ...
