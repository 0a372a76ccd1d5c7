"""`mlpipe.lock`: what a checkout's results are, committed with it.

Text, one entry a line, sorted: `<kind> <name> <canonical JSON>`; lines that start with `#` say something to
people. A name with anything but word characters and `.-[],=` is written as a JSON string. So two
branches that changed different stages merge line by line.

The entry of kind `stage` holds the stage's key, the content of its outputs, its metric values and the values
of its parameters. Other kinds (`env`, `data`) belong to the modules that pin things.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mlflowc import plainfile
from mlflowc.errors import Failure
from mlflowc.frozen import dataclass, field
from mlflowc.ir.model import Value
from mlflowc.runtime.hashing import is_name
from mlflowc.runtime.ports import FileSystem
from mlflowc.runtime.records import Metrics, OutputRecord

NAME = "mlpipe.lock"
_HEADER = "# Written by mlpipec; commit it. After a conflict: `mlpipec lock --resolve`, then `mlpipec run`.\n"
_PLAIN = re.compile(r"[\w.\-\[\],=]+")
_decoder = json.JSONDecoder()

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class StageEntry:
    """A stage's line."""

    key: str
    outputs: tuple[OutputRecord, ...]
    metrics: Metrics = field(default_factory=dict)
    params: dict[str, Value] = field(default_factory=dict)

    def output(self, name: str) -> OutputRecord | None:
        """The output of that name."""
        return next((o for o in self.outputs if o.name == name), None)


@dataclass(frozen=True, slots=True)
class LockFile:
    """All entries by kind and name. A value: `with_`, `with_stages` and `keeping` give another."""

    entries: Mapping[tuple[str, str], Entry] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, name: str = NAME) -> LockFile:
        """Raises `Failure` that names the line when one is not an entry."""
        entries: dict[tuple[str, str], Entry] = {}
        for number, line in enumerate(text.split("\n"), 1):
            if not line or line.startswith("#"):
                continue
            if line.startswith(("<<<<<<<", "=======", ">>>>>>>", "|||||||")):
                raise _unsettled(name, number)
            try:
                kind, title, entry = _parse_line(line)
            except (ValueError, TypeError):
                raise _damaged(name, number, "not an entry") from None
            if kind == "stage" and not _sound(entry):
                raise _damaged(name, number, f"not the entry of a stage: `{title}`")
            if kind == "data" and not sound_pin(entry):
                raise _damaged(name, number, f"not the entry of a data source: `{title}`")
            entries[kind, title] = entry
        return cls(entries)

    @classmethod
    def read(cls, root: Path) -> LockFile:
        """The lock of the project at `root`; an empty one when there is none."""
        path = root / NAME
        try:
            data = plainfile.read(path)
        except FileNotFoundError:
            return cls()
        except OSError as e:
            raise Failure(f"cannot read `{NAME}`: {e.strerror}") from None
        try:
            return cls.parse(data.decode())
        except UnicodeDecodeError:
            raise _damaged(NAME, data[:1_000_000].count(b"\n") + 1, "not UTF-8") from None

    def render(self) -> str:
        """The text; equal locks give equal text."""
        lines = [
            f"{kind} {name if _PLAIN.fullmatch(name) else json.dumps(name)} "
            + json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            for (kind, name), entry in self.entries.items()
        ]
        return _HEADER + "".join(line + "\n" for line in sorted(lines))

    def write(self, root: Path, fs: FileSystem) -> None:
        """Replaces the project's lock file, durably, if that changes a byte."""
        data = self.render().encode()
        path = root / NAME
        try:
            if plainfile.read(path) == data:
                return
        except OSError:
            pass
        try:
            fs.write(path, data, sync=True)
        except OSError as e:
            raise Failure(f"cannot write `{NAME}`: {e.strerror}") from e

    def stage(self, stage: str) -> StageEntry | None:
        """The entry of the stage with that id."""
        entry = self.entries.get(("stage", stage))
        return None if entry is None else _stage_entry(entry)

    def stages(self) -> dict[str, StageEntry]:
        """All entries of stages by id."""
        return {name: _stage_entry(e) for (kind, name), e in self.entries.items() if kind == "stage"}

    def get(self, kind: str, name: str) -> Entry | None:
        """The raw entry."""
        return self.entries.get((kind, name))

    def with_(self, kind: str, name: str, entry: Entry) -> LockFile:
        """This lock with one entry set."""
        return LockFile({**self.entries, (kind, name): entry})

    def with_stages(self, entries: Mapping[str, StageEntry]) -> LockFile:
        """This lock with those entries of stages set."""
        return LockFile({**self.entries, **{("stage", name): _raw(e) for name, e in entries.items()}})

    def keeping(self, kind: str, names: Iterable[str]) -> LockFile:
        """This lock without the entries of that kind under other names than those."""
        wanted = set(names)
        return LockFile({k: e for k, e in self.entries.items() if k[0] != kind or k[1] in wanted})


