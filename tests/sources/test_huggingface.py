"""`huggingface(…)` against a server with the hub's interface, which the hub's own client takes for one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlflowc.sources import retry
from mlflowc.sources.port import GoneError
from tests.sources.conftest import Taker, content
from tests.support.hub import Hub, Repo, hub_server

FILES = {
    "README.md": b"read me\n",
    "config.json": b"{}\n",
    "model.safetensors": bytes(range(256)) * 400,
    "onnx/model.onnx": b"o" * 500,
    "onnx/a b#c.txt": b"odd name\n",
}


@pytest.fixture
def hub(taker: Taker) -> Iterator[Hub]:
    """A hub with a model of two commits."""
    with hub_server() as made:
        repo = made.repos["models/acme/net"] = Repo()
        repo.refs["v1"] = repo.commit({**FILES, "config.json": b'{"old": 1}\n'})
        repo.commit(FILES)
        taker.env = {"HF_ENDPOINT": made.url, "HOME": str(taker.root)}
        yield made


def texts(path: Path) -> dict[str, bytes]:
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_a_whole_repository_is_what_the_client_of_the_hub_downloads(
    taker: Taker, hub: Hub, tmp_path: Path
) -> None:
    got, version = taker.take("huggingface", name="acme/net")
    assert texts(got) == FILES
    assert version == {"commit": hub.repos["models/acme/net"].refs["main"]}
    assert taker.seen[-1] == (sum(map(len, FILES.values())),) * 2
    program = (
        "from huggingface_hub import snapshot_download as s\n"
        f"s('acme/net', local_dir={str(tmp_path / 'theirs')!r}, revision='main')"
    )
    env = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
    subprocess.run([sys.executable, "-c", program], env=env, check=True, capture_output=True, timeout=120)
    theirs = {k: v for k, v in texts(tmp_path / "theirs").items() if not k.startswith(".cache/")}
    assert theirs == FILES


def test_only_what_is_named_is_fetched(taker: Taker, hub: Hub) -> None:
    got, _ = taker.take("huggingface", "a/x", name="acme/net", path="config.json", revision="v1")
    assert content(got) == '{"old": 1}\n'
    got, _ = taker.take("huggingface", "b/x", name="acme/net", path="onnx")
    assert texts(got) == {k.removeprefix("onnx/"): v for k, v in FILES.items() if k.startswith("onnx/")}
    hub.asked.clear()
    got, _ = taker.take("huggingface", "c/x", name="acme/net", files=("*.json", "onnx/*.txt"))
    assert sorted(texts(got)) == ["config.json", "onnx/a b#c.txt"]
    assert not [a for a in hub.asked if "safetensors" in a or ".onnx" in a]
    assert (
        "did you mean `config.json`" in taker.refused("huggingface", name="acme/net", path="konfig.json").help
    )
    assert "matches `*.bin`" in taker.refused("huggingface", name="acme/net", files=("*.bin",)).message


def test_a_commit_stays_what_it_is_and_long_listings_come_in_pages(taker: Taker, hub: Hub) -> None:
    repo = hub.repos["models/acme/net"]
    old = repo.refs["v1"]
    hub.page = 2
    got, version = taker.take("huggingface", version={"commit": old}, name="acme/net")
    assert texts(got)["config.json"] == b'{"old": 1}\n'
    assert len(texts(got)) == len(FILES)
    assert version == {"commit": old}
    asked = len(hub.asked)
    assert taker.open("huggingface", name="acme/net", revision=old).look(None).version == {"commit": old}
    assert len(hub.asked) == asked
    del repo.commits[old]
    said = taker.refused("huggingface", {"commit": old}, name="acme/net")
    assert isinstance(said, GoneError)
    assert "has no revision" in said.message


def test_data_sets_and_spaces_have_addresses_of_their_own(taker: Taker, hub: Hub) -> None:
    hub.repos["datasets/acme/rows"] = Repo()
    hub.repos["datasets/acme/rows"].commit({"data/train.csv": b"a\n1\n"})
    got, _ = taker.take("huggingface", name="acme/rows", type="dataset", path="data/train.csv")
    assert content(got) == "a\n1\n"
    said = taker.refused("huggingface", name="acme/rows")
    assert "there is no model acme/rows" in said.message
    assert 'type = "dataset"' in said.help


def test_private_and_gated_repositories(taker: Taker, hub: Hub) -> None:
    hub.repos["models/acme/net"].token = "hf_secret"
    said = taker.refused("huggingface", name="acme/net")
    assert "or it is private, and HF_TOKEN is not set" in said.message
    taker.env["HF_TOKEN"] = "hf_other"
    assert "or not with this token" in taker.refused("huggingface", name="acme/net").message
    taker.env["HF_TOKEN"] = "hf_secret"
    assert texts(taker.take("huggingface", name="acme/net")[0]) == FILES
    del taker.env["HF_TOKEN"]
    assert (
        "MY_TOKEN, which holds" in taker.refused("huggingface", name="acme/net", token="env:MY_TOKEN").message
    )
    taker.env["MY_TOKEN"] = "hf_secret"
    assert texts(taker.take("huggingface", "g/x", name="acme/net", token="env:MY_TOKEN")[0]) == FILES
    (taker.root / ".cache/huggingface").mkdir(parents=True)
    (taker.root / ".cache/huggingface/token").write_text("hf_secret\n")
    assert texts(taker.take("huggingface", "h/x", name="acme/net")[0]) == FILES
    (taker.root / ".cache/huggingface/token").unlink()
    hub.repos["models/acme/net"].gated = True
    said = taker.refused("huggingface", name="acme/net")
    assert "is gated" in said.message
    assert f"agree at {hub.url}/acme/net" in said.help


def test_what_is_cut_short_is_resumed_and_what_is_damaged_is_refused(taker: Taker, hub: Hub) -> None:
    big = os.urandom(9 << 20)
    repo = hub.repos["models/acme/big"] = Repo()
    repo.commit({"w.bin": big})
    hub.cut = 5 << 20
    got, _ = taker.take("huggingface", name="acme/big", path="w.bin")
    assert got.read_bytes() == big
    # It broke off, and went on where it broke.
    assert len([a for a in hub.asked if a.startswith("GET /cdn/")]) == 2
    hub.cut, hub.damaged = None, True
    said = taker.refused("huggingface", name="acme/net", path="config.json")
    assert "`config.json` of model acme/net came damaged" in said.message
    hub.damaged = False
    # Parts of the try before count.
    assert texts(taker.take("huggingface", "refused/x", name="acme/net")[0]) == FILES


def test_a_hub_that_is_away_or_is_none(taker: Taker, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "LONGEST", 0.0)
    taker.env["HF_ENDPOINT"] = "http://127.0.0.1:1"
    assert "it cannot be reached" in taker.refused("huggingface", name="acme/net").message
