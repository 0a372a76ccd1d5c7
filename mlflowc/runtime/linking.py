"""How a large file comes into the cache and out of it: `cache { link = … }`.

`auto` shares blocks where the disk can (a clone: a file of its own), else the file itself by a hard link,
which is read-only; `reflink` and `copy` never share the file itself, `hardlink` and `copy` never only its
blocks. What does not work (another disk, no links there) becomes a copy.
"""

from __future__ import annotations

from pathlib import Path

from mlflowc.runtime.ports import FileSystem

_CLONES = frozenset({"auto", "reflink"})
_LINKS = frozenset({"auto", "hardlink"})


class Linking:
    """Makes files that share what `how` allows."""

    def __init__(self, fs: FileSystem, how: str) -> None:
        self._fs = fs
        self._clones = how in _CLONES
        self._links = how in _LINKS

    def place(self, source: Path, target: Path, *, linked: bool = True) -> bool:
        """A `target` with the content of `source`; whether both are one file now, which only may be with
        `linked`. Raises `OSError`.
        """
        if self._clones and self._fs.clone(source, target):
            return False
        if linked and self._links and self._try_link(source, target):
            return True
        self._fs.copy(source, target)
        return False

    def _try_link(self, source: Path, target: Path) -> bool:
        try:
            self._fs.link(source, target)
        except FileExistsError:
            raise
        except OSError:
            return False
        return True
