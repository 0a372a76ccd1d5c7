"""The data sources of a report: what is here, whether it is what its type says, what changed."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mlflowc.data.declared import checkable, digest
from mlflowc.errors import Failure
from mlflowc.ir import feeds
from mlflowc.ir import model as ir
from mlflowc.report import profile
from mlflowc.report.facts import Facts
from mlflowc.report.model import Data, DataRow
from mlflowc.report.profile import Profile
from mlflowc.report.words import literal
from mlflowc.report.words import size as size_in_words
from mlflowc.runtime import baseline, checked, pins, tables
from mlflowc.runtime.baseline import Snapshot
from mlflowc.runtime.hashing import hash_bytes
from mlflowc.runtime.records import OutputRecord

if TYPE_CHECKING:
    from mlflowc.runtime.workspace import Workspace

_LARGEST_OLD = 50_000_000  # bytes of an old file that are taken out of git


class _Content(NamedTuple):
    """What a source stands for at a time. `path` is a file or folder with it, None where that is not here."""

    hash: str | None = None
    size: int | None = None
    path: Path | None = None


def section(ws: Workspace, facts: Facts, vs: str | None) -> Data:
    """A row for each data source."""
    before, base = facts.compared(vs)
    with tempfile.TemporaryDirectory(prefix="mlpipe-") as folder:
        rows = [_row(ws, facts, data, before, Path(folder)) for data in ws.pipeline.data]
    return Data(tuple(rows), base)


def _row(ws: Workspace, facts: Facts, data: ir.Data, before: Snapshot | None, folder: Path) -> DataRow:
    here = _now(ws, data)
    words = ", ".join(f'"{v}"' if isinstance(v, str) else literal(v) for v in dict(data.args).values())
    verdict, findings = _verdict(ws, data, here)
    row = DataRow(
        data.name, f"{data.source}({words})", here.hash, here.size, checked=verdict, findings=findings
    )
    now = _profile(ws, here, data.type.kind)
    if now is not None:
        row = replace(row, rows=now.rows, columns=len(now.columns), profile=profile.table(now, None))
    if before is None or before.commit is None:
        return row
    old = _then(ws, data, before, folder)
    if old.hash is None:
        return row
    if old.hash == here.hash:
        return replace(row, changes=("unchanged",))
    was = _profile(ws, old, data.type.kind)
    if now is None or was is None:
        changed = "other content"
        if here.size is not None and old.size is not None and here.size != old.size:
            changed += f", {size_in_words(old.size)} → {size_in_words(here.size)}"
        return replace(row, changes=(changed,))
    changes = profile.changes(now, was) or ("other content, with the same figures",)
    return replace(row, changes=changes, profile=profile.table(now, was))


def _now(ws: Workspace, data: ir.Data) -> _Content:
    if feeds.is_pinned(data):
        pin = pins.read(ws.lock, data)
        if pin is None:
            return _Content()
        return _Content(pin.hash, pin.size, baseline.locate(ws.root, ws.store, pin.output))
    path = ws.root / feeds.standing(data)
    with contextlib.suppress(Failure):
        seen = ws.checkout.look(feeds.standing(data))
        if seen is not None:
            size = path.stat().st_size if path.is_file() else None
            return _Content(seen.hash, size, path)
    return _Content()


def _then(ws: Workspace, data: ir.Data, before: Snapshot, folder: Path) -> _Content:
    """At the baseline: what its lock pinned, or the file that git has there."""
    if feeds.is_pinned(data):
        raw = before.data.get(data.name)
        if raw is None:
            return _Content()
        old = OutputRecord(
            data.name, feeds.standing(data), str(raw["kind"]), str(raw["hash"]), int(raw["size"])
        )
        return _Content(old.hash, old.size, baseline.locate(ws.root, ws.store, old))
    assert before.commit is not None
    content = baseline.content(ws.root, before.commit, feeds.standing(data), _LARGEST_OLD)
    if content is None or content.startswith(b"version https://git-lfs.github.com/spec/"):
        return _Content()
    path = folder / data.name
    path.write_bytes(content)
    return _Content(hash_bytes(content), len(content), path)


def _profile(ws: Workspace, content: _Content, kind: str) -> Profile | None:
    """The profile of a table that is here; each content is looked through once."""
    if content.path is None or content.hash is None or kind not in tables.KINDS or not content.path.is_file():
        return None
    name = f"profile {content.hash} {kind}"
    with contextlib.suppress(ValueError):
        kept = ws.index.facts.get(name)
        if kept is not None:
            return profile.decode(kept)
    try:
        found = profile.of(content.path, kind)
    except (tables.TableError, OSError):
        return None
    ws.index.facts[name] = profile.encode(found)
    return found


def _verdict(ws: Workspace, data: ir.Data, here: _Content) -> tuple[str, tuple[str, ...]]:
    """`good` or `bad` with what is wrong; nothing where the type says nothing, or the content is not here and
    nobody has checked it."""
    if not checkable(data.type) or here.hash is None:
        return "", ()
    pin = pins.read(ws.lock, data)
    if pin is not None and pin.type == digest(data.type):
        return "good", ()
    item = checked.Item(
        f"data source `{data.name}`", feeds.standing(data).rstrip("/"), here.hash, data.type, data.place
    )
    if here.path is None or not (ws.root / item.path).exists():
        return "", ()
    try:
        found = checked.verdict(ws, item)
    except Failure as e:
        return "", (f"not checked: {e.message}",)
    if found.ok:
        return "good", ()
    from mlflowc.data.findings import lines  # only where something is wrong

    return "bad", tuple(lines(found))
