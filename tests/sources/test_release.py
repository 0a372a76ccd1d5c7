"""`mlpipec release` and `mlpipec verify-model`, with git's own tags, GTO itself, and `deployed(…)`."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mlflowc.release import names, statement
from mlflowc.runtime.remotes import signing
from tests.sources.conftest import Taker, content
from tests.support.project import Checkout

PIPELINE = """\
mlpipe 1
pipeline churn
param train.lr: float = 0.1
data raw: csv = "raw.csv"
stage prepare {
  in  raw
  out clean: csv = "out/clean.csv"
  run = "sort {{raw}} > {{clean}}"
}
stage train {
  in    data = prepare.clean
  param train.lr
  out   model:  file                   = "out/model.txt"
  out   net:    dir                    = "out/net/"
  out   scores: metrics { auc: float } = "out/scores.json"
  run   = \"\"\"
  cat {{data}} > {{model}}; echo {{params.train.lr}} >> {{model}}
  mkdir -p {{net}}/a {{net}}/empty; cp {{model}} {{net}}/a/w.bin; echo more > {{net}}/b
  echo '{"auc": 0.9}' > {{scores}}
  \"\"\"
}
gate quality { require train.scores.auc >= 0.8 }
"""


@pytest.fixture
def project(tmp_path: Path) -> Checkout:
    """A repository whose results are up to date and whose lock is committed; its remote is a bare one."""
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(tmp_path / "remote.git")], check=True)
    (tmp_path / "churn").mkdir()
    made = Checkout(tmp_path / "churn")
    made.git("init", "-q", "-b", "main")
    made.git("remote", "add", "origin", str(tmp_path / "remote.git"))
    made.write({"pipeline.mlpipe": PIPELINE, "raw.csv": "id\n2\n1\n", ".gitignore": ".mlpipe/\nout/\n"})
    made.mlpipec("run")
    made.commit()
    made.git("push", "-q", "origin", "main")
    return made


def retrain(project: Checkout, before: str, after: str) -> None:
    """Another learning rate, trained and committed."""
    project.replace("pipeline.mlpipe", f"float = {before}", f"float = {after}")
    project.mlpipec("run")
    project.commit()


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A signing key in the environment; its public text."""
    secret, public = signing.new()
    monkeypatch.setenv(signing.VARIABLE, secret)
    return public


def test_a_release_is_a_tag_with_a_card_and_a_statement(project: Checkout) -> None:
    done = project.mlpipec("release", "train.model", "--bump", "minor", "--stage", "prod")
    head = project.git("rev-parse", "HEAD").strip()
    assert f"model v0.1.0 at {head[:9]}" in done.out and "not signed" in done.out
    assert project.git("tag").split() == ["model#prod#1", "model@v0.1.0"]
    assert project.git("cat-file", "-t", "model@v0.1.0").strip() == "tag", "annotated"
    assert project.git("rev-parse", "model#prod#1^{}").strip() == head
    assert project.git("status", "--short") == "", "what it writes is no part of the repository"
    card = project.read("mlpipe-releases/model-v0.1.0/MODEL_CARD.md")
    for words in ("| `train.scores.auc` | 0.9 |", "| `train.lr` | `0.1` |", "holds", "`raw.csv`", head):
        assert words in card
    raw = json.loads(project.read("mlpipe-releases/model-v0.1.0/provenance.intoto.json"))
    assert raw["_type"] == "https://in-toto.io/Statement/v1"
    assert raw["predicateType"] == "https://slsa.dev/provenance/v1"
    (subject,) = raw["subject"]
    sums = subprocess.run(["sha256sum", str(project.path / "out/model.txt")], capture_output=True, text=True)
    assert (subject["name"], subject["digest"]["sha256"]) == ("out/model.txt", sums.stdout.split()[0])
    definition = raw["predicate"]["buildDefinition"]
    assert definition["externalParameters"]["params"] == {"train.lr": 0.1}
    assert definition["resolvedDependencies"][0]["digest"] == {"gitCommit": head}
    assert {"prepare.clean", "raw.csv"} <= {m["name"] for m in definition["resolvedDependencies"]}
    assert raw["predicate"]["mlpipe_gates"][0]["holds"] is True
    message = project.git("tag", "-l", "--format=%(contents)", "model@v0.1.0")
    assert "train.scores.auc 0.9" in message and subject["digest"]["sha256"] in message

    told = project.mlpipec("verify-model", "out/model.txt")
    assert "out/model.txt is model@v0.1.0" in told.out


