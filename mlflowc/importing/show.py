"""The coverage report on the terminal."""

from __future__ import annotations

from collections import Counter

from mlflowc import terminal
from mlflowc.importing.coverage import Coverage, Fate, Finding


def text(coverage: Coverage) -> str:
    """What was carried over, in numbers, and all that was not, with its place and what to do."""
    lines: list[str] = []
    carried = Counter(f.construct for f in coverage.of(Fate.CARRIED))
    if carried:
        counts = " · ".join(f"{n} {construct}" for construct, n in carried.items())
        lines += [f"{terminal.style('carried over', 'green')}  {counts}"]
    for fate, title, colour in (
        (Fate.CHANGED, "carried over with a difference", "yellow"),
        (Fate.LEFT, "not carried over", "red"),
    ):
        found = coverage.of(fate)
        if found:
            lines += ["", f"{terminal.style(title, colour)}  {len(found)}"]
            lines += [line for finding in found for line in _finding(finding)]
    if not coverage.of(Fate.LEFT):
        lines += ["", "everything was carried over"]
    lines += ["", "next: read the file, then `mlpipec check` and `mlpipec run`"]
    return "\n".join(lines) + "\n"


def _finding(finding: Finding) -> list[str]:
    head = f"  {finding.place}  {terminal.style(finding.construct, 'bold')}: {finding.text}"
    return [head, f"      → {finding.todo}"] if finding.todo else [head]
