"""Coverage-guided fuzzing with atheris of all that reads text from people: compiler, formatter, importer.

    python -m tests.fuzz.fuzz compile|format|import [options of libFuzzer, such as -max_total_time=60]

Any text gives a value or findings whose places are inside the text; never an exception, never a hang.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["mlflowc"]):
    from mlflowc.compile import compile_text
    from mlflowc.diagnostic import Diagnostic
    from mlflowc.errors import Failure
    from mlflowc.importing import assemble
    from mlflowc.importing.coverage import Coverage
    from mlflowc.render import text as render_text
    from mlflowc.span import Source
    from mlflowc.syntax.format import format_source
    from mlflowc.syntax.parser import parse

import contextlib

from tests.support.dvc_projects import PROJECTS
from tests.support.loader import MemoryLoader

CHECKOUT = Path(__file__).resolve().parents[2]
FILES = {"params.yaml": "train: {lr: 0.1, depth: 4}\n", "data/raw.csv": "a\n", "src/train.py": "import os\n"}


def compiles(text: str) -> None:
    """Compiling and rendering; every place lies inside its file."""
    found = compile_text("p.mlpipe", text, MemoryLoader({**FILES, "p.mlpipe": text}))
    for diagnostic in found.diagnostics:
        _inside(diagnostic, found.sources)
    render_text.render(found.diagnostics, found.sources)


def formats(text: str) -> None:
    """A formatted file is a fixed point, and means the same."""
    once = format_source(Source("p.mlpipe", text))
    if isinstance(once, str):
        assert format_source(Source("p.mlpipe", once)) == once, "not idempotent"
        assert not parse(Source("p.mlpipe", once)).diagnostics


def imports(text: str) -> None:
    """A dvc.yaml or a workflow becomes a file, or there is a reason why not."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "dvc.yaml")
        path.write_text(text, "utf-8", errors="surrogatepass")
        with contextlib.suppress(Failure):
            assemble.make(assemble.plan((str(path),), None), Coverage())


def _inside(diagnostic: Diagnostic, sources: object) -> None:
    assert isinstance(sources, dict)
    for span in (diagnostic.span, *(label.span for label in diagnostic.related)):
        assert 0 <= span.start <= span.end <= len(sources[span.file].text), diagnostic


PIPELINES = [path.read_text("utf-8") for path in sorted((CHECKOUT / "tests" / "cases").glob("*/*.mlpipe"))]
TARGETS: dict[str, tuple[Callable[[str], None], list[str]]] = {
    "compile": (compiles, PIPELINES),
    "format": (formats, PIPELINES),
    "import": (imports, [files["dvc.yaml"] for files in PROJECTS.values() if "dvc.yaml" in files]),
}


def main() -> None:
    target, seeds = TARGETS[sys.argv[1]]

    def once(data: bytes) -> None:
        target(data.decode("utf-8", "replace"))

    corpus = CHECKOUT / ".cache" / "fuzz" / sys.argv[1]
    corpus.mkdir(parents=True, exist_ok=True)
    for n, seed in enumerate(seeds):
        (corpus / f"seed-{n}").write_text(seed, "utf-8")
    atheris.Setup([sys.argv[0], str(corpus), "-timeout=10", *sys.argv[2:]], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
