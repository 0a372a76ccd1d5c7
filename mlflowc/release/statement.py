"""Where a release comes from: an in-toto statement with SLSA provenance, signed in a DSSE envelope.

    https://in-toto.io/Statement/v1, https://slsa.dev/provenance/v1,
    https://github.com/secure-systems-lab/dsse

A file holds either the statement itself or an envelope around it; both are JSON on one line.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from mlflowc.frozen import dataclass

TYPE = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
PAYLOAD = "application/vnd.in-toto+json"
BUILD = "urn:mlpipe:stage:1"
BUILDER = "urn:mlpipe:builder:1"
# What an artifact is called, which no standard field says.
RELEASE, METRICS, GATES = "mlpipe_release", "mlpipe_metrics", "mlpipe_gates"

Json = dict[str, Any]


class BadStatementError(ValueError):
    """The bytes are no statement that can be read; says why."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A file that is released: its path as the pipeline has it, and its hashes (64 hex digits each)."""

    name: str
    sha256: str
    blake3: str
    size: int


@dataclass(frozen=True, slots=True)
class Origin:
    """What made it. `stage` and `output` name it in the pipeline `file` of `folder` (of the repository);
    `whole` is the hash that the lock has for the output. `materials`, `byproducts` are resource descriptors.
    `started` and `finished` are in ISO 8601, empty where no record tells.
    """

    pipeline: str
    folder: str
    file: str
    stage: str
    output: str
    whole: str
    key: str
    commit: str
    repository: str
    params: Json
    materials: tuple[Json, ...]
    byproducts: tuple[Json, ...]
    tool: str
    started: str = ""
    finished: str = ""


def make(
    subjects: tuple[Subject, ...], origin: Origin, release: Json, metrics: Json, gates: list[Json]
) -> Json:
    """The statement as JSON."""
    times = {"startedOn": origin.started, "finishedOn": origin.finished}
    source: Json = {"name": "source", "digest": {"gitCommit": origin.commit}}
    if origin.repository:
        source["uri"] = f"git+{origin.repository}@{origin.commit}"
    return {
        "_type": TYPE,
        "subject": [{"name": s.name, "digest": {"sha256": s.sha256, "blake3": s.blake3}} for s in subjects],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD,
                "externalParameters": {
                    "pipeline": origin.pipeline,
                    "folder": origin.folder,
                    "file": origin.file,
                    "stage": origin.stage,
                    "output": origin.output,
                    "params": origin.params,
                },
                "internalParameters": {"key": origin.key, "output": {"blake3": origin.whole}},
                "resolvedDependencies": [source, *origin.materials],
            },
            "runDetails": {
                "builder": {"id": BUILDER, "version": {"mlpipec": origin.tool}},
                "metadata": {"invocationId": origin.key, **{k: v for k, v in times.items() if v}},
                "byproducts": list(origin.byproducts),
            },
            RELEASE: release,
            METRICS: metrics,
            GATES: gates,
        },
    }


# --- as bytes


class Envelope(NamedTuple):
    """A statement, its bytes, and the signatures over them: key ids to Base64. `data` is the whole file."""

    statement: Json
    payload: bytes
    signatures: tuple[tuple[str, str], ...]
    data: bytes

    @property
    def digest(self) -> str:
        """The SHA-256 of the file."""
        return hashlib.sha256(self.data).hexdigest()


def encode(statement: Json, sign: Callable[[bytes], tuple[str, str]] | None) -> bytes:
    """The statement as a file; `sign` gives the id of a key and its signature (Base64) of the bytes."""
    payload = json.dumps(statement, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    if sign is None:
        return payload + b"\n"
    key, signature = sign(pae(payload))
    envelope = {
        "payloadType": PAYLOAD,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": key, "sig": signature}],
    }
    return json.dumps(envelope, separators=(",", ":")).encode() + b"\n"


def pae(payload: bytes) -> bytes:
    """What is signed: DSSE's encoding of the type and the bytes."""
    kind = PAYLOAD.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def decode(data: bytes) -> Envelope:
    """What `encode` wrote, or others who keep to the same standards. Raises `BadStatementError`."""
    raw = _object(data, "no JSON object")
    signatures: list[tuple[str, str]] = []
    payload = data
    if "payloadType" in raw:
        if raw["payloadType"] != PAYLOAD or not isinstance(raw.get("payload"), str):
            raise BadStatementError(f"an envelope around something else than {PAYLOAD}")
        try:
            payload = base64.b64decode(raw["payload"], validate=True)
        except (binascii.Error, ValueError):
            raise BadStatementError("its payload is not Base64") from None
        listed = raw.get("signatures")
        rows = [r for r in listed if isinstance(r, dict)] if isinstance(listed, list) else []
        signatures = [(str(r.get("keyid") or ""), r["sig"]) for r in rows if isinstance(r.get("sig"), str)]
        raw = _object(payload, "its payload is no JSON object")
    if raw.get("_type") != TYPE or raw.get("predicateType") != PREDICATE:
        raise BadStatementError("no in-toto statement with SLSA provenance")
    if not subjects(raw) or not _ours(raw):
        raise BadStatementError("no statement of `mlpipec release`: a part is missing")
    return Envelope(raw, payload, tuple(signatures), data)


def _object(data: bytes, words: str) -> Json:
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError):
        raise BadStatementError(words) from None
    if not isinstance(raw, dict):
        raise BadStatementError(words)
    return raw


def _ours(raw: Json) -> bool:
    said = Said.of(raw)
    # It goes to git as a name of a commit: nothing else may stand there.
    return bool(
        re.fullmatch(r"[0-9a-f]{40,64}", said.commit)
        and said.stage
        and said.output
        and said.whole
        and said.tag
    )


# --- what it says


class Said(NamedTuple):
    """The parts of a statement that are held against something else; "" where one is missing."""

    tag: str
    artifact: str
    version: str
    commit: str
    folder: str
    stage: str
    output: str
    whole: str
    pipeline: str

    @classmethod
    def of(cls, raw: Json) -> Said:
        """Those of a statement."""
        release = _at(raw, "predicate", RELEASE)
        outer = _at(raw, "predicate", "buildDefinition", "externalParameters")
        inner = _at(raw, "predicate", "buildDefinition", "internalParameters", "output")
        definition = _at(raw, "predicate", "buildDefinition")
        listed = definition.get("resolvedDependencies")
        rows = [r for r in listed if isinstance(r, dict)] if isinstance(listed, list) else []
        commits = [c for r in rows if isinstance(c := _at(r, "digest").get("gitCommit"), str)]
        return cls(
            _text(release, "tag"),
            _text(release, "artifact"),
            _text(release, "version"),
            commits[0] if commits else "",
            _text(outer, "folder"),
            _text(outer, "stage"),
            _text(outer, "output"),
            _text(inner, "blake3"),
            _text(outer, "pipeline"),
        )


def subjects(raw: Json) -> list[Subject]:
    """The files that it is about; those without a SHA-256 are left out."""
    listed = raw.get("subject")
    found = []
    for row in listed if isinstance(listed, list) else []:
        if isinstance(row, dict):
            digest = _at(row, "digest")
            if _text(digest, "sha256"):
                found.append(Subject(_text(row, "name"), _text(digest, "sha256"), _text(digest, "blake3"), 0))
    return found


def _at(raw: Json, *path: str) -> Json:
    for name in path:
        inner = raw.get(name)
        if not isinstance(inner, dict):
            return {}
        raw = inner
    return raw


def _text(raw: Json, name: str) -> str:
    value = raw.get(name)
    return value if isinstance(value, str) else ""
