"""Names and types of outputs, from what DVC says of them and what is there."""

from __future__ import annotations

import posixpath
import re

from mlflowc.check import infer
from mlflowc.importing.coverage import Coverage
from mlflowc.importing.draft import identifier
from mlflowc.importing.dvcfiles import DvcFiles
from mlflowc.importing.dvcread import Item
from mlflowc.runtime import metrics

_FIELD = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)
_MOST_FIELDS = 60
_ENDING = re.compile(r"[a-z]{1,5}")


def output_name(item: Item) -> str:
    """A name for an output: of its path, without what differs between instances."""
    fixed = "".join(p.text for p in item.text if p.origin is None or p.origin.file is not None)
    base = posixpath.basename(fixed).partition(".")[0]
    if not re.search(r"[A-Za-z]", base):
        base = posixpath.basename(posixpath.dirname(fixed))
    return identifier(base, {"metric": "scores", "plot": "curve"}.get(item.kind, "result"))


def type_of(item: Item, files: DvcFiles, folders: frozenset[str], coverage: Coverage) -> str:
    """The type as it is written; empty where the path says it."""
    path, here = item.path, files.kind(item.path)
    if here == "dir" or item.folder or path in folders:
        if item.kind == "metric":
            coverage.changed("metrics", item.place, f"`{path}` is a folder, and no metrics", "name its files")
        return "dir" if infer.contradicts("dir", path) is None else "path"
    if item.kind == "metric":
        return _metrics(item, files, coverage)
    if here == "missing" and infer.kind_of(path) == "file" and not _ENDING.fullmatch(infer.ending(path)):
        return "path"  # `data.v2` may be a folder
    return ""


def _metrics(item: Item, files: DvcFiles, coverage: Coverage) -> str:
    path = item.path
    if infer.ending(path) not in ("json", "yaml", "yml"):
        coverage.changed(
            "metrics",
            item.place,
            f"`{path}` is a file like any other",
            "metrics are JSON or YAML: write one of these",
        )
        return ""
    if files.kind(path) != "file":
        coverage.changed(
            "metrics",
            item.place,
            f"`{path}` is not here, so its figures are not declared",
            "name them, once it is there: `metrics { accuracy: float }`",
        )
        return "metrics"
    try:
        numbers = metrics.read(files.root / path)
    except metrics.UnreadableError as e:
        coverage.changed(
            "metrics", item.place, f"`{path}` is no metrics: {e}", "write names and numbers to it"
        )
        return ""
    fields = [n for n in numbers if _FIELD.fullmatch(n)][:_MOST_FIELDS]
    if len(fields) < len(numbers):
        coverage.changed(
            "metrics",
            item.place,
            f"of `{path}`, {len(numbers) - len(fields)} of {len(numbers)} figures are not declared",
            "those that gates and reports shall use need names of letters, digits and `_`",
        )
    return f"metrics {{ {', '.join(f'{n}: float' for n in fields)} }}" if fields else "metrics"


def comment_of(item: Item, coverage: Coverage) -> str:
    """What the output's comment says; tells what its options become."""
    options, path = item.options, item.path
    if options is None or not isinstance(options.value, dict):
        return ""
    lines: list[str] = []
    for name, node, place in options.pairs():
        if name in ("desc", "type", "labels", "meta"):
            if node.value is not None:
                lines.append(f"{node.plain()}" if name == "desc" else f"{name}: {node.plain()}")
                coverage.carried(name, place, f"of `{path}`, as a comment")
        elif name == "cache":
            if node.value is False:
                coverage.changed(
                    "cache", place, f"`{path}` is kept in the store, like every output; git may have it, too"
                )
        elif name == "persist":
            if node.value is True:
                coverage.changed(
                    "persist",
                    place,
                    f"`{path}` is not there when the command starts: an output is made anew",
                    "a command that goes on from its last result needs it in a `keep`",
                )
        elif name in ("push", "remote"):
            coverage.left(
                name,
                place,
                f"of `{path}`: all outputs are shared in one way",
                "`cache { remote = … }` says where",
            )
        elif name == "checkpoint":
            coverage.left(name, place, f"of `{path}`", "what goes on from an earlier try is a `keep`")
        elif item.kind != "plot":
            coverage.left(name, place, f"`{name}` of `{path}` is not known", "see what it is for")
    return "\n".join(lines)
