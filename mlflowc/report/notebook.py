"""What the cells of a Jupyter notebook put out: text and pictures, in order. Nothing in it is run or trusted:
text is shown as text, and HTML by its plain form alone."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlflowc.report.model import Notebook, Picture

_MOST = 40  # outputs
_LONGEST = 4000  # characters of one
_LARGEST = 10_000_000  # bytes of a picture
_PICTURES = {"image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/svg+xml": "svg"}
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")


def read(title: str, path: Path) -> Notebook:
    """The outputs of the notebook at `path`; a note where it is none, or where some were left out."""
    try:
        book = json.loads(path.read_text("utf-8"))
        cells = [c for c in book["cells"] if c.get("cell_type") == "code"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Notebook(title, notes=("it is not a Jupyter notebook of format 4",))
    parts: list[str | Picture] = []
    for n, cell in enumerate(cells, 1):
        for output in cell.get("outputs") or ():
            parts += _part(output, n) if isinstance(output, dict) else ()
    notes = (f"the first {_MOST} of {len(parts)} outputs",) if len(parts) > _MOST else ()
    return Notebook(title, tuple(parts[:_MOST]), notes if parts else ("its cells put nothing out",))


def _part(output: dict[str, Any], cell: int) -> Iterator[str | Picture]:
    kind = output.get("output_type")
    if kind == "stream":
        yield from _text(output.get("text"))
    elif kind == "error":
        yield from _text(f"{output.get('ename')}: {output.get('evalue')}")
    elif kind in ("display_data", "execute_result"):
        data = output.get("data")
        if not isinstance(data, dict):
            return
        for media, ending in _PICTURES.items():
            if media in data:
                picture = _picture(media, ending, data[media], cell)
                if picture is not None:
                    yield picture
                    return
        for form in ("text/markdown", "text/plain"):
            if form in data:
                yield from _text(data[form])
                return


def _picture(media: str, ending: str, value: Any, cell: int) -> Picture | None:
    text = "".join(value) if isinstance(value, list) else value
    if not isinstance(text, str) or len(text) > _LARGEST * 4 // 3:
        return None
    try:
        data = text.encode() if ending == "svg" else base64.b64decode(text, validate=False)
    except (binascii.Error, ValueError):
        return None
    return Picture(media, f"cell-{cell}.{ending}", data, f"cell {cell}")


def _text(value: Any) -> Iterator[str]:
    text = "".join(v for v in value if isinstance(v, str)) if isinstance(value, list) else value
    if not isinstance(text, str):
        return
    # A progress bar rewrites its line: what stood last is what one saw.
    plain = "\n".join(line.rsplit("\r", 1)[-1] for line in _ESCAPES.sub("", text).rstrip().split("\n"))
    if plain.strip():
        yield plain if len(plain) <= _LONGEST else plain[:_LONGEST] + "\n…"
