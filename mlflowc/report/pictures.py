"""Picture files of a report's plots and images, and the library that draws plots: the extra `report`."""

from __future__ import annotations

import json
import re
from typing import Any

from mlflowc import extras
from mlflowc.errors import Failure
from mlflowc.report.model import Document, Image, Notebook, Picture, Plot, Section, Spec, trimmed

VEGA_LITE = "6.1"  # drawn with this version everywhere: page and picture agree
_WIDTH = 640

# Shared by the page (which sets its own colours of text and lines) and picture files (on white).
CONFIG: Spec = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": 500,
        "titlePadding": 10, "labelPadding": 6,
        "tickSize": 4, "domainWidth": 1, "titleLimit": 240,
    },
    "axisY": {"domain": False, "ticks": False},
    "legend": {"orient": "top", "labelFontSize": 12, "symbolSize": 90, "title": None, "offset": 8},
}  # fmt: skip


def available() -> bool:
    """Whether the extra is installed."""
    import importlib.util

    return importlib.util.find_spec("vl_convert") is not None


def library() -> Any:
    """The module `vl_convert`. Raises Failure when the extra `report` is not installed."""
    try:
        import vl_convert  # large: only what draws needs it
    except ImportError:
        raise Failure(
            "plots need a library that is not installed",
            help=f"{extras.install('report')}\nmetrics, parameters and tables need nothing more",
        ) from None
    return vl_convert


def names(section: Section, stem: str, at: int) -> list[str]:
    """The file names of a section's pictures; `at` is the section's number in the document, from 1."""
    if isinstance(section, Plot):
        return [_name(stem, at, n, section.title, "png") for n in range(len(section.charts))]
    if isinstance(section, Image | Notebook):
        return [
            _name(stem, at, n, section.title, p.name.rpartition(".")[2].lower())
            for n, p in enumerate(_images(section))
        ]
    return []


def files(document: Document, stem: str) -> dict[str, bytes]:
    """The picture files that `markdown.render(document, images="files", stem=stem)` refers to, by name.

    Raises Failure when there are plots and the extra `report` is not installed.
    """
    made: dict[str, bytes] = {}
    for at, section in enumerate(trimmed(document).sections, 1):
        if isinstance(section, Plot):
            made |= dict(zip(names(section, stem, at), (png(c.spec) for c in section.charts), strict=True))
        elif isinstance(section, Image | Notebook):
            made |= dict(zip(names(section, stem, at), (p.data for p in _images(section)), strict=True))
    return made


def _images(section: Image | Notebook) -> list[Picture]:
    if isinstance(section, Image):
        return list(section.pictures)
    return [p for p in section.parts if isinstance(p, Picture)]


def png(spec: Spec) -> bytes:
    """The chart as a PNG, twice as fine as it is wide, on white. Raises Failure without the extra."""
    picture: bytes = library().vegalite_to_png(_fixed(spec), vl_version=VEGA_LITE, scale=2)
    return picture


def svg(spec: Spec) -> str:
    """The chart as an SVG on white. Raises Failure without the extra."""
    text: str = library().vegalite_to_svg(_fixed(spec), vl_version=VEGA_LITE)
    return text


def _fixed(spec: Spec) -> str:
    """The spec as text, with a width of its own: outside of a page there is no container."""
    config = {**CONFIG, "background": "white"}
    given = {**spec, "padding": 12, "config": _merged(config, spec.get("config", {}))}
    if given.get("width") == "container":
        given["width"] = _WIDTH
    return json.dumps(given)


def _merged(one: Spec, other: Spec) -> Spec:
    """Both settings, those of `other` where both have one."""
    both = {
        k: _merged(v, other[k])
        for k, v in one.items()
        if isinstance(v, dict) and isinstance(other.get(k), dict)
    }
    return {**one, **other, **both}


def _name(stem: str, at: int, n: int, title: str, ending: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:40]
    return "-".join(p for p in (stem, str(at), slug, str(n + 1) if n else "") if p) + "." + ending
