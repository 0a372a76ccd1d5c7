"""What a job does for gates and reports: decides, writes, and tells the service. Not a command of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlflowc import terminal
from mlflowc.errors import Failure
from mlflowc.jobs.handover import ignored_folder
from mlflowc.runtime import gate_table, junit
from mlflowc.runtime import gates as gates_
from mlflowc.runtime.gates import GateResult
from mlflowc.runtime.workspace import Workspace

if TYPE_CHECKING:
    from mlflowc.report.model import Document

FOLDER = "mlpipe-report"


@dataclass(frozen=True, slots=True)
class Post:
    """What of a job the pull request gets to see."""

    comments: bool = False
    statuses: bool = False


def check(
    ws: Workspace, gates: tuple[str, ...], reports: tuple[str, ...], post: Post = Post(), job: str = ""
) -> int:
    """Decides the gates and writes the reports into `mlpipe-report/`; 1 when a gate does not hold.

    Reports come first and show the gates, so that a failed gate comes with the picture. What is posted
    changes nothing about the result. A `job` leaves the gates as JUnit XML, too.
    """
    results = [gates_.check(ws, g) for g in ws.pipeline.gates if g.name in gates]
    documents = _reports(ws, reports, results)
    for result in results:
        print(gates_.render(result, terminal.width(), colour=terminal.style))
    _summary(documents, results)
    if job and results:
        ignored_folder(ws.root / FOLDER)
        junit.write(ws.root / junit.PLACE / f"{job}.xml", ws.pipeline.name, junit.of_gates(results))
    if post.comments or post.statuses:
        from mlflowc.commands import posting  # it brings an HTTP client: only who posts waits for that

        posting.everything(
            documents if post.comments else [], ws.pipeline.name, results if post.statuses else []
        )
    failed = [r.name for r in results if not r.passed]
    if failed:
        names = ", ".join(f"`{n}`" for n in failed)
        terminal.error(f"gate{'s' if len(failed) > 1 else ''} {names}: not all requirements hold")
    return 1 if failed else 0


def _reports(ws: Workspace, names: tuple[str, ...], results: list[GateResult]) -> list[Document]:
    """Writes each report as Markdown, with pictures, and as a page."""
    if not names:
        return []
    from mlflowc.report import build, html, markdown, pictures, stagerows

    documents = []
    states = stagerows.of_commit(ws, [s.id for s in ws.pipeline.stages])
    for report in (r for r in ws.pipeline.reports if r.name in names):
        document = build.build(ws, report, gates=results, states=states)
        folder = ws.root / FOLDER
        files = {f"{report.name}.html": html.render(document).encode()}
        if pictures.available():
            files |= pictures.files(document, report.name)
            files[f"{report.name}.md"] = markdown.render(document, images="files", stem=report.name).encode()
        else:
            files[f"{report.name}.md"] = markdown.render(document).encode()
        _write(folder, files, report.name)
        print(f"report {report.name}: {', '.join(f'{FOLDER}/{n}' for n in sorted(files))}")
        documents.append(document)
    return documents


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
    words = "holds" if result.passed else "does not hold"
    return f"## Gate {result.name} {words}\n\n{gate_table.block(result)}"


def _summary(documents: list[Document], results: list[GateResult]) -> None:
    """Adds the reports, or the gates where there is no report, to the summary of the run."""
    from mlflowc.commands import summary

    if not summary.wanted():
        return
    if not documents:
        summary.add([_table(r) for r in results])
        return
    from mlflowc.report import markdown

    share = summary.LIMIT // len(documents)
    summary.add([markdown.render(d, images="mermaid", limit_bytes=share) for d in documents])
