"""What a job does for gates and reports: decides, writes, and tells the service. Not a command of its own."""

from __future__ import annotations

import os
from pathlib import Path

from mlflowc import terminal
from mlflowc.errors import Failure
from mlflowc.jobs.handover import ignored_folder
from mlflowc.runtime import gates as gates_
from mlflowc.runtime.gates import GateResult
from mlflowc.runtime.workspace import Workspace

FOLDER = "mlpipe-report"
# GitHub takes 1 MiB for all that a step adds to its summary.
SUMMARY_LIMIT = 900_000


def check(ws: Workspace, gates: tuple[str, ...], reports: tuple[str, ...]) -> int:
    """Decides the gates and writes the reports into `mlpipe-report/`; 1 when a gate does not hold.

    Reports come first and show the gates, so that a failed gate comes with the picture.
    """
    results = [gates_.check(ws, g) for g in ws.pipeline.gates if g.name in gates]
    texts = _reports(ws, reports, results)
    for result in results:
        print(gates_.render(result, terminal.width(), colour=terminal.style))
    _summary([*texts, *([] if texts else [_table(r) for r in results])])
    failed = [r.name for r in results if not r.passed]
    if failed:
        names = ", ".join(f"`{n}`" for n in failed)
        terminal.error(f"gate{'s' if len(failed) > 1 else ''} {names}: not all requirements hold")
    return 1 if failed else 0


def _reports(ws: Workspace, names: tuple[str, ...], results: list[GateResult]) -> list[str]:
    """Writes each report as Markdown, with pictures, and as a page; returns the Markdown without pictures."""
    if not names:
        return []
    from mlflowc.report import build, html, markdown, pictures

    texts = []
    for report in (r for r in ws.pipeline.reports if r.name in names):
        document = build.build(ws, report, gates=results)
        folder = ws.root / FOLDER
        files: dict[str, bytes] = {}
        if pictures.available():
            files |= pictures.files(document, report.name)
            files[f"{report.name}.md"] = markdown.render(document, images="files", stem=report.name).encode()
            files[f"{report.name}.html"] = html.render(document).encode()
        else:
            files[f"{report.name}.md"] = markdown.render(document).encode()
        _write(folder, files, report.name)
        print(f"report {report.name}: {', '.join(f'{FOLDER}/{n}' for n in sorted(files))}")
        texts.append(markdown.render(document, limit_bytes=SUMMARY_LIMIT // len(names)))
    return texts


def _write(folder: Path, files: dict[str, bytes], report: str) -> None:
    try:
        ignored_folder(folder)
        for old in folder.glob(f"{report}-[0-9]*"):  # pictures that an earlier form of the report had
            if old.name not in files:
                old.unlink()
        for name, data in files.items():
            (folder / name).write_bytes(data)
    except OSError as e:
        raise Failure(f"cannot write in `{FOLDER}/`: {e.strerror}") from e


def _table(result: GateResult) -> str:
    # Indented text is code in Markdown, and no name in it can end that.
    lines = gates_.render(result, 100).rstrip("\n").split("\n")
    words = "holds" if result.passed else "does not hold"
    return f"## Gate {result.name} {words}\n\n" + "\n".join("    " + line for line in lines) + "\n"


def _summary(texts: list[str]) -> None:
    """Adds to the summary of the run, where the service has one (GitHub)."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path or not texts:
        return
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write("\n".join(texts))
    except OSError as e:
        raise Failure(f"cannot write the summary `{path}`: {e.strerror}") from e
