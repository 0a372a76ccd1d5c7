"""The report's page in a real browser: from a file, with the network off."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mlflowc.report import build, html
from mlflowc.report.model import Document, Plot
from mlflowc.runtime import gates
from tests.e2e.conftest import absent
from tests.support import training
from tests.unit.test_report import EVIL, evil, hostile_plots

pytestmark = pytest.mark.e2e


class Opened(NamedTuple):
    """A page that has drawn its plots, and everything that it said on the console or asked of the network."""

    page: Any
    said: list[str]
    asked: list[str]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's chromium, without a window."""
    path = shutil.which("chromium")
    if path is None:
        absent("chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Document:
    """The report of a real run against a real `main`."""
    ws = training.with_history(tmp_path_factory.mktemp("page") / "churn")
    return build.build(ws, training.REPORT, gates=[gates.check(ws, training.GATE)])


def opened(browser: Any, tmp_path: Path, document: Document, **context: Any) -> Opened:
    """Opens the document's page from its file."""
    path = tmp_path / "review.html"
    path.write_text(html.render(document), "utf-8")
    page = browser.new_context(offline=True, **context).new_page()
    page.set_default_timeout(20_000)
    found = Opened(page, [], [])
    page.on("console", lambda message: found.said.append(message.text))
    page.on("pageerror", lambda error: found.said.append(str(error)))
    page.on("dialog", lambda dialog: found.said.append(f"a dialog: {dialog.message}"))
    page.on("request", lambda request: found.asked.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-drawn]")
    return found


def marks(page: Any) -> list[int]:
    """How many data marks each plot has."""
    counts: list[int] = page.evaluate(
        """[...document.querySelectorAll('.chart')].map(c =>
             c.querySelectorAll('svg .mark-line path, svg .mark-rect path, svg .mark-symbol path').length)"""
    )
    return counts


def test_every_plot_is_drawn_without_the_network_or_a_word_of_complaint(
    browser: Any, tmp_path: Path, document: Document
) -> None:
    page, said, asked = opened(browser, tmp_path, document)
    drawn = marks(page)
    assert len(drawn) == sum(len(s.charts) for s in document.sections if isinstance(s, Plot)) == 5
    # Lines old and new; a matrix of 36; five bars, old and new; bins; 200 points.
    assert all(n >= wanted for n, wanted in zip(drawn, (4, 36, 10, 20, 200), strict=True)), drawn
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert page.title() == "churn: review"
    assert page.locator("section.metrics td.now").first.inner_text() == "0.875"
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")


def test_the_data_in_a_plot_is_the_data_of_the_run(browser: Any, tmp_path: Path, document: Document) -> None:
    page = opened(browser, tmp_path, document).page
    shown = json.loads(page.locator("#charts").text_content())
    spec = next(s for s in document.sections if isinstance(s, Plot)).charts[0].spec
    assert shown[0]["data"] == spec["data"]


def test_the_policy_forbids_what_the_page_does_not_do(
    browser: Any, tmp_path: Path, document: Document
) -> None:
    page, said, _ = opened(browser, tmp_path, document)
    page.evaluate(
        """new Promise(done => {
             const of = (tag, fields) => Object.assign(document.createElement(tag), fields);
             document.body.append(of('script', {textContent: 'window.pwned = 1'}));
             document.body.append(of('img', {src: 'http://127.0.0.1:9/x.png', onerror: done}));
           }).then(() => 0)"""
    )
    assert page.evaluate("window.pwned") is None
    for directive in ("script-src", "img-src"):
        assert any(directive in text and "Content Security Policy" in text for text in said), said


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_plots_read_in_both_schemes(
    browser: Any, tmp_path: Path, document: Document, scheme: str
) -> None:
    page = opened(browser, tmp_path, document, color_scheme=scheme).page
    assert contrast(colour(page, "body", "color"), colour(page, "section.metrics", "backgroundColor")) > 7
    assert contrast(colour(page, ".note", "color"), colour(page, "section.metrics", "backgroundColor")) > 4.5
    labels = page.evaluate(
        "getComputedStyle(document.querySelector('.chart svg .role-axis-label text')).fill"
    )
    assert contrast(rgb(labels), colour(page, "section.metrics", "backgroundColor")) > 4.5
    paper = colour(page, "body", "backgroundColor")
    assert (sum(paper) < 150) is (scheme == "dark")


def test_a_change_of_the_scheme_redraws_the_plots(browser: Any, tmp_path: Path, document: Document) -> None:
    page = opened(browser, tmp_path, document, color_scheme="light").page
    label = "getComputedStyle(document.querySelector('.chart svg .role-axis-label text')).fill"
    before = page.evaluate(label)
    page.emulate_media(color_scheme="dark")
    page.wait_for_selector("html[data-drawn=dark]")
    assert page.evaluate(label) != before


@pytest.mark.parametrize("width", [360, 768, 1600])
def test_the_page_fits_every_width(browser: Any, tmp_path: Path, document: Document, width: int) -> None:
    page = opened(browser, tmp_path, document, viewport={"width": width, "height": 800}).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = page.evaluate(
        "[...document.querySelectorAll('.chart svg')].map(s => s.getBoundingClientRect().width)"
    )
    assert all(150 < box <= width for box in boxes)


def test_the_figures_open_by_keyboard(browser: Any, tmp_path: Path, document: Document) -> None:
    page = opened(browser, tmp_path, document).page
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("details").first.get_attribute("open") is not None
    assert page.locator("details table").first.is_visible()
    reached = page.evaluate("document.activeElement.tagName")
    assert reached == "SUMMARY"


def test_pointing_at_a_line_tells_its_value(browser: Any, tmp_path: Path, document: Document) -> None:
    page = opened(browser, tmp_path, document).page
    page.locator(".chart svg").first.scroll_into_view_if_needed()
    box = page.locator(".chart svg").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector("#vg-tooltip-element.visible")
    words = page.locator("#vg-tooltip-element").inner_text()
    assert "epoch" in words
    assert "version" in words


def test_without_scripts_the_figures_are_there(browser: Any, tmp_path: Path, document: Document) -> None:
    path = tmp_path / "review.html"
    path.write_text(html.render(document), "utf-8")
    page = browser.new_context(offline=True, java_script_enabled=False).new_page()
    page.goto(path.as_uri())
    assert "0.875" in page.locator("section.metrics").inner_text()
    assert page.locator("details").count() == 6  # the plots' figures, and the columns of the data
    assert "need scripts" in page.locator("noscript").inner_text()


def test_hostile_text_is_shown_and_not_obeyed(browser: Any, tmp_path: Path) -> None:
    page, said, asked = opened(browser, tmp_path, evil(*hostile_plots(tmp_path)))
    drawn = marks(page)
    assert len(drawn) == 6
    assert all(drawn), drawn
    assert said == []
    assert [url for url in asked if url.startswith("http")] == []
    assert page.locator("header h1").inner_text().split() == EVIL.split()
    assert page.locator("img[src='x'], [onerror], a[href^='javascript']").count() == 0
    page.locator(".chart svg .mark-rect path").last.hover(force=True)
    page.wait_for_selector("#vg-tooltip-element.visible")
    assert page.locator("#vg-tooltip-element img").count() == 0
    assert said == []


# --- colours ---------------------------------------------------------------------------------------


def rgb(text: str) -> tuple[float, float, float]:
    """`rgb(1, 2, 3)` as numbers."""
    red, green, blue = (float(n) for n in text[text.index("(") + 1 : text.index(")")].split(",")[:3])
    return red, green, blue


def colour(page: Any, selector: str, name: str) -> tuple[float, float, float]:
    """The colour that an element has."""
    return rgb(page.evaluate(f"getComputedStyle(document.querySelector({selector!r})).{name}"))


def contrast(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    """The contrast of two colours as WCAG counts it, 1 to 21."""

    def light(colour: tuple[float, float, float]) -> float:
        linear = [
            c / 255 / 12.92 if c / 255 <= 0.03928 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)
