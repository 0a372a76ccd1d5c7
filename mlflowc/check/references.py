"""References: `raw`, `prepare.clean`, `train["de"].model`, `train[*].scores.auc`, `tune.best.model`."""

from __future__ import annotations

import re
from typing import NamedTuple

from mlflowc.check import values
from mlflowc.check.context import Context
from mlflowc.check.lattice import spell_value
from mlflowc.check.signatures import Instance, Offer, Scalar, Signature, shown
from mlflowc.diagnostic import Check, Label, Severity
from mlflowc.frozen import dataclass, replace
from mlflowc.ir import model as ir
from mlflowc.ir import sweeps
from mlflowc.resolve import scope as scopes
from mlflowc.resolve.scope import Entry
from mlflowc.span import Span
from mlflowc.spell import nearest
from mlflowc.syntax import ast

FORM = Check(
    "MLP234",
    Severity.ERROR,
    "a reference that is not complete",
    """
A reference names data (`raw`) or an output of a stage (`prepare.clean`). A stage with `each` has instances:
`train["de"].model` is that of one, `train[*].model` those of all, as a list.

```mlpipe fails
mlpipe 1
pipeline example
stage prepare {
  out clean = "clean.csv"
  run = "make {{clean}}"
}
stage train {
  in  data = prepare
  run = "train {{data}}"
}
```

```mlpipe
mlpipe 1
pipeline example
stage prepare {
  out clean = "clean.csv"
  run = "make {{clean}}"
}
stage train {
  in  data = prepare.clean
  run = "train {{data}}"
}
```
""",
)
CHECKS = (FORM,)


class Link(NamedTuple):
    """One step of a chain: `.name`, or `[at]` with `at` None for `[*]`."""

    name: ast.Name | None
    at: ast.Expr | None
    span: Span


class Chain(NamedTuple):
    """`base.name[index]…`, cut at its steps."""

    base: ast.Expr
    links: tuple[Link, ...]
    span: Span

    @property
    def text(self) -> str:
        """For messages."""
        out = self.base.name.text if isinstance(self.base, ast.NameExpr) else "…"
        for link in self.links:
            if link.name is not None:
                out += f".{link.name.text}"
            else:
                inner = "*" if link.at is None else spell_index(link.at)
                out += f"[{inner}]"
        return out


