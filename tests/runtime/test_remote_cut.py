"""What somebody cut off in a remote, while what names it is whole: a miss, which the next push mends. Nothing
else in the remote is lost by it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from mlflowc.runtime.remotes.transport import connect
from tests.runtime.test_remote_transports import use, whole
from tests.support.remote_project import Checkout
from tests.support.servers import S3


def _mended(tmp_path: Path, address: str, env: dict[str, str], kind: str, left: int) -> None:
    """Cuts all of a kind to 1/`left` of it (0: to nothing), and has others run."""
    block = f'cache {{ remote = "{address}", write = all }}'
    maker = Checkout(tmp_path / "maker" / "p", env).make(block)
    maker("run")
    remote = connect(address, tmp_path, {})
    cut = [f for f in remote.names("v1/trusted/") if f"/{kind}/" in f.name]
    assert cut
    for found in cut:
        remote.write(found.name, whole(remote, found.name)[: found.size // left if left else 0])
    other = Checkout(tmp_path / "other" / "p", env).make(block)
    text = other("run")
    assert other.outputs() == maker.outputs()
    assert "going on without it" not in text
    if kind == "objects":
        # The one with the large file; the results beside it are whole.
        assert other.ran == ["load"]
    late = Checkout(tmp_path / "late" / "p", env).make(block)
    late("run")
    assert (late.ran, late.outputs()) == ([], maker.outputs())


@pytest.mark.parametrize("left", [2, 0])
@pytest.mark.parametrize("kind", ["packs", "objects"])
def test_cut_in_a_folder(tmp_path: Path, kind: str, left: int) -> None:
    (tmp_path / "remote").mkdir()
    _mended(tmp_path, str(tmp_path / "remote"), {}, kind, left)


@pytest.mark.parametrize("kind", ["packs", "objects"])
def test_cut_in_a_bucket(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    use(monkeypatch, s3.env())
    _mended(tmp_path, f"s3://bucket/{tmp_path.name}", s3.env(), kind, 2)
