"""What checking a file against its type finds out: rules that are broken, how often, and where first."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

# So many places of a broken rule are shown.
SHOWN = 3
_WIDEST = 60


@dataclass(frozen=True, slots=True)
class Rule:
    """Something that a type says. `column` is None where it is about the whole file.

    `op` is `type missing unique in range matches null` for cells, `absent` for a column that is not there,
    `rows` for their number, `shape` for rows that do not fit the header, `read` for a file that is no table.
    `text` says the rule as the language does.
    """

    column: str | None
    op: str
    text: str


@dataclass(frozen=True, slots=True)
class Example:
    """A row that breaks a rule: its `line` in a text file (else None), its number from 1, the `value`.

    `first` is the line, or the row, that has the same value already (for `unique`).
    """

    line: int | None
    row: int
    value: str
    first: int | None = None

    @property
    def place(self) -> str:
        """`line 7`, or `row 6` where there are no lines."""
        return f"line {self.line}" if self.line is not None else f"row {self.row}"


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken rule: how many rows break it, the first of them, and a remark that says more.

    `file` is the one of a folder.
    """

    rule: Rule
    count: int
    examples: tuple[Example, ...] = ()
    note: str = ""
    file: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`rows` that were read (None: the file could not be read to its end), and the rules that are broken."""

    rows: int | None
    findings: tuple[Finding, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether the file is of its type."""
        return not self.findings


def lines(verdict: Verdict) -> list[str]:
    """A line for each broken rule, with the first rows that break it."""
    return [_line(f, verdict.rows) for f in verdict.findings]


def _line(finding: Finding, rows: int | None) -> str:
    rule = finding.rule
    what = f"`{finding.file}`: " if finding.file else ""
    what += f"`{rule.column}` {rule.text}" if rule.column is not None else rule.text
    if not finding.count:
        return f"{what}: {finding.note}" if finding.note else what
    of = f" of {rows:,}" if rows and finding.count < rows else ""
    text = f"{what}: {finding.count:,}{of} row{'' if finding.count == 1 and not of else 's'}"
    text += {"unique": f" repeat{'s' if finding.count == 1 else ''} an earlier value"}.get(rule.op, "")
    if finding.note:
        text += f", {finding.note}"
    places = [_example(e, rule) for e in finding.examples]
    more = ", …" if len(places) < finding.count and places else ""
    return f"{text} ({', '.join(places)}{more})" if places else text


def _example(example: Example, rule: Rule) -> str:
    value = "" if rule.op in ("missing", "null") else f": {example.value}"
    first = "" if example.first is None else f" as in {example.place.split()[0]} {example.first}"
    return f"{example.place}{value}{first}"


def shown(value: object) -> str:
    """A cell's value as it is shown: text in quotes, on one line, not too long."""
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
        return text if len(text) <= _WIDEST else f'{text[: _WIDEST - 2]}…"'
    text = str(value)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def encode(verdict: Verdict) -> dict[str, Any]:
    """The verdict as JSON, to be kept."""
    return asdict(verdict)


def decode(raw: Any) -> Verdict:
    """The verdict that `encode` made. Raises `ValueError` for anything else."""
    try:
        return Verdict(
            raw["rows"],
            tuple(
                Finding(
                    Rule(**f["rule"]),
                    f["count"],
                    tuple(Example(**e) for e in f["examples"]),
                    f["note"],
                    f["file"],
                )
                for f in raw["findings"]
            ),
        )
    except (KeyError, TypeError) as e:
        raise ValueError("no verdict") from e