@dataclass(frozen=True, slots=True)
class Reached:
    """An output of one stage, of some of its instances (`many`), and the names behind it (fields).

    What a sweep makes is an output of the stage that carries it out: see `mlflowc.ir.sweeps`.
    """

    signature: Signature
    offer: Offer
    instances: tuple[Instance, ...]
    many: bool
    rest: tuple[ast.Name, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class ReachedData:
    """A data source, and the names behind it."""

    entry: Entry
    rest: tuple[ast.Name, ...]
    span: Span


def spell_index(expr: ast.Expr) -> str:
    """What stands between the brackets, for messages."""
    if isinstance(expr, ast.NameExpr):
        return expr.name.text
    value = values.literal(expr)
    return "…" if isinstance(value, values.Bad) else spell_value(value)


def chain(expr: ast.Expr) -> Chain:
    """`expr` as a chain; a base that is no name is the caller's to judge."""
    links: list[Link] = []
    at = values.bare(expr)
    while True:
        if isinstance(at, ast.Attribute):
            links.append(Link(at.name, None, at.name.span))
        elif isinstance(at, ast.Index):
            links.append(Link(None, at.index, at.span))
        else:
            return Chain(at, tuple(reversed(links)), expr.span)
        at = values.bare(at.value)


_PIECE = re.compile(
    r"""\s*(?:\.?\s*([A-Za-z_]\w*)|\[\s*(?:(\*)|\\?"([^"\\]*)\\?"|(-?\d+)|([A-Za-z_]\w*))\s*\])""", re.ASCII
)


def chain_of_text(text: str, span: Span) -> Chain | None:
    """The chain that a placeholder writes; None where it is none."""
    at, links, base = 0, list[Link](), None
    while at < len(text):
        match = _PIECE.match(text, at)
        if (
            match is None
            or (base is None and match[1] is None)
            or (match[1] and base and "." not in match[0])
        ):
            return None
        here = Span(span.file, span.start + match.start(), span.start + match.end())
        if match[1] is not None:
            name = ast.Name(match[1], Span(span.file, span.start + match.start(1), span.start + match.end(1)))
            if base is None:
                if "." in match[0]:
                    return None
                base = ast.NameExpr(name, name.span)
            else:
                links.append(Link(name, None, name.span))
        elif match[2]:
            links.append(Link(None, None, here))
        elif match[5]:
            links.append(Link(None, ast.NameExpr(ast.Name(match[5], here), here), here))
        elif match[4]:
            links.append(Link(None, ast.Num("int", int(match[4]), match[4], here), here))
        else:
            links.append(Link(None, ast.Str(match[3], f'"{match[3]}"', here), here))
        at = match.end()
    return Chain(base, tuple(links), span) if base is not None else None


class References:
    """Follows chains to what they mean. `trials` holds the type of the table of each sweep's trials."""

    def __init__(self, ctx: Context, signatures: dict[str, Signature]) -> None:
        self._ctx = ctx
        self.signatures = signatures
        self.trials: dict[str, ir.FileType] = {}

    def follow(
        self, chain: Chain, each: dict[str, Scalar], wanted: str = "stage"
    ) -> Reached | ReachedData | None:
        """What `chain` means where the variables `each` hold; None with a diagnostic where it means
        nothing."""
        if not isinstance(chain.base, ast.NameExpr):
            values.wrong(self._ctx, chain.base, "a reference", "such as `raw` or `prepare.clean`")
            return None
        name = chain.base.name
        entry = self._ctx.main.things.get(name.text)
        if entry is None:
            found = self._ctx.main.find(wanted, (name,))
            if not isinstance(found, Entry):
                self._ctx.problems.append(found)
            return None
        self._ctx.refer(name.span, entry.kind, entry.name, entry.span)
        if entry.kind == "data":
            rest = self._names(chain.links, chain)
            return None if rest is None else ReachedData(entry, rest, chain.span)
        if entry.kind == "sweep":
            return self._sweep(entry, chain)
        if entry.kind != "stage":
            self._ctx.problems.append(scopes.wrong_kind(name, wanted, entry))
            return None
        signature = self.signatures.get(entry.name)
        return self._stage(signature, chain, each) if signature is not None else None

    def instances(
        self,
        signature: Signature,
        links: tuple[Link, ...],
        each: dict[str, Scalar],
        chain: Chain,
        *,
        all: bool = False,
    ) -> tuple[tuple[Instance, ...], bool, tuple[Link, ...]] | None:
        """The instances that the leading `[…]` of `links` select, whether they are a list, and what is left.
        `all`: without brackets all are meant."""
        axes = signature.axes
        point: list[Scalar | None] = []
        while links and links[0].name is None:
            if len(point) == len(axes):
                many = "no instances: it has no `each`" if not axes else f"only {len(axes)} variables"
                self._ctx.report(
                    FORM, f"`{signature.name}` has {many}", links[0].span, related=self._declared(signature)
                )
                return None
            chosen = self._index(signature, len(point), links[0], each)
            if isinstance(chosen, values.Bad):
                return None
            point.append(chosen)
            links = links[1:]
        if len(point) < len(axes) and not all and not (point and point[-1] is None):
            first = next(iter(signature.instances.values()), None)
            one = (
                f"`{signature.name}[{', '.join(spell_value(v) for _, v in first.each)}]`"
                if first and len(axes) == 1
                else "one"
            )
            self._ctx.report(
                FORM,
                f"`{signature.name}` has {len(signature.instances)} instances, "
                f"and `{chain.text}` does not say which",
                chain.span,
                related=self._declared(signature),
                help=f"write `{signature.name}[*]` for all, or {one}",
            )
            return None
        point += [None] * (len(axes) - len(point))
        if None not in point:
            only = signature.instances.get(tuple(p for p in point if p is not None))
            return ((only,) if only else ()), False, links
        chosen_instances = tuple(i for values_, i in signature.instances.items() if all_match(point, values_))
        return chosen_instances, True, links

    def _index(
        self, signature: Signature, axis: int, link: Link, each: dict[str, Scalar]
    ) -> Scalar | values.Bad | None:
        if link.at is None:
            return None
        name, options = signature.axes[axis]
        expr = values.bare(link.at)
        if isinstance(expr, ast.NameExpr) and expr.name.text in each:
            value: ir.Value | values.Bad = each[expr.name.text]
        elif isinstance(expr, ast.NameExpr):
            self._ctx.problems.append(scopes.unknown(expr.name, "variable of `each`", list(each)))
            return values.BAD
        else:
            value = values.literal(expr)
        for option in options:
            if option == value and isinstance(option, bool) == isinstance(value, bool):
                return option
        if options:
            guess = nearest(str(value), [shown(o) for o in options])
            chosen = next((o for o in options if shown(o) == guess), None)
            hint = (
                f"write {spell_value(chosen)}?"
                if chosen is not None
                else "it has " + ", ".join(spell_value(o) for o in options[:8])
            )
            text = spell_index(expr) if isinstance(value, values.Bad) else spell_value(value)
            self._ctx.report(
                scopes.UNKNOWN, f"`{signature.name}` has no instance with `{name.text}` = {text}", expr.span,
                related=self._declared(signature), help=hint,
            )  # fmt: skip
        return values.BAD

    def _stage(self, signature: Signature, chain: Chain, each: dict[str, Scalar]) -> Reached | None:
        selected = self.instances(signature, chain.links, each, chain)
        if selected is None:
            return None
        instances, many, links = selected
        if not links:
            outputs = _outputs(signature)
            has = f"write {outputs}" if outputs else "it has no outputs"
            related = self._declared(signature)
            self._ctx.report(
                FORM,
                f"`{chain.text}` is a stage, and one of its outputs is wanted",
                chain.span,
                related=related,
                help=has,
            )
            return None
        names = self._names(links, chain)
        if names is None:
            return None
        offer = signature.offers.get(names[0].text)
        if offer is None:
            if signature.items or signature.component:
                guess, outputs = nearest(names[0].text, signature.offers), _outputs(signature)
                self._ctx.report(
                    scopes.UNKNOWN,
                    f"`{signature.name}` has no output `{names[0].text}`",
                    names[0].span,
                    related=self._declared(signature),
                    help=f"write `{guess}`?"
                    if guess
                    else (f"it has {outputs}" if outputs else "it has no outputs"),
                )
            return None
        self._ctx.refer(names[0].span, "output", f"{signature.name}.{offer.name}", offer.item.name.span)
        return Reached(signature, offer, instances, many, names[1:], chain.span)

    def _sweep(self, entry: Entry, chain: Chain) -> Reached | None:
        names = self._names(chain.links, chain)
        assert isinstance(entry.decl, ast.SweepDecl)
        base = values.bare(entry.decl.stage)
        swept = base.name.text if isinstance(base, ast.NameExpr) else ""
        signature = self.signatures.get(swept)
        if names is None or signature is None:
            return None
        head, *rest = [n.text for n in names] or [""]
        if head in (sweeps.TRIALS, sweeps.PARAMS):
            type = ir.FileType("json") if head == sweeps.PARAMS else self.trials.get(entry.name)
            item = ast.OutItem(ast.Name(head, entry.span), None, entry.decl.stage, entry.span)
            offer = Offer(head, type or ir.FileType("any"), item)
            behind = names[1:]
        elif head != sweeps.BEST or not rest:
            self._ctx.report(
                FORM, f"`{chain.text}` is no artifact of the sweep", chain.span,
                related=(Label(entry.span, "declared here"),),
                help=f"write `{entry.name}.best.OUTPUT`, `{entry.name}.params` or `{entry.name}.trials`",
            )  # fmt: skip
            return None
        elif rest[0] not in signature.offers:
            unknown = scopes.unknown(names[1], f"output of `{swept}`", list(signature.offers))
            self._ctx.problems.append(unknown)
            return None
        else:
            best = signature.offers[rest[0]]
            offer = replace(best, name=f"{sweeps.BEST}.{best.name}")
            behind = names[2:]
        made = replace(signature, entry=entry)
        return Reached(made, offer, (Instance(entry.name),), False, behind, chain.span)

    def _names(self, links: tuple[Link, ...], chain: Chain) -> tuple[ast.Name, ...] | None:
        for link in links:
            if link.name is None:
                self._ctx.report(
                    FORM,
                    f"`[…]` cannot stand here in `{chain.text}`",
                    link.span,
                    help="it follows the stage's name",
                )
                return None
        return tuple(link.name for link in links if link.name is not None)

    def _declared(self, signature: Signature) -> tuple[Label, ...]:
        return (Label(signature.entry.span, "declared here"),)


def _outputs(signature: Signature) -> str:
    return ", ".join(f"`{signature.name}.{o}`" for o in signature.offers)


def all_match(point: list[Scalar | None], candidate: tuple[Scalar, ...]) -> bool:
    """Whether `candidate` agrees with every value that `point` gives."""
    return all(
        p is None or (p == c and isinstance(p, bool) == isinstance(c, bool))
        for p, c in zip(point, candidate, strict=True)
    )
