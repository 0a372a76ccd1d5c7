"""What the checking of one pipeline shares: the scopes, the port to the files, and where findings go."""

from __future__ import annotations

from mlflowc.check.model import Reference
from mlflowc.diagnostic import Check, Diagnostic, Fix, Label
from mlflowc.frozen import dataclass, field
from mlflowc.ir import model as ir
from mlflowc.resolve.loader import Loader
from mlflowc.resolve.modules import Modules
from mlflowc.resolve.scope import Entry, Scope
from mlflowc.span import Source, Span
from mlflowc.syntax import ast


@dataclass(slots=True)
class Context:
    """Collects diagnostics and references while the pipeline is checked. Everything else in it is read
    only."""

    modules: Modules
    scopes: dict[str, Scope]
    loader: Loader
    sources: dict[str, Source]
    problems: list[Diagnostic] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)

    @property
    def main(self) -> Scope:
        """What the pipeline's own file sees."""
        return self.scopes[self.modules.main.name]

    def report(
        self,
        check: Check,
        message: str,
        span: Span,
        *,
        label: str = "",
        related: tuple[Label, ...] = (),
        help: str = "",
        fix: Fix | None = None,
    ) -> None:
        """Adds a finding."""
        self.problems.append(
            Diagnostic.of(check, message, span, label=label, related=related, help=help, fix=fix)
        )

    def find(self, scope: Scope, kind: str, names: tuple[ast.Name, ...]) -> Entry | None:
        """The thing of `kind` that `names` stands for in `scope`; None with a diagnostic where there is
        none."""
        found = scope.find(kind, names)
        if isinstance(found, Diagnostic):
            self.problems.append(found)
            return None
        self.refer(names[-1].span, found.kind, found.name, found.span)
        return found

    def refer(self, span: Span, kind: str, name: str, target: Span) -> None:
        """Notes that the name at `span` means the thing declared at `target`."""
        self.references.append(Reference(span, kind, name, target))

    def place(self, span: Span) -> ir.Place:
        """A span as the IR keeps it: file, line, column."""
        position = self.sources[span.file].position(span.start)
        return ir.Place(span.file, position.line, position.column)
