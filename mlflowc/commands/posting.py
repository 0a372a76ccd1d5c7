"""Reports as comments and gates as commit statuses of a pull request. Not a command of its own.

Nothing here decides whether a job succeeds: gates do. What could not be written is said in the log, and the
report is in the job's summary where the service has one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from mlflowc import terminal
from mlflowc.commands import summary
from mlflowc.errors import Failure
from mlflowc.report import markdown
from mlflowc.report.forges import comment
from mlflowc.report.forges.comment import Outcome
from mlflowc.report.forges.place import SERVICES, Given, Place, detect
from mlflowc.report.model import Document
from mlflowc.runtime.gate_result import GateResult


def report(document: Document, given: Given) -> int:
    """`mlpipec report NAME --post`: 0 when the comment is as it should be or there is nothing to comment on,
    1 when it could not be written. In both other cases the report is added to the job's summary."""
    place = detect(os.environ, given)
    if place is None:
        raise Failure(
            "no CI service is known here, so where to post is not, either",
            help=f"say it: --service {'|'.join(SERVICES)} --repository OWNER/NAME --pull-request NUMBER",
            code=2,
        )
    outcome = comment.hindrance(place) if place.number is not None else None
    if outcome is None:
        line = comment.connect(place)
        try:
            outcome = comment.post(line, document)
        finally:
            line.close()
    _tell(outcome)
    if outcome.state not in ("skipped", "failed"):
        return 0
    words = f"> {outcome.message}\n" if outcome.state == "failed" else ""
    if summary.add([markdown.render(document, images="mermaid", limit_bytes=summary.LIMIT), words]):
        print("the report is in the job's summary")
    return 1 if outcome.state == "failed" else 0


def everything(documents: Sequence[Document], pipeline: str, gates: Sequence[GateResult]) -> None:
    """The comments and the commit statuses of a job. `gates` are those that get one."""
    if not documents and not gates:
        return
    try:
        place = detect(os.environ)
        if place is None:
            _tell(Outcome("skipped", "no CI service is known here: nothing is posted"))
            return
        outcomes = _written(place, documents, pipeline, gates)
    except Failure as e:
        outcomes = [Outcome("failed", f"nothing is posted: {e.message}", e.help)]
    for outcome in outcomes:
        _tell(outcome)
    summary.add([f"> {o.message}\n" for o in outcomes if o.state == "failed"])


def _written(
    place: Place, documents: Sequence[Document], pipeline: str, gates: Sequence[GateResult]
) -> list[Outcome]:
    hindered = comment.hindrance(place)
    if hindered is not None:
        return [hindered]
    line = comment.connect(place)
    try:
        outcomes = [comment.post(line, d) for d in documents]
        return outcomes + (comment.set_statuses(line, pipeline, gates) if gates else [])
    finally:
        line.close()


def _tell(outcome: Outcome) -> None:
    for note in outcome.notes:
        print(f"note: {note}", file=sys.stderr)
    if outcome.state != "failed":
        print(outcome.message)
        return
    paint = terminal.style
    print(paint("warning", "bold", "yellow", stream=sys.stderr) + f": {outcome.message}", file=sys.stderr)
    for text in outcome.help.splitlines():
        print(f"  {text}", file=sys.stderr)