def test_versions_go_on_and_stages_count(project: Checkout) -> None:
    project.mlpipec("release", "train.model")
    again = project.mlpipec("release", "train.model", code=1)
    assert "this commit is model v0.0.1 already" in again.err
    project.mlpipec("release", "train.model", "--stage", "dev")
    retrain(project, "0.1", "0.2")
    project.mlpipec("release", "train.model", "--bump", "major", "--stage", "prod")
    project.mlpipec("release", "train.model", "--version", "v0.0.1", "--stage", "prod")
    found = project.git("tag").split()
    assert found == ["model#dev#1", "model#prod#2", "model#prod#3", "model@v0.0.1", "model@v1.0.0"]
    assert project.git("rev-parse", "model#prod#3^{}") == project.git("rev-parse", "model@v0.0.1^{}")
    taken = project.mlpipec("release", "train.model", "--version", "1.0.0", code=1)
    assert "`model@v1.0.0` is registered already" in taken.err


def test_versions() -> None:
    assert names.bumped(None, "patch") == "v0.0.1"
    assert names.bumped("v1.2.3", "minor") == "v1.3.0"
    assert names.bumped("v1.2.3", "major") == "v2.0.0"
    assert names.bumped("v1.2.0-rc.1", "patch") == "v1.2.0"
    assert names.bumped("v1.2.3+build.7", "patch") == "v1.2.4"


# --- what is not what the commit says ---------------------------------------------------------------


def refused(project: Checkout, *words: str) -> str:
    """What is said; no tag was made."""
    done = project.mlpipec("release", "train.model", *words, code=1)
    assert project.git("tag") == ""
    return done.err


def test_a_changed_file_is_no_release(project: Checkout) -> None:
    project.write({"raw.csv": "id\n3\n"})
    assert "not as the commit has them: raw.csv" in refused(project)


def test_a_lock_that_is_not_committed_is_no_release(project: Checkout) -> None:
    project.git("rm", "-q", "--cached", "mlpipe.lock")
    project.git("commit", "-q", "-m", "no lock")
    assert "the commit has no `mlpipe.lock`" in refused(project)


def test_a_stale_lock_is_no_release(project: Checkout) -> None:
    project.replace("pipeline.mlpipe", "float = 0.1", "float = 0.3")
    project.commit()
    said = refused(project)
    assert "`mlpipe.lock` does not belong to the commit's files: train: " in said


def test_a_result_that_was_changed_is_no_release(project: Checkout) -> None:
    path = project.path / "out/model.txt"
    path.chmod(0o644)
    path.unlink()
    path.write_text("better\n")
    assert "`out/model.txt` is not what `mlpipe.lock` says" in refused(project)


def test_a_result_that_is_only_in_the_cache_is_released_and_one_that_is_nowhere_is_not(
    project: Checkout, tmp_path: Path
) -> None:
    (project.path / "out/model.txt").unlink()
    project.mlpipec("release", "train.model", "-n")
    clone = project.clone(tmp_path / "clone")
    said = clone.mlpipec("release", "train.model", code=1).err
    assert "`out/model.txt` is not here, and not in the cache" in said


