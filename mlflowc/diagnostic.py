"""What the compiler has to say, as values. `mlflowc.render` turns them into text, JSON and SARIF."""

from __future__ import annotations

import textwrap
from enum import StrEnum
from typing import NamedTuple

from mlflowc.frozen import dataclass
from mlflowc.span import Span


class Severity(StrEnum):
    """How bad it is. Only an `ERROR` makes a compile fail."""

    ERROR = "error"
    WARNING = "warning"


class Check(NamedTuple):
    """One thing that can be wrong, known by a stable code.

    Phases: `MLP1xx` syntax, `2xx` names and types, `3xx` graph, `4xx` lint, `5xx` what a target or
    this version cannot do. `explanation` is Markdown: why it matters, a failing example, the mended one.
    """

    code: str
    severity: Severity
    title: str
    explanation: str


def explanation(why: str, fails: str, mended: str) -> str:
    """The Markdown of a `Check`: why it matters, a source that it finds (```` ```mlpipe fails ````), and the
    same source mended. The sources are what stands below the header; all may be indented as code asks for.
    """
    texts = [textwrap.dedent(text).strip() for text in (why, fails, mended)]
    blocks = [f"mlpipe 1\npipeline example\n\n{text}" for text in texts[1:]]
    return f"{texts[0]}\n\n```mlpipe fails\n{blocks[0]}\n```\n\n```mlpipe\n{blocks[1]}\n```\n"


class Label(NamedTuple):
    """A second place that belongs to a diagnostic, and what there is to say of it."""

    span: Span
    text: str


class Edit(NamedTuple):
    """Replace the characters of `span` by `text`."""

    span: Span
    text: str


class Fix(NamedTuple):
    """A mend that is certain: a machine may apply all its edits at once."""

    title: str
    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """`message` says the cause in one sentence, `label` what stands at `span`, `help` what to do."""

    code: str
    severity: Severity
    message: str
    span: Span
    label: str = ""
    related: tuple[Label, ...] = ()
    help: str = ""
    fix: Fix | None = None

    @classmethod
    def of(
        cls,
        check: Check,
        message: str,
        span: Span,
        *,
        label: str = "",
        related: tuple[Label, ...] = (),
        help: str = "",
        fix: Fix | None = None,
    ) -> Diagnostic:
        """A diagnostic of `check`, with its code and severity."""
        return cls(check.code, check.severity, message, span, label, related, help, fix)


def has_errors(diagnostics: tuple[Diagnostic, ...]) -> bool:
    """Whether any of them must stop the compile."""
    return any(d.severity is Severity.ERROR for d in diagnostics)
