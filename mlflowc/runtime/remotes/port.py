"""What the planner and a run want from a remote. Light: it is imported where there is none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from mlflowc.runtime.records import OutputRecord, Record


class Remote(Protocol):
    """Results of others. Nothing raises for a remote that cannot be reached: then it has nothing.

    Safe to use from several threads. `fetch` raises `OSError` when the store cannot be written.
    """

    def expect(self, keys: Iterable[str]) -> None:
        """These may be asked for: what the remote has for them is then found out in one go."""
        ...

    def record(self, key: str) -> Record | None:
        """What the remote has for a key. Its record is put into the store; its contents are not."""
        ...

    def available(self, key: str, outputs: Iterable[OutputRecord]) -> bool:
        """Whether the remote seems to have the contents of these outputs, a result of that key."""
        ...

    def fetch(self, outputs: Iterable[OutputRecord]) -> bool:
        """Brings contents into the store, of outputs that were found to be available."""
        ...
