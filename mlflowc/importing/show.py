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
            # Instances of one stage say the same of one line.
            alike: dict[tuple[object, ...], list[Finding]] = {}
            for finding in found:
                alike.setdefault((finding.place, finding.construct, finding.todo), []).append(finding)
            lines += [line for group in alike.values() for line in _finding(group)]
    if not coverage.of(Fate.LEFT):
        lines += ["", "nothing was left out"]
    lines += ["", "next: read the file, then `mlpipec check` and `mlpipec run`"]
    return "\n".join(lines) + "\n"


def _finding(group: list[Finding]) -> list[str]:
    finding = group[0]
    more = f" (and {len(group) - 1} more like it)" if len(group) > 1 else ""
    head = f"  {finding.place}  {terminal.style(finding.construct, 'bold')}: {finding.text}{more}"
    return [head, f"      → {finding.todo}"] if finding.todo else [head]
