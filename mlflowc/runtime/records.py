"""What a stage's run left behind, as a value: the record that a key leads to."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from mlflowc.frozen import dataclass, field
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
            "outputs": [_raw(o) for o in record.outputs],
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
    if not _sound(raw):
        raise ValueError("makes no sense")
    return Record(
        key=raw["key"],
        stage=raw["stage"],
        components=raw["components"],
        outputs=tuple(map(_output, raw["outputs"])),
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


class Made(NamedTuple):
    """What came out of one run: the part of a record that is its own, whatever others have the same key."""

    outputs: tuple[OutputRecord, ...]
    metrics: Metrics
    params: dict[str, Value]


def made_text(outputs: Iterable[OutputRecord], metrics: Metrics, params: Mapping[str, Value]) -> str:
    """As JSON, for the history."""
    raw = {"outputs": [_raw(o) for o in outputs], "metrics": metrics, "params": dict(params)}
    return json.dumps(raw, sort_keys=True, separators=(",", ":"))


def made(text: str | None) -> Made | None:
    """What `made_text` wrote; None where that is not it."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        raw = json.loads(text or "")
        if all(map(_sound_output, raw["outputs"])):
            return Made(tuple(map(_output, raw["outputs"])), dict(raw["metrics"]), dict(raw["params"]))
    return None


def _raw(output: OutputRecord) -> dict[str, Any]:
    return {
        "name": output.name,
        "path": output.path,
        "kind": output.kind,
        "hash": output.hash,
        "size": output.size,
        "exec": output.executable,
    }


def _output(raw: Any) -> OutputRecord:
    return OutputRecord(raw["name"], raw["path"], raw["kind"], raw["hash"], raw["size"], raw["exec"])


def _sound(raw: Any) -> bool:
    """Whether it is what `encode` writes, down to the type of every value: it may come from anywhere."""
    outputs, numbers, commit, log = raw["outputs"], raw["metrics"], raw["commit"], raw["log"]
    return (
        is_name(raw["key"])
        and _texts(raw, "stage", "host", "tool")
        and isinstance(outputs, list)
        and all(map(_sound_output, outputs))
        and isinstance(raw["components"], dict)
        and all(isinstance(text, str) for text in raw["components"].values())
        and isinstance(numbers, dict)
        and all(isinstance(m, dict) and all(map(_is_number, m.values())) for m in numbers.values())
        and isinstance(raw["params"], dict)
        and _is_number(raw["started"])
        and _is_number(raw["seconds"])
        and (commit is None or isinstance(commit, str))
        and (log is None or is_name(log))
        and all(isinstance(c, str) for c in raw.get("checked", ()))
    )


def _sound_output(raw: Any) -> bool:
    return (
        _texts(raw, "name", "path", "kind")
        and is_name(raw["hash"])
        and isinstance(raw["size"], int)
        and isinstance(raw["exec"], bool)
    )


def _texts(raw: Any, *names: str) -> bool:
    return all(isinstance(raw[name], str) for name in names)


def _is_number(value: object) -> bool:
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
