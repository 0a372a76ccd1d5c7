"""Which files of a folder are other than before: by its two listings, where the cache has both."""

from __future__ import annotations

from typing import NamedTuple

from mlflowc.render.columns import plain
from mlflowc.runtime.store import Store

# So many paths of each sort are told in a line.
_PATHS = 3


class FolderChange(NamedTuple):
    """Paths in the folder, sorted: with other content (or of another kind), new ones, those that are gone."""

    changed: tuple[str, ...]
    new: tuple[str, ...]
    gone: tuple[str, ...]

    @property
    def text(self) -> str:
        """One line for a reader: `2 changed (a, b), 1 new (c)`."""
        return ", ".join(
            f"{len(paths)} {what} ({', '.join(map(plain, paths[:_PATHS]))}{', …' if paths[_PATHS:] else ''})"
            for what, paths in self._asdict().items()
            if paths
        )


def between(store: Store, before: str, after: str) -> FolderChange | None:
    """What differs between two folders of these hashes; None where one is no folder, or is not known here."""
    mine, other = store.listings.entries(before), store.listings.entries(after)
    if mine is None or other is None:
        return None
    was, now = {e.path: e for e in mine}, {e.path: e for e in other}
    return FolderChange(
        tuple(sorted(p for p in was.keys() & now.keys() if was[p] != now[p])),
        tuple(sorted(now.keys() - was.keys())),
        tuple(sorted(was.keys() - now.keys())),
    )