def test_a_gate_that_does_not_hold_is_no_release_unless_it_is_said(project: Checkout) -> None:
    project.replace("pipeline.mlpipe", ">= 0.8", ">= 0.95")
    project.commit()
    assert "gate `quality`: not all requirements hold" in refused(project)
    project.mlpipec("release", "train.model", "--despite-gates")
    assert "**does not hold**" in project.read("mlpipe-releases/model-v0.0.1/MODEL_CARD.md")


def test_a_name_of_something_else_is_refused(project: Checkout) -> None:
    project.mlpipec("release", "train.model")
    said = project.mlpipec("release", "train.net", "--name", "model", "--version", "v2.0.0", code=1).err
    assert "this commit is model v0.0.1 already" in said
    retrain(project, "0.1", "0.2")
    said = project.mlpipec("release", "train.net", "--name", "model", code=1).err
    assert "the artifact `model` is `train.model` of the pipeline `churn`" in said
    assert "did you mean `train.model`?" in project.mlpipec("release", "train.modle", code=2).err
    assert "is no version" in project.mlpipec("release", "train.model", "--version", "1.2", code=2).err


def test_inputs_that_the_commit_lacks_are_named(project: Checkout) -> None:
    project.git("rm", "-q", "--cached", "raw.csv")
    project.write({".gitignore": ".mlpipe/\nout/\nraw.csv\n"})
    project.commit()
    project.mlpipec("release", "train.model")
    card = project.read("mlpipe-releases/model-v0.0.1/MODEL_CARD.md")
    assert "Not in the commit, so to be had elsewhere: `raw.csv`." in card


# --- pushing -----------------------------------------------------------------------------------------


def test_tags_are_pushed_together_and_counted_with_the_remotes(project: Checkout, tmp_path: Path) -> None:
    project.mlpipec("release", "train.model", "--stage", "prod", "--push")
    bare = Checkout(tmp_path / "remote.git")
    assert bare.git("tag").split() == ["model#prod#1", "model@v0.0.1"]
    # Another checkout does not have these tags, and goes on from them all the same.
    other = Checkout(tmp_path / "other")
    subprocess.run(["git", "clone", "-q", "--no-tags", bare.path, other.path], check=True)
    other.mlpipec("run")
    retrain(other, "0.1", "0.2")
    other.mlpipec("release", "train.model", "--stage", "prod", "--push")
    assert bare.git("tag").split() == ["model#prod#1", "model#prod#2", "model@v0.0.1", "model@v0.0.2"]
    # What cannot be pushed leaves nothing behind.
    retrain(other, "0.2", "0.3")
    hook = bare.path / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    said = other.mlpipec("release", "train.model", "--push", code=1).err
    assert "the tags could not be pushed, and are taken back" in said
    assert "model@v0.0.3" not in other.git("tag")


# --- with GTO and `deployed` -------------------------------------------------------------------------


