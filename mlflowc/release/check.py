"""Is this file what a release says? Every question on its own, so that the answer names what does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mlflowc.errors import Failure
from mlflowc.release.files import Measured
from mlflowc.release.statement import Envelope, Said, pae, subjects
from mlflowc.release.tags import Tags
from mlflowc.runtime.lockfile import NAME, LockFile
from mlflowc.runtime.remotes import signing


class Answer(NamedTuple):
    """`ok` is None where the question was not asked."""

    question: str
    ok: bool | None
    words: str


def matches(measured: Measured, envelope: Envelope) -> bool:
    """Whether the files are exactly those of the statement."""
    return sorted(s.sha256 for s in measured.subjects) == sorted(
        s.sha256 for s in subjects(envelope.statement)
    )


def file(measured: Measured, envelope: Envelope) -> Answer:
    """Whether the bytes are those that the statement names, by both hashes."""
    said = Said.of(envelope.statement)
    what = f"{said.artifact} {said.version}"
    known = subjects(envelope.statement)
    if not matches(measured, envelope):
        return Answer("file", False, _difference(measured, envelope, what))
    ours = {s.sha256: s.blake3 for s in measured.subjects}
    wrong = [s.name for s in known if s.blake3 and s.blake3 != ours.get(s.sha256)]
    if wrong:
        return Answer("file", False, f"the statement's two hashes of `{wrong[0]}` are of different files")
    if measured.whole != said.whole:
        return Answer("file", False, f"the files are those of {what}, and lie or are named differently")
    return Answer("file", True, f"it is `{said.stage}.{said.output}` of {what}: sha256 {_short(measured)}")


def _difference(measured: Measured, envelope: Envelope, what: str) -> str:
    known = subjects(envelope.statement)
    if measured.kind == "file" and len(known) == 1:
        return f"its sha256 is {measured.subjects[0].sha256}, and that of {what} is {known[0].sha256}"
    theirs = {s.sha256 for s in known}
    ours = {s.sha256 for s in measured.subjects}
    odd = next((s.name for s in measured.subjects if s.sha256 not in theirs), "")
    if odd:
        return f"`{odd}` is no file of {what}"
    absent = next((s.name for s in known if s.sha256 not in ours), "")
    return (
        f"`{absent}` of {what} is not among the files"
        if absent
        else f"a file of {what} is here twice or missing"
    )


def _short(measured: Measured) -> str:
    return measured.subjects[0].sha256 if measured.kind == "file" else f"of {len(measured.subjects)} files"


def signature(envelope: Envelope, keys: Sequence[str], required: bool) -> Answer:
    """Whether one of `keys` signed the statement; a wrong signature by one of them is never good."""
    signed = [(k, s) for k, s in envelope.signatures if k in keys]
    message = pae(envelope.payload)
    if any(not signing.verifies_envelope(k, s, message) for k, s in signed):
        return Answer(
            "signature", False, "the signature is wrong: the statement was changed after it was signed"
        )
    if signed:
        return Answer("signature", True, f"signed by {signed[0][0]}")
    if envelope.signatures:
        who = envelope.signatures[0][0]
        words = f"signed by {who}, which is no key that was asked for"
        if required or keys:
            return Answer("signature", False, words)
        good = all(signing.verifies_envelope(k, s, message) for k, s in envelope.signatures)
        if not good:
            return Answer(
                "signature", False, "the signature is wrong: the statement was changed after it was signed"
            )
        return Answer("signature", None, f"signed by {who}; nobody said whether that key is good (--key)")
    if required:
        return Answer("signature", False, "the statement is not signed")
    return Answer("signature", None, "the statement is not signed, and no key was asked for")


def release(envelope: Envelope, tag: str) -> Answer:
    """Whether the statement is that of the tag."""
    said = Said.of(envelope.statement)
    if said.tag != tag:
        return Answer("release", False, f"the statement is that of `{said.tag}`, and `{tag}` was asked for")
    return Answer("release", True, f"`{tag}` of the pipeline `{said.pipeline}`")


def commit(envelope: Envelope, tags: Tags) -> Answer:
    """Whether the statement's commit is here, and the tag still leads to it."""
    said = Said.of(envelope.statement)
    if tags.commit(said.commit) != said.commit:
        return Answer("commit", False, f"this repository has no commit {said.commit[:12]}")
    target = tags.commit(f"refs/tags/{said.tag}")
    if target is None:
        return Answer(
            "commit", False, f"this repository has no tag `{said.tag}`: `git fetch --tags` brings it"
        )
    if target != said.commit:
        words = f"the tag `{said.tag}` leads to {target[:12]}, and the statement is of {said.commit[:12]}"
        return Answer("commit", False, f"{words}: the tag was moved")
    return Answer("commit", True, f"{said.commit[:12]}, where `{said.tag}` is")


def lock(measured: Measured, envelope: Envelope, tags: Tags) -> Answer:
    """Whether the lock of that commit names this very content."""
    said = Said.of(envelope.statement)
    path = f"{said.folder}/{NAME}" if said.folder else NAME
    data = tags.content(said.commit, path)
    if data is None:
        return Answer("lock", False, f"commit {said.commit[:12]} has no `{path}`")
    try:
        entry = LockFile.parse(data.decode("utf-8", "replace"), path).stage(said.stage)
    except Failure as e:
        return Answer("lock", False, f"`{path}` of that commit cannot be read: {e.message}")
    made = entry.output(said.output) if entry else None
    if made is None:
        return Answer("lock", False, f"`{path}` of that commit has no `{said.stage}.{said.output}`")
    if made.hash != measured.whole:
        return Answer(
            "lock",
            False,
            f"`{path}` of that commit names another content: {made.hash[:12]}, not {measured.whole[:12]}",
        )
    return Answer("lock", True, f"`{path}` of that commit names this content")
