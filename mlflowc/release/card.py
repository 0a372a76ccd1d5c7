"""The model card of a release: what it is, how good it is, what it was made of, and how to make it again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mlflowc.release.gather import Found
from mlflowc.runtime.gate_result import GateResult


def render(found: Found, artifact: str, version: str, tag: str, signed: str) -> str:
    """The card as Markdown; `signed` is the public key, empty where the statement is not signed."""
    origin = found.origin
    lines = [f"# {artifact} {version}", ""]
    lines += [
        f"`{found.stage.id}.{found.output.name}` of the pipeline `{origin.pipeline}` (`{_at(found)}`), "
        f"at commit `{origin.commit}`.",
        "",
    ]
    lines += _table(
        ("file", "bytes", "SHA-256"), [(_code(s.name), f"{s.size:,}", _code(s.sha256)) for s in _some(found)]
    )
    if len(found.measured.subjects) > len(_some(found)):
        lines += [
            f"And {len(found.measured.subjects) - len(_some(found))} files more: see the statement.",
            "",
        ]
    rows = [
        (_code(f"{name}.{field}"), _number(value))
        for name, fields in sorted(found.metrics.items())
        for field, value in sorted(fields.items())
    ]
    lines += _section("Metrics", ("metric", "value"), rows)
    lines += _gates(found.gates)
    params = [(_code(n), _code(json.dumps(v, ensure_ascii=False))) for n, v in origin.params.items()]
    lines += _section("Parameters", ("parameter", "value"), params)
    lines += _section(
        "Made of",
        ("what", "hash", "version"),
        [(_code(m["name"]), _code(_digest(m["digest"])), _said(m)) for m in origin.materials],
    )
    if found.outside:
        listed = ", ".join(_code(p) for p in found.outside)
        lines += [f"Not in the commit, so to be had elsewhere: {listed}.", ""]
    if origin.started:
        lines += [f"Made from {origin.started} to {origin.finished}.", ""]
    lines += _again(found, tag)
    lines += [
        "## Check a file",
        "",
        "```",
        f"mlpipec verify-model {found.output.path} --release {tag}" + (f" --key {signed}" if signed else ""),
        "```",
        "",
    ]
    return "\n".join(lines)


def _again(found: Found, tag: str) -> list[str]:
    origin = found.origin
    clone = [f"git clone {origin.repository} source", "cd source"] if origin.repository else []
    folder = [f"cd '{origin.folder}'"] if origin.folder else []
    return [
        "## Make it again",
        "",
        "```",
        *clone,
        f"git checkout '{tag}'",
        *folder,
        f"mlpipec run '{found.stage.id}'",
        "mlpipec verify",
        "```",
        "",
    ]


def _gates(results: tuple[GateResult, ...]) -> list[str]:
    rows = []
    for gate in results:
        for row in gate.rows:
            verdict = "holds" if row.passed else "**does not hold**"
            rows.append((_code(gate.name), _code(row.text), row.found or row.note or "", verdict))
    return _section("Gates", ("gate", "condition", "found", "verdict"), rows)


def _section(title: str, head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    return [f"## {title}", "", *_table(head, rows)] if rows else []


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    lines = [head, tuple("---" for _ in head), *rows]
    return ["| " + " | ".join(c.replace("\n", " ") for c in row) + " |" for row in lines] + [""]


def _code(text: str) -> str:
    """Text as code in a cell of a table, whatever is in it."""
    text = " ".join(text.split()).replace("|", "\\|")
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def _some(found: Found) -> tuple[Any, ...]:
    return found.measured.subjects[:20]


def _at(found: Found) -> str:
    origin = found.origin
    return f"{origin.folder}/{origin.file}" if origin.folder else origin.file


def _digest(digest: dict[str, str]) -> str:
    name, value = next(iter(digest.items()))
    return f"{name}:{value}"


def _said(material: dict[str, Any]) -> str:
    said = material.get("annotations", {})
    return _code(", ".join(f"{k} {v}" for k, v in said.items())) if said else ""


def _number(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