def test_gto_and_deployed_say_the_same(project: Checkout, dvc: Path) -> None:
    gto = dvc.with_name("gto")

    def shown() -> Any:
        done = subprocess.run([gto, "show", "--json"], cwd=project.path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["model"]

    project.mlpipec("release", "train.model", "--version", "v1.2.0", "--stage", "prod")
    assert shown()["version"] == "v1.2.0" and shown()["stage"] == {"prod": "v1.2.0"}
    first = project.read("out/model.txt")
    retrain(project, "0.1", "0.2")
    project.mlpipec("release", "train.model", "--bump", "minor", "--stage", "dev")
    assert shown()["version"] == "v1.3.0" and shown()["stage"] == {"dev": "v1.3.0", "prod": "v1.2.0"}
    taker = Taker(project.path)
    args = {"name": "model", "stage": "prod", "output": "train.model"}
    got, version = taker.take("deployed", **args)
    assert content(got) == first and version["version"] == "v1.2.0" and version["tag"] == "model#prod#1"
    # What GTO writes, we go on from; and what we write, GTO.
    env = {**os.environ, "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org"}
    env |= {"GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org"}
    subprocess.run(
        [gto, "assign", "model", "--version", "v1.3.0", "--stage", "prod"],
        cwd=project.path,
        env=env,
        check=True,
        capture_output=True,
    )
    assert "model#prod#3" in project.git("tag").split()
    retrain(project, "0.2", "0.3")
    project.mlpipec("release", "train.model", "--stage", "prod")
    assert {"model@v1.3.1", "model#prod#4"} <= set(project.git("tag").split())
    assert taker.open("deployed", **args).look(None).version["version"] == "v1.3.1"
    told = project.mlpipec("verify-model", "out/model.txt", "--release", "model#prod")
    assert "out/model.txt is model@v1.3.1" in told.out
    none = project.mlpipec("verify-model", "out/model.txt", "--release", "model#staging", code=1)
    assert "no release of `model` is in stage `staging` here" in none.err


# --- checking a file ---------------------------------------------------------------------------------


def checks(project: Checkout, *arguments: str) -> dict[str, tuple[bool | None, str]]:
    """What each question came to, by the JSON; the exit code agrees with it."""
    done = project.mlpipec("verify-model", *arguments, "--json", code=None)
    said = json.loads(done.out)
    assert done.code == (0 if said["ok"] else 1)
    assert said["ok"] == all(c["ok"] is not False for c in said["checks"])
    return {c["question"]: (c["ok"], c["words"]) for c in said["checks"]}


def failed(found: dict[str, tuple[bool | None, str]]) -> dict[str, str]:
    """The questions that were answered with no."""
    return {question: words for question, (ok, words) in found.items() if ok is False}


def test_an_altered_file(project: Checkout) -> None:
    project.mlpipec("release", "train.model", "--version", "v1.0.0")
    project.write({"got.txt": project.read("out/model.txt")})
    assert failed(checks(project, "got.txt")) == {}
    project.write({"got.txt": project.read("out/model.txt") + "\n"})
    found = failed(checks(project, "got.txt", "--release", "model@v1.0.0"))
    assert set(found) == {"file", "lock"}
    assert re.match("its sha256 is [0-9a-f]{64}, and that of model v1.0.0 is [0-9a-f]{64}", found["file"])
    assert "names another content" in found["lock"]
    assert "none of 1 releases is sha256" in failed(checks(project, "got.txt"))["file"]
    human = project.mlpipec("verify-model", "got.txt", "--release", "model@v1.0.0", code=1)
    assert "error: `got.txt` is not what `model@v1.0.0` says" in human.err


def test_a_folder(project: Checkout, tmp_path: Path) -> None:
    project.mlpipec("release", "train.net", "--version", "v1.0.0")
    assert failed(checks(project, "out/net", "--release", "net@v1.0.0")) == {}
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", project.path / "out/net", copy], check=True)
    subprocess.run(["chmod", "-R", "u+w", copy], check=True)
    assert failed(checks(project, str(copy))) == {}
    (copy / "b").rename(copy / "c")
    assert "named differently" in failed(checks(project, str(copy)))["file"]
    (copy / "c").write_text("less")
    assert "is no file of net v1.0.0" in failed(checks(project, str(copy), "--release", "net@v1.0.0"))["file"]
    (copy / "c").unlink()
    found = failed(checks(project, str(copy), "--release", "net@v1.0.0"))
    assert "`out/net/b` of net v1.0.0 is not among the files" in found["file"]


def test_signatures(project: Checkout, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    project.mlpipec("release", "train.model", "--version", "v1.0.0")
    monkeypatch.delenv(signing.VARIABLE)
    file = ("out/model.txt", "--release", "model@v1.0.0")
    assert checks(project, *file, "--key", key)["signature"] == (True, f"signed by {key}")
    assert checks(project, *file)["signature"][0] is None, "nobody said that the key is good"
    other = signing.new()[1]
    assert "no key that was asked for" in failed(checks(project, *file, "--key", other))["signature"]
    assert "is no public key" in project.mlpipec("verify-model", *file, "--key", "abc", code=2).err
    assert "no key is known" in project.mlpipec("verify-model", *file, "--signed", code=2).err

    # The keys of the `cache` block count where nothing else is said.
    project.write({"pipeline.mlpipe": PIPELINE + f'cache {{ remote = "../shared", keys = ["{key}"] }}\n'})
    assert checks(project, *file, "--signed")["signature"][0] is True
    project.git("checkout", "-q", "pipeline.mlpipe")

    # Not signed, though it has to be.
    retrain(project, "0.1", "0.2")
    project.mlpipec("release", "train.model", "--version", "v1.1.0")
    found = failed(checks(project, "out/model.txt", "--release", "model@v1.1.0", "--key", key))
    assert found == {"signature": "the statement is not signed"}


def test_an_altered_statement(project: Checkout, key: str, tmp_path: Path) -> None:
    project.mlpipec("release", "train.model", "--version", "v1.0.0")
    path = project.path / "mlpipe-releases/model-v1.0.0/provenance.intoto.json"
    envelope = json.loads(path.read_text())
    payload = base64.b64decode(envelope["payload"]).decode()
    other = tmp_path / "other.json"

    def put(text: str, **more: Any) -> tuple[str, ...]:
        other.write_text(
            json.dumps({**envelope, "payload": base64.b64encode(text.encode()).decode(), **more})
        )
        return ("out/model.txt", "--statement", str(other), "--key", key)

    assert failed(checks(project, *put(payload))) == {}
    changed = payload.replace('"auc":0.9', '"auc":0.99')
    assert changed != payload
    wrong = "the signature is wrong: the statement was changed after it was signed"
    assert failed(checks(project, *put(changed))) == {"signature": wrong}
    assert failed(checks(project, *put(changed, signatures=[]))) == {
        "signature": "the statement is not signed"
    }
    assert "signature is wrong" in failed(checks(project, *put(changed)[:3]))["signature"], (
        "without a key, too"
    )
    evil = payload.replace(project.git("rev-parse", "HEAD").strip(), "--output=x")
    assert "a part is missing" in failed(checks(project, *put(evil)))["statement"]
    found = failed(checks(project, *put("[]")))
    assert "its payload is no JSON object" in found["statement"]
    other.write_text("{}")
    found = failed(checks(project, "out/model.txt", "--statement", str(other)))
    assert "no in-toto statement" in found["statement"]


def test_a_statement_of_another_model(project: Checkout) -> None:
    project.mlpipec("release", "train.model", "--version", "v1.0.0")
    first = project.read("mlpipe-releases/model-v1.0.0/provenance.intoto.json")
    message = project.git("tag", "-l", "--format=%(contents)", "model@v1.0.0")
    retrain(project, "0.1", "0.2")
    project.write({"first.json": first})
    found = failed(checks(project, "out/model.txt", "--statement", "first.json", "--release", "model@v1.1.0"))
    assert set(found) == {"file", "release", "lock"}
    assert "the statement is that of `model@v1.0.0`" in found["release"]
    # A tag of another name with the message of the first.
    project.git("tag", "-a", "--cleanup=verbatim", "-m", message, "model@v1.1.0")
    found = failed(checks(project, "out/model.txt", "--release", "model@v1.1.0"))
    assert set(found) == {"file", "release", "lock"}


def test_a_tag_that_was_moved(project: Checkout) -> None:
    project.mlpipec("release", "train.model", "--version", "v1.0.0")
    message = project.git("tag", "-l", "--format=%(contents)", "model@v1.0.0")
    project.git("commit", "-q", "--allow-empty", "-m", "later")
    project.git("tag", "-f", "-a", "--cleanup=verbatim", "-m", message, "model@v1.0.0")
    found = failed(checks(project, "out/model.txt", "--release", "model@v1.0.0"))
    assert set(found) == {"commit"} and found["commit"].endswith("the tag was moved")
    # Over a damaged message, or none: no statement at all.
    half = message.replace("-----END MLPIPE PROVENANCE-----", "")
    project.git("tag", "-f", "-a", "--cleanup=verbatim", "-m", half, "model@v1.0.0")
    assert (
        "it is damaged" in failed(checks(project, "out/model.txt", "--release", "model@v1.0.0"))["statement"]
    )
    project.git("tag", "-f", "-a", "-m", "by hand", "model@v1.0.0")
    said = project.mlpipec("verify-model", "out/model.txt", "--release", "model@v1.0.0", code=1).err
    assert "the tag `model@v1.0.0` holds no statement" in said
    said = project.mlpipec("verify-model", "out/model.txt", "--release", "model@v9.0.0", code=1).err
    assert "there is no release `model@v9.0.0` here" in said


def test_a_commit_that_is_not_here_and_no_repository(project: Checkout, tmp_path: Path) -> None:
    project.mlpipec("release", "train.model", "--version", "v1.0.0")
    text = project.read("mlpipe-releases/model-v1.0.0/provenance.intoto.json")
    head = project.git("rev-parse", "HEAD").strip()
    project.write({"other.json": text.replace(head, "1f" * 20)})
    found = failed(checks(project, "out/model.txt", "--statement", "other.json"))
    assert found["commit"] == "this repository has no commit 1f1f1f1f1f1f" and "lock" in found
    away = Checkout(tmp_path / "away")
    away.write({"model.txt": project.read("out/model.txt"), "s.json": text})
    assert failed(checks(away, "model.txt", "--statement", "s.json", "--alone")) == {}
    assert "this is no git repository" in away.mlpipec("verify-model", "model.txt", code=1).err


def test_a_project_in_a_folder_of_the_repository(project: Checkout) -> None:
    inner = Checkout(project.path / "inner")
    inner.path.mkdir()
    for name in ("pipeline.mlpipe", "raw.csv", "mlpipe.lock", ".gitignore"):
        project.git("mv", name, f"inner/{name}")
    inner.mlpipec("run")
    project.write({".gitignore": ".mlpipe/\nout/\nmlpipe-releases/\n"})
    project.commit()
    inner.mlpipec("release", "train.model", "--version", "v1.0.0")
    assert failed(checks(inner, "out/model.txt", "--release", "model@v1.0.0")) == {}
    assert failed(checks(project, "inner/out/model.txt", "--release", "model@v1.0.0")) == {}


def test_others_read_what_is_written(project: Checkout, key: str) -> None:
    """The envelope is checked by securesystemslib, the statement by the in-toto project's own bindings."""
    from google.protobuf import json_format
    from in_toto_attestation.v1 import statement as in_toto
    from in_toto_attestation.v1 import statement_pb2
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import SSlibKey

    project.mlpipec("release", "train.model", "--version", "v1.0.0")
    raw = json.loads(project.read("mlpipe-releases/model-v1.0.0/provenance.intoto.json"))
    envelope = Envelope.from_dict(raw)
    public = base64.b64decode(key.partition(":")[2]).hex()
    known = SSlibKey(key, "ed25519", "ed25519", {"public": public})
    assert set(envelope.verify([known], threshold=1)) == {key}
    parsed = json_format.Parse(envelope.payload, statement_pb2.Statement())
    in_toto.Statement.copy_from_pb(parsed).validate()


def test_the_envelope_is_that_of_dsse(key: str) -> None:
    """What is signed is DSSE's own encoding, with a key in its own form: others check it without us."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    assert statement.pae(b"hello") == b"DSSEv1 28 application/vnd.in-toto+json 5 hello"
    signer = signing.signer()
    assert signer
    encoded = statement.pae(b"{}")
    made = base64.b64decode(signer.sign_envelope(encoded))
    Ed25519PublicKey.from_public_bytes(base64.b64decode(key.partition(":")[2])).verify(made, encoded)
    assert not signing.verifies(key, base64.b64encode(made).decode(), "trusted", "k", b"{}")
