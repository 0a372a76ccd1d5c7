"""Files of the standard library, put where a stage's command finds them."""

from __future__ import annotations

from mlflowc import resources
from mlflowc.errors import Failure
from mlflowc.ir.model import AssetRef, Stage
from mlflowc.runtime.hashing import hash_bytes
from mlflowc.runtime.workspace import Workspace


def provide(ws: Workspace, stage: Stage) -> None:
    """Writes the assets among the stage's inputs that are not in place as they should be.

    Raises `Failure` when this version of the tool does not have one, `OSError` when it cannot be written.
    """
    for source in (s for i in stage.inputs for s in i.sources if isinstance(s, AssetRef)):
        target = ws.root / source.path
        try:
            if hash_bytes(target.read_bytes()) == source.hash:
                continue
        except FileNotFoundError:
            pass
        data = resources.stdlib_asset(source.name)
        if data is None or hash_bytes(data) != source.hash:
            raise Failure(
                f"the pipeline was compiled with another `std/{source.name}` than this version has",
                help="compile it again: `mlpipec check`",
            )
        ws.prepare()
        ws.fs.make_folder(target.parent)
        ws.fs.write(target, data)
