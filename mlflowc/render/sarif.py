"""Diagnostics as SARIF 2.1.0, which GitHub code scanning, GitLab and editors read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from mlflowc import __version__
from mlflowc.diagnostic import Check, Diagnostic, Edit, Fix, Label
from mlflowc.render.place import region
from mlflowc.span import Source, Span

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def render(
    diagnostics: Sequence[Diagnostic],
    sources: Mapping[str, Source],
    checks: Sequence[Check],
    *,
    prefix: str = "",
) -> str:
    """One SARIF log with one run.

    `checks` are all that may be reported, as the tool's rules; `prefix` is the project folder below the
    root of the repository (`""` or `sub/folder/`), since a SARIF viewer counts paths from there.
    """
    rules = sorted(checks, key=lambda c: c.code)
    index = {check.code: n for n, check in enumerate(rules)}
    run = {
        "tool": {
            "driver": {
                "name": "mlpipec",
                "version": __version__,
                "semanticVersion": __version__,
                "rules": [_rule(check) for check in rules],
            }
        },
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {
            "%SRCROOT%": {"description": {"text": "The root of the repository."}},
        },
        "results": [_result(d, sources, index, prefix) for d in diagnostics],
    }
    log = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2, ensure_ascii=False) + "\n"


def _rule(check: Check) -> dict[str, Any]:
    return {
        "id": check.code,
        "shortDescription": {"text": check.title},
        "fullDescription": {"text": check.title},
        "help": {"text": check.explanation or check.title, "markdown": check.explanation or check.title},
        "defaultConfiguration": {"level": str(check.severity)},
    }


def _result(
    d: Diagnostic, sources: Mapping[str, Source], index: Mapping[str, int], prefix: str
) -> dict[str, Any]:
    text = d.message + (f"\n{d.label}" if d.label else "") + (f"\nhelp: {d.help}" if d.help else "")
    result: dict[str, Any] = {
        "ruleId": d.code,
        "level": str(d.severity),
        "message": {"text": text},
        "locations": [_location(d.span, sources, prefix)],
        "partialFingerprints": {"mlpipec/v1": _fingerprint(d)},
    }
    if d.code in index:
        result["ruleIndex"] = index[d.code]
    if d.related:
        result["relatedLocations"] = [
            _related(n, label, sources, prefix) for n, label in enumerate(d.related)
        ]
    if d.fix:
        result["fixes"] = [_fix(d.fix, sources, prefix)]
    return result


def _fingerprint(d: Diagnostic) -> str:
    """The same finding after lines were added above it is the same finding."""
    return hashlib.sha256(f"{d.code}\0{d.span.file}\0{d.message}".encode()).hexdigest()[:32]


def _related(n: int, label: Label, sources: Mapping[str, Source], prefix: str) -> dict[str, Any]:
    location: dict[str, Any] = {"id": n, **_location(label.span, sources, prefix)}
    if label.text:
        location["message"] = {"text": label.text}
    return location


def _location(span: Span, sources: Mapping[str, Source], prefix: str) -> dict[str, Any]:
    physical: dict[str, Any] = {"artifactLocation": _artifact(span.file, prefix)}
    where = _region(span, sources)
    if where:
        physical["region"] = where
    return {"physicalLocation": physical}


def _artifact(file: str, prefix: str) -> dict[str, str]:
    return {"uri": quote(prefix + file, safe="/"), "uriBaseId": "%SRCROOT%"}


def _region(span: Span, sources: Mapping[str, Source]) -> dict[str, int]:
    where = region(span, sources)
    if where is None:
        return {}
    return {
        "startLine": where.start.line,
        "startColumn": where.start.column,
        "endLine": where.end.line,
        "endColumn": where.end.column,
    }


def _fix(fix: Fix, sources: Mapping[str, Source], prefix: str) -> dict[str, Any]:
    files: dict[str, list[Edit]] = {}
    for edit in fix.edits:
        files.setdefault(edit.span.file, []).append(edit)
    return {
        "description": {"text": fix.title},
        "artifactChanges": [
            {
                "artifactLocation": _artifact(file, prefix),
                "replacements": [
                    {"deletedRegion": _region(e.span, sources), "insertedContent": {"text": e.text}}
                    for e in edits
                ],
            }
            for file, edits in files.items()
        ],
    }
