"""Diagnostics as a GitLab Code Quality report (`artifacts: reports: codequality`)."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mlflowc.diagnostic import Diagnostic, Severity
from mlflowc.render.place import region
from mlflowc.span import Source

_SEVERITY = {Severity.ERROR: "major", Severity.WARNING: "minor"}


def render(diagnostics: Sequence[Diagnostic], sources: Mapping[str, Source], *, prefix: str = "") -> str:
    """A JSON list, ended by a line break. `prefix` is the project folder below the root of the repository."""
    seen: Counter[str] = Counter()
    issues = [_issue(d, sources, prefix, seen) for d in diagnostics]
    return json.dumps(issues, indent=2, ensure_ascii=False) + "\n"


def _issue(d: Diagnostic, sources: Mapping[str, Source], prefix: str, seen: Counter[str]) -> dict[str, Any]:
    # Without the line, so that a finding that moved is not a new one; two alike differ by their order.
    what = f"{d.code}\0{prefix}{d.span.file}\0{d.message}"
    seen[what] += 1
    where = region(d.span, sources)
    return {
        "type": "issue",
        "check_name": d.code,
        "description": d.message + (f" ({d.help})" if d.help else ""),
        "categories": ["Bug Risk"],
        "severity": _SEVERITY[d.severity],
        "fingerprint": hashlib.sha256(f"{what}\0{seen[what]}".encode()).hexdigest(),
        "location": {
            "path": prefix + d.span.file,
            "lines": {"begin": where.start.line if where else 1, "end": where.end.line if where else 1},
        },
    }
