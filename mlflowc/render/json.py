"""Diagnostics as JSON, for editors and scripts. The shape is stable: fields are only ever added.

```json
{
  "version": 1,
  "diagnostics": [
    {
      "code": "MLP212", "severity": "error", "message": "…",
      "file": "churn.mlpipe", "range": {"start": {"offset": 812, "line": 41, "column": 27}, "end": {…}},
      "label": "required here",
      "related": [{"file": "…", "range": {…}, "text": "declared here"}],
      "help": "…",
      "fix": {"title": "…", "edits": [{"file": "…", "range": {…}, "text": "…"}]}
    }
  ],
  "counts": {"error": 1, "warning": 0}
}
```

Offsets count characters from 0, lines and columns from 1; `end` is behind the last character. `range` is
null for a file that was not read, `fix` where none is certain.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mlflowc.diagnostic import Diagnostic, Fix, Severity
from mlflowc.render.place import region
from mlflowc.span import Source, Span

VERSION = 1


def render(diagnostics: Sequence[Diagnostic], sources: Mapping[str, Source]) -> str:
    """One JSON document, ended by a line break."""
    document = {
        "version": VERSION,
        "diagnostics": [_diagnostic(d, sources) for d in diagnostics],
        "counts": {str(s): sum(d.severity is s for d in diagnostics) for s in Severity},
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _diagnostic(d: Diagnostic, sources: Mapping[str, Source]) -> dict[str, Any]:
    return {
        "code": d.code,
        "severity": str(d.severity),
        "message": d.message,
        **_place(d.span, sources),
        "label": d.label,
        "related": [{**_place(label.span, sources), "text": label.text} for label in d.related],
        "help": d.help,
        "fix": _fix(d.fix, sources) if d.fix else None,
    }


def _fix(fix: Fix, sources: Mapping[str, Source]) -> dict[str, Any]:
    return {
        "title": fix.title,
        "edits": [{**_place(edit.span, sources), "text": edit.text} for edit in fix.edits],
    }


def _place(span: Span, sources: Mapping[str, Source]) -> dict[str, Any]:
    where = region(span, sources)
    if where is None:
        return {"file": span.file, "range": None}
    return {
        "file": span.file,
        "range": {
            "start": {"offset": span.start, **where.start._asdict()},
            "end": {"offset": max(span.start, span.end), **where.end._asdict()},
        },
    }