@contextlib.contextmanager
def changing(state: Path) -> Iterator[None]:
    """Nobody else changes the lock of the project whose `.mlpipe` this is meanwhile. Raises `Failure`."""
    try:
        fd = os.open(state / "lock.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as e:
        raise Failure(f"cannot write in `.mlpipe`: {e.strerror}") from e
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _parse_line(line: str) -> tuple[str, str, Entry]:
    kind, _, rest = line.partition(" ")
    if not re.fullmatch(r"[a-z]+", kind):
        raise ValueError(line)
    if rest.startswith('"'):
        title, end = _decoder.raw_decode(rest)
        rest = rest[end + 1 :]
    else:
        title, _, rest = rest.partition(" ")
    entry = json.loads(rest)
    if not isinstance(entry, dict) or not isinstance(title, str):
        raise ValueError(line)
    return kind, title, entry


def _sound(raw: Entry) -> bool:
    """Whether it is the entry of a stage, down to the type of every value."""
    outputs, numbers, params = raw.get("outputs"), raw.get("metrics", {}), raw.get("params", {})
    return (
        is_name(raw.get("key"))
        and isinstance(outputs, dict)
        and all(isinstance(o, dict) and _sound_output(o) for o in outputs.values())
        and isinstance(numbers, dict)
        and all(isinstance(m, dict) and all(map(_is_number, m.values())) for m in numbers.values())
        and isinstance(params, dict)
    )


def _sound_output(raw: Entry) -> bool:
    return (
        all(isinstance(raw.get(field), str) for field in ("path", "kind"))
        and is_name(raw.get("hash"))
        and isinstance(raw.get("size"), int)
        and isinstance(raw.get("exec", False), bool)
    )


def sound_pin(raw: object) -> bool:
    """Whether it is the entry of a data source, down to the type of every value."""
    if not isinstance(raw, dict):
        return False
    texts = [raw.get("version"), raw.get("files", {})]
    return (
        all(isinstance(raw.get(field), str) for field in ("from", "kind"))
        and is_name(raw.get("hash"))
        and isinstance(raw.get("source"), dict)
        and isinstance(raw.get("size"), int)
        and isinstance(raw.get("exec", False), bool)
        and isinstance(raw.get("type", ""), str)
        and all(isinstance(t, dict) and all(isinstance(v, str) for v in t.values()) for t in texts)
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _stage_entry(raw: Entry) -> StageEntry:
    outputs = tuple(
        OutputRecord(name, o["path"], o["kind"], o["hash"], o["size"], o.get("exec", False))
        for name, o in raw["outputs"].items()
    )
    return StageEntry(raw["key"], outputs, raw.get("metrics", {}), raw.get("params", {}))


def _raw(entry: StageEntry) -> Entry:
    outputs = {}
    for o in entry.outputs:
        outputs[o.name] = {"path": o.path, "kind": o.kind, "hash": o.hash, "size": o.size}
        if o.executable:
            outputs[o.name]["exec"] = True
    raw: Entry = {"key": entry.key, "outputs": outputs}
    if entry.metrics:
        raw["metrics"] = entry.metrics
    if entry.params:
        raw["params"] = entry.params
    return raw


def _unsettled(name: str, line: int) -> Failure:
    # Not the committed file: while a merge goes on, git gives none out.
    help = "settle the other files, then `mlpipec lock --resolve` settles this one"
    if name != NAME:
        help = "it was committed like that"
    return Failure(f"`{name}` has an unsettled merge conflict (line {line})", help=help)


def _damaged(name: str, line: int, what: str) -> Failure:
    return Failure(
        f"`{name}` is damaged at line {line}: {what}",
        help=f"mend that line, take the committed file back with `git checkout -- {name}`, "
        f"or delete the file: `mlpipec run` writes it again",
    )
