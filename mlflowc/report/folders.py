"""Files inside an output that is a folder: a log of DVCLive, or whatever else writes many plots."""

from __future__ import annotations

import fnmatch
import json
import os
from pathlib import Path, PurePosixPath
from typing import Any

from mlflowc.runtime.hashing import hash_file
from mlflowc.runtime.records import OutputRecord
from mlflowc.runtime.store import Store

KINDS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".json": "json",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".parquet": "parquet",
    ".arrow": "arrow",
}
IMAGES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg")
METRICS = (".json", ".yaml", ".yml", ".toml")
MOST = 500  # files of one folder that are shown


def files(root: Path, store: Store, output: OutputRecord) -> dict[str, Path]:
    """The files in the folder that are to be had, by their path in it: from the store, else from the project
    where they still are what they were."""
    listing = store.listing(output.hash)
    place = root / output.path
    if listing is None:
        return {}
    found = {}
    for entry in listing:
        if entry.kind not in ("f", "x"):
            continue
        stored = store.file(entry.hash)
        if stored is not None:
            found[entry.path] = stored
        elif _is(place / entry.path, entry.hash):
            found[entry.path] = place / entry.path
    return found


def _is(path: Path, digest: str) -> bool:
    try:
        return hash_file(path) == digest
    except OSError:
        return False


def chosen(paths: list[str], pattern: str | None, endings: tuple[str, ...]) -> list[str]:
    """Those that match the pattern (`*` stays in its folder, `**` does not), else those with such an ending;
    numbers in names in the order of numbers."""
    if pattern is not None:
        kept = [p for p in paths if _matches(p, pattern)]
    else:
        kept = [p for p in paths if PurePosixPath(p).suffix.lower() in endings]
    return sorted(kept, key=_natural)


def plots(paths: list[str], pattern: str | None) -> list[str]:
    """The tables and specs to draw. Without a pattern those below `plots/`, if there is such a folder, as
    DVCLive writes it; else all but the figures that it keeps beside them."""
    found = chosen(paths, pattern, tuple(KINDS))
    if pattern is not None:
        return found
    below = [p for p in found if "plots" in PurePosixPath(p).parts[:-1]]
    return below or [p for p in found if PurePosixPath(p).name not in ("metrics.json", "params.yaml")]


def metrics(paths: list[str], pattern: str | None) -> list[str]:
    """The files of metrics: without a pattern those that are called so."""
    if pattern is not None:
        return chosen(paths, pattern, METRICS)
    named = [p for p in paths if PurePosixPath(p).stem in ("metrics", "summary", "scores")]
    return [p for p in chosen(named, None, METRICS) if "plots" not in PurePosixPath(p).parts[:-1]]


def specification(path: Path) -> dict[str, Any] | None:
    """The Vega-Lite specification that the file holds, if it is one."""
    try:
        if path.stat().st_size > 20_000_000:
            return None
        value = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    schema = value.get("$schema")
    return value if isinstance(schema, str) and "/vega-lite/" in schema else None


def _matches(path: str, pattern: str) -> bool:
    parts, wanted = path.split("/"), pattern.split("/")

    def at(p: int, w: int) -> bool:
        if w == len(wanted):
            return p == len(parts)
        if wanted[w] == "**":
            return any(at(n, w + 1) for n in range(p, len(parts) + 1))
        return p < len(parts) and fnmatch.fnmatchcase(parts[p], wanted[w]) and at(p + 1, w + 1)

    return at(0, 0)


def _natural(path: str) -> tuple[tuple[int, int | str], ...]:
    pieces: list[tuple[int, int | str]] = []
    digits = ""
    for char in path + "\0":
        if char.isdecimal() and char.isascii():
            digits += char
            continue
        if digits:
            pieces.append((0, int(digits)))
            digits = ""
        pieces.append((1, char))
    return tuple(pieces)


def title(path: str) -> str:
    """A file's name as a title: `metrics/train/loss`."""
    stem = os.path.splitext(path)[0]  # noqa: PTH122
    return stem.removeprefix("plots/").removeprefix("metrics/")
