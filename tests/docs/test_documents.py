"""What the documents show is true: every pipeline in them parses, every link between them leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mlflowc.span import Source
from mlflowc.syntax.parser import parse
from tests.conftest import CHECKOUT

# docs/checks.md shows what is wrong, on purpose; it comes from the checks' own samples.
WRONG = {"checks.md"}
DOCUMENTS = sorted(
    path for pattern in ("*.md", "docs/*.md", "examples/*/README.md") for path in CHECKOUT.glob(pattern)
)
_BLOCK = re.compile(r"^```mlpipe\n(.*?)^```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")


def blocks() -> list[tuple[str, str]]:
    """Place and text of every pipeline in the documents; a part of one gets the first line that it lacks."""
    found = []
    for path in DOCUMENTS:
        if path.name in WRONG:
            continue
        text = path.read_text()
        for match in _BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            block = match[1] if match[1].lstrip().startswith("mlpipe ") else f"mlpipe 1\n{match[1]}"
            found.append((f"{path.relative_to(CHECKOUT)}:{line}", block))
    return found


BLOCKS = blocks()


def test_there_are_pipelines_in_the_documents() -> None:
    assert len(BLOCKS) >= 3


@pytest.mark.parametrize("text", [text for _, text in BLOCKS], ids=[place for place, _ in BLOCKS])
def test_pipelines_parse(text: str) -> None:
    assert [f"{d.code} {d.message}" for d in parse(Source("example.mlpipe", text)).diagnostics] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(CHECKOUT).as_posix())
def test_links_lead_somewhere(path: Path) -> None:
    targets = [path.parent / link for link in _LINK.findall(path.read_text())]
    assert [str(target) for target in targets if not target.exists()] == []
