"""A report as one HTML file: all of it inside, nothing fetched, and scripts that run by their hash alone."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from markupsafe import Markup, escape

from mlflowc import __version__
from mlflowc.report import pictures
from mlflowc.report.model import (
    Document,
    Graph,
    Image,
    MetricRow,
    Metrics,
    Notebook,
    Picture,
    Plot,
    Text,
    to_json,
)
from mlflowc.report.words import (
    cell,
    checks,
    difference,
    digest,
    duration,
    literal,
    many,
    measured,
    money,
    size,
    states,
    tally,
    trend,
)
from mlflowc.runtime.gate_table import number, signed

MOST_ROWS = 2000  # of a table; a browser gets slow, and nobody reads them
_TEMPLATES = files("mlflowc.report") / "templates"


def render(document: Document) -> str:
    """The page. Without the extra `report` its plots are tables, and it says so."""
    import jinja2  # only those who write a page pay for it

    drawn = pictures.available()
    charts = _charts(document) if drawn else []
    scripts = [_inline(_bundle()), _inline(_script())] if charts else []
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {
        "cell": cell,
        "difference": difference,
        "digest": digest,
        "duration": duration,
        "literal": literal,
        "number": number,
        "prose": prose,
        "signed": signed,
        "size": size,
        "spoken": spoken,
        "state": states,
        "uri": data_uri,
        "kind": lambda section: type(section).__name__.lower(),
        "bar": share,
        "trend": trend,
        "measured": measured,
        "many": many,
        "money": money,
        "checks": checks,
        "tally": tally,
        "is_text": lambda part: isinstance(part, str),
        "drawing": lambda svg: data_uri(Picture("image/svg+xml", "graph.svg", svg.encode())),
    }
    page = environment.from_string(_template("page.html.j2"))
    return page.render(
        document=document,
        version=__version__,
        style=Markup(_template("page.css")),
        policy=_policy(scripts),
        scripts=[Markup(s) for s in scripts],
        charts=Markup(in_script(charts)) if charts else "",
        data=Markup(in_script(_light(document))),
        largest=_largest(document),
        undrawn=not drawn and any(isinstance(s, Plot) and s.charts for s in document.sections),
        most=MOST_ROWS,
    )


def data_uri(picture: Picture) -> str:
    """The picture as a `data:` address."""
    return f"data:{picture.media};base64,{base64.b64encode(picture.data).decode('ascii')}"


def in_script(value: Any) -> str:
    """JSON that is safe inside a script element: it can neither end it nor open a comment in it."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def prose(text: Text) -> Markup:
    """The author's Markdown as HTML. Values put in are plain text, whatever they hold.

    Raw HTML is shown, not used; links lead only where a browser may go; pictures are not fetched.
    """
    from markdown_it import MarkdownIt  # only those who write a page pay for it

    # A value becomes a word of private-use characters: Markdown leaves them alone, and text cannot have them.
    values: list[str] = []
    source = ""
    for part in text.parts:
        if isinstance(part, str):
            source += part.replace("\ue000", "").replace("\ue001", "")
        else:
            source += f"\ue000{len(values)}\ue001"
            values.append(part.text)
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")
    html = parser.render(source)
    for n, value in enumerate(values):
        mark = f"\ue000{n}\ue001"
        html = html.replace(mark, str(escape(value))).replace(quote(mark), quote(value, safe=""))
    return Markup(html)


def spoken(text: str) -> Markup:
    """A message; what it has between backticks is code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    mark = Markup("<code>{}</code>")
    return Markup("").join(mark.format(part) if n % 2 else part for n, part in enumerate(parts))


def share(row: MetricRow, largest: float) -> float:
    """The length of the bar of a change, -50..50, in percent of the cell; 0 where there is none to show."""
    if row.relative is None or not largest:
        return 0.0
    return round(50 * row.relative / largest, 2)


def _largest(document: Document) -> float:
    changes = [abs(r.relative or 0) for s in document.sections if isinstance(s, Metrics) for r in s.rows]
    return max(changes, default=0.0)


def _charts(document: Document) -> list[dict[str, Any]]:
    """The specs in the order in which the page has places for them."""
    return [c.spec for s in document.sections if isinstance(s, Plot) for c in s.charts]


def _light(document: Document) -> Any:
    """The document for machines that read the page: without what the page holds elsewhere."""
    value = to_json(document)
    for section, source in zip(value["sections"], document.sections, strict=True):
        if isinstance(source, Plot):
            del section["charts"]
        if isinstance(source, Image):
            for picture in section["pictures"]:
                del picture["data"]
        if isinstance(source, Notebook):
            section["parts"] = [p for p in section["parts"] if isinstance(p, str)]
        if isinstance(source, Graph):
            del section["svg"]
    return value


def _policy(scripts: Sequence[str]) -> str:
    """Nothing from outside; this file's scripts by their hashes, so that no other text can become one."""
    digests = (base64.b64encode(hashlib.sha256(s.encode()).digest()).decode("ascii") for s in scripts)
    allowed = " ".join(f"'sha256-{d}'" for d in digests) or "'none'"
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src {allowed}; base-uri 'none'; form-action 'none'"
    )


@functools.cache
def _template(name: str) -> str:
    return (_TEMPLATES / name).read_text("utf-8")


def _script() -> str:
    return _template("page.js").replace("{{CONFIG}}", in_script(pictures.CONFIG))


@functools.cache
def _bundle() -> str:
    """Vega, Vega-Lite and vega-embed as one script that defines `vegaEmbed`."""
    bundle: str = pictures.library().javascript_bundle(vl_version=pictures.VEGA_LITE)
    return bundle


def _inline(script: str) -> str:
    """A script that cannot end its own element; in scripts these words only ever stand in string literals."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")
