"""Tags to the remote, and a release of the service with its files. Not a command of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlflowc.addresses import without_login
from mlflowc.commands import proposing
from mlflowc.errors import Failure
from mlflowc.release.tags import Tags
from mlflowc.report.forges import releases
from mlflowc.report.forges.http import Trouble
from mlflowc.report.forges.place import Given, Place
from mlflowc.report.forges.releases import Asset

# GitHub takes files under 2 GiB.
LARGEST = 2 * 1024**3 - 1


def place() -> Place:
    """Where to publish. Raises `Failure`: no service or no token is known."""
    found = proposing.place(Given())
    if found is None:
        raise Failure(
            "no CI service is known here, so where to publish is not, either",
            help="--push shares the tags; --publish is for a job of GitHub, GitLab or Bitbucket",
            code=2,
        )
    return found


def pusher(folder: Path, there: Place) -> tuple[Tags, str]:
    """What pushes tags with the service's token, and the address to push to."""
    url = Tags(folder).git("remote", "get-url", "origin").strip()
    bare = without_login(url)
    more = proposing.login(there).environment(bare)
    return Tags(folder, more), bare if more else url


def publish(there: Place, root: Path, tag: str, card: str, files: Sequence[str]) -> tuple[str, list[str]]:
    """Makes the service's release of a tag that is pushed; its address, and files that are too large.

    Raises `Failure`.
    """
    large = [name for name in files if (root / name).stat().st_size > LARGEST]
    assets = [Asset(Path(name).name, root / name) for name in files if name not in large]
    try:
        return releases.publish(there, tag, card, assets), large
    except Trouble as e:
        raise Failure(
            f"`{tag}` is pushed, and the release could not be published. {e.message}",
            help="the files are in `mlpipe-releases/`: attach them by hand",
        ) from e
