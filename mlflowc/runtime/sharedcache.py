"""One cache for several checkouts of a machine: `cache { folder = "…" }`, or `MLPIPEC_SHARED_CACHE`.

Besides what every cache holds, the folder has

    locks/         one for each key: what one checkout makes, another waits for
    gc.lock        who uses the cache, and who clears it up
    index.db       what good objects look like, as `mlflowc.runtime.index`
    checkouts/     the folders of the projects that use it: what their `mlpipe.lock` names is not collected

Locks of paths, logs of failures and the history stay in each project's `.mlpipe`.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from mlflowc import plainfile
from mlflowc.errors import Failure
from mlflowc.frozen import dataclass
from mlflowc.ir.model import Pipeline
from mlflowc.runtime.hashing import hash_bytes
from mlflowc.runtime.index import StatIndex
from mlflowc.runtime.lockfile import LockFile
from mlflowc.runtime.ports import FileSystem

VARIABLE = "MLPIPEC_SHARED_CACHE"


@dataclass(frozen=True, slots=True)
class SharedCache:
    """The folder, absolute, and the index of its objects."""

    folder: Path
    index: StatIndex

    @classmethod
    def of(cls, root: Path, pipeline: Pipeline) -> SharedCache | None:
        """What the variable names, else the pipeline (relative to `root`); None for a cache of its own."""
        named = os.environ.get(VARIABLE) or pipeline.cache.folder
        if not named:
            return None
        folder = Path(os.path.abspath(root / Path(named).expanduser()))  # noqa: PTH100 - links stay
        return cls(folder, StatIndex(folder / "index.db"))

    def enter(self, root: Path, fs: FileSystem) -> None:
        """Makes the folder, and notes that the project at `root` uses it. Raises `Failure`."""
        name = os.fsencode(root)
        try:
            path = self.folder / "checkouts" / hash_bytes(name)[:32]
            if not path.exists():
                fs.make_folder(path.parent)
                fs.write(path, name)
        except OSError as e:
            raise Failure(
                f"cannot write in the shared cache `{self.folder}`: {e.strerror}",
                help=f"`cache {{ folder = … }}` or {VARIABLE} names it; check its permissions and free space",
            ) from e

    def others(self, root: Path) -> list[Path]:
        """The other projects that use it and are still there."""
        found = []
        with contextlib.suppress(OSError):
            for path in sorted((self.folder / "checkouts").iterdir()):
                with contextlib.suppress(OSError):
                    place = Path(os.fsdecode(plainfile.read(path)))
                    if not path.name.endswith(".tmp") and place != root and place.is_dir():
                        found.append(place)
        return found

    def locks_of_others(self, root: Path) -> list[LockFile]:
        """Their lock files. Raises `Failure` where one is damaged: what it names must not go."""
        return [LockFile.read(place) for place in self.others(root)]
