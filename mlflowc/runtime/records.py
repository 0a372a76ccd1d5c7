"""What a stage's run left behind, as a value: the record that a key leads to."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from mlflowc.ir.model import Value
from mlflowc.runtime.hashing import hash_bytes, is_name

Number = int | float
Metrics = dict[str, dict[str, Number]]

_VERSION = 1


@dataclass(frozen=True, slots=True)
class OutputRecord:
    """One output: `kind` is `file` or `dir`, `hash` its content or its listing, `size` in bytes (of all
    files).
    """

    name: str
    path: str
    kind: str
    hash: str
    size: int
    executable: bool = False

    def same_content(self, other: OutputRecord) -> bool:
        """Whether both stand for the same thing at the same path."""
        return (self.path, self.kind, self.hash, self.executable) == (
            other.path,
            other.kind,
            other.hash,
            other.executable,
        )


@dataclass(frozen=True, slots=True)
class Record:
    """The result of one run of one stage.

    `components` are the parts of its key (see `mlflowc.runtime.keys`), `metrics` the numbers of each metrics
    output, `params` the values of the stage's parameters. `started` is in seconds since 1970, `seconds`
    the run's length. `log` is the hash of the kept log. `checked` names files and types: these files, read or
    written, were found to be of these types (see `mlflowc.runtime.checked`).
    """

    key: str
    stage: str
    components: dict[str, str]
    outputs: tuple[OutputRecord, ...]
    metrics: Metrics = field(default_factory=dict)
    params: dict[str, Value] = field(default_factory=dict)
    started: float = 0.0
    seconds: float = 0.0
    host: str = ""
    commit: str | None = None
    log: str | None = None
    tool: str = ""
    checked: tuple[str, ...] = ()

    def output(self, name: str) -> OutputRecord | None:
        """The output of that name."""
        return next((o for o in self.outputs if o.name == name), None)


def encode(record: Record) -> bytes:
    """The record as a file: a line with the hash of the rest, then JSON. Every byte is covered by the
    hash.
    """
    body = json.dumps(
        {
            "version": _VERSION,
            "key": record.key,
            "stage": record.stage,
            "components": record.components,
            "outputs": [
                {
                    "name": o.name,
                    "path": o.path,
                    "kind": o.kind,
                    "hash": o.hash,
                    "size": o.size,
                    "exec": o.executable,
                }
                for o in record.outputs
            ],
            "metrics": record.metrics,
            "params": record.params,
            "started": record.started,
            "seconds": record.seconds,
            "host": record.host,
            "commit": record.commit,
            "log": record.log,
            "tool": record.tool,
            **({"checked": record.checked} if record.checked else {}),
        },
        sort_keys=True,
        separators=(",", ":"),
    ).encode()
    return hash_bytes(body).encode() + b"\n" + body + b"\n"


def decode(data: bytes) -> Record:
    """The record that `encode` wrote. Raises `ValueError` for anything else, torn and changed files
    included.
    """
    head, _, body = data.partition(b"\n")
    body = body.removesuffix(b"\n")
    if head.decode("ascii", "replace") != hash_bytes(body):
        raise ValueError("the record is damaged")
    raw: dict[str, Any] = json.loads(body)
    if raw.get("version") != _VERSION:
        raise ValueError(f"a record of version {raw.get('version')}")
    if not all(map(is_name, [raw["key"], raw["log"] or "0", *(o["hash"] for o in raw["outputs"])])):
        raise ValueError("a hash in the record is none")
    return Record(
        key=raw["key"],
        stage=raw["stage"],
        components=raw["components"],
        outputs=tuple(
            OutputRecord(o["name"], o["path"], o["kind"], o["hash"], o["size"], o["exec"])
            for o in raw["outputs"]
        ),
        metrics=raw["metrics"],
        params=raw["params"],
        started=raw["started"],
        seconds=raw["seconds"],
        host=raw["host"],
        commit=raw["commit"],
        log=raw["log"],
        tool=raw["tool"],
        checked=tuple(raw.get("checked", ())),
    )
