"""What planning and running want of whoever fetches data. Light: it is imported where nothing is fetched."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from mlflowc.runtime.records import OutputRecord


class Pin(NamedTuple):
    """`hash`, `kind`, `size` and `executable` as those of an output. `version` is what the source says of it.

    `type` is the digest of the declared type that it was found to be of, "" where that says nothing.
    """

    name: str
    path: str
    kind: str
    hash: str
    size: int
    executable: bool
    version: Mapping[str, str]
    type: str = ""

    def __hash__(self) -> int:
        return hash(self.output)

    @property
    def output(self) -> OutputRecord:
        """The data as what a stage reads."""
        return OutputRecord(self.name, self.path, self.kind, self.hash, self.size, self.executable)


class Feeds(Protocol):
    """Who fetches data. Without one, what is not pinned or not here stays so."""

    def pin(self, names: Sequence[str]) -> None:
        """Pins data that has no pin that counts, in the version that its source has now, and tells.

        Raises `Failure` where that cannot be done for one of them, or is not allowed here.
        """
        ...

    def bring(self, wanted: Sequence[Pin], note: Callable[[str], None]) -> None:
        """Puts the content of pins into the store, from wherever it is to be had. Raises `Failure`."""
        ...

    def examine(self, wanted: Sequence[Pin]) -> None:
        """Checks data whose declared type is another than when it was pinned. Raises `Failure`."""
        ...
