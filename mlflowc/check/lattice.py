"""Which type fits where: the lattice of kinds, and structural subtyping of columns and constraints.

A producer fits a consumer when its kind is the same or narrower, and it has at least the columns asked for,
with types and constraints at least as narrow. What the producer does not declare is not promised.
"""

from __future__ import annotations

from typing import NamedTuple

from mlflowc.ir import direction
from mlflowc.ir import model as ir

# Each kind with the next wider one. `table` is any table; `metrics` is a JSON or YAML file of numbers.
PARENTS: dict[str, str | None] = {
    "path": None, "file": "path", "dir": "path", "text": "file",
    "csv": "text", "tsv": "text", "jsonl": "text", "json": "text", "yaml": "text", "markdown": "text",
    "html": "text",
    "metrics": "text", "parquet": "file", "arrow": "file", "image": "file", "notebook": "file",
    "model": "file",
    "archive": "file", "sqlite": "file",
}  # fmt: skip
TABLES = frozenset(("csv", "tsv", "jsonl", "parquet", "arrow"))
KINDS = (*PARENTS, "table")
SCALARS = ("int", "float", "str", "bool", "duration", "size")
# Stands for a type that could not be made out; it fits everywhere, so that one mistake gives one message.
ANY = ir.FileType("any")
UNKNOWN_SCALAR = ir.ScalarType("any")


class Misfit(NamedTuple):
    """Why a type does not fit: `aspect` is `kind column type constraint`, `reason` goes on after "but".

    `column` names the column or field concerned.
    """

    aspect: str
    reason: str
    column: str = ""


def narrower(kind: str, wide: str) -> bool:
    """Whether `kind` is `wide` or narrower."""
    if "any" in (kind, wide) or kind == wide:
        return True
    if wide == "table":
        return kind in TABLES
    if kind == "table":
        return wide in ("file", "path")
    if kind == "metrics" and wide in ("json", "yaml"):
        return True
    at: str | None = kind
    while at is not None:
        if at == wide:
            return True
        at = PARENTS.get(at)
    return False


def fits(producer: ir.FileType, consumer: ir.FileType) -> Misfit | None:
    """None where a file of type `producer` can stand where `consumer` is wanted, else the first reason why
    not."""
    if not narrower(producer.kind, consumer.kind):
        return Misfit("kind", f"{article(producer.kind)} is no {consumer.kind}")
    if "any" in (producer.kind, consumer.kind):
        return None
    if consumer.element is not None:
        if producer.element is None:
            return Misfit("kind", f"it does not say what its files are, and {spell(consumer)} is wanted")
        inner = fits(producer.element, consumer.element)
        if inner is not None:
            return inner._replace(reason=f"in its files, {inner.reason}")
    has = {c.name: c for c in producer.columns}
    for wanted in consumer.columns:
        misfit = _column(has.get(wanted.name), wanted, producer)
        if misfit is not None:
            return misfit
    return _constraints(producer.constraints, consumer.constraints, "the table")


def _column(has: ir.Column | None, wanted: ir.Column, producer: ir.FileType) -> Misfit | None:
    what = "field" if producer.kind == "metrics" else "column"
    if has is None:
        return Misfit("column", f"it has no {what} `{wanted.name}`", wanted.name)
    if not scalar_fits(has.type, wanted.type):
        reason = f"its {what} `{wanted.name}` is {spell_scalar(has.type)}, not {spell_scalar(wanted.type)}"
        return Misfit("type", reason, wanted.name)
    misfit = _constraints(has.constraints, wanted.constraints, f"its {what} `{wanted.name}`", has.type)
    return misfit._replace(column=wanted.name) if misfit else None


def scalar_fits(producer: ir.ScalarType, consumer: ir.ScalarType) -> bool:
    """Whether every value of `producer` is one of `consumer`."""
    if "any" in (producer.name, consumer.name):
        return True
    if producer.optional and not consumer.optional:
        return False
    if producer.name == "list" or consumer.name == "list":
        if producer.name != consumer.name:
            return False
        if consumer.element is None:
            return True
        return producer.element is not None and scalar_fits(producer.element, consumer.element)
    if consumer.name == "enum":
        return producer.name == "enum" and set(producer.values) <= set(consumer.values)
    return producer.name == consumer.name or (producer.name, consumer.name) in (
        ("int", "float"),
        ("enum", "str"),
    )


def _constraints(
    has: tuple[ir.Constraint, ...],
    wanted: tuple[ir.Constraint, ...],
    what: str,
    type: ir.ScalarType | None = None,
) -> Misfit | None:
    for constraint in wanted:
        if constraint.op in direction.OPS:  # a word for readers and gates: it forbids no value
            continue
        if any(implies(h, constraint) for h in has):
            continue
        if (
            type is not None
            and type.name == "enum"
            and constraint.op == "in"
            and set(type.values) <= set(constraint.values)
        ):
            continue
        same = next((h for h in has if h.op == constraint.op), None)
        promised = f"promises only `{spell_constraint(same)}`" if same else "promises nothing of the kind"
        return Misfit("constraint", f"{what} must be `{spell_constraint(constraint)}`, and it {promised}")
    return None


def implies(has: ir.Constraint, wanted: ir.Constraint) -> bool:
    """Whether what satisfies `has` satisfies `wanted`."""
    if wanted.op == "range" and has.op == "in":
        return all(_inside(v, wanted) for v in has.values)
    if has.op != wanted.op:
        return False
    if has.op == "in":
        return set(has.values) <= set(wanted.values)
    if has.op in ("range", "rows", "null"):
        low = wanted.low is None or (has.low is not None and has.low >= wanted.low)
        high = wanted.high is None or (has.high is not None and has.high <= wanted.high)
        return low and high
    return has == wanted


def _inside(value: object, range: ir.Constraint) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return (range.low is None or value >= range.low) and (range.high is None or value <= range.high)


def holds(value: ir.Value, constraint: ir.Constraint) -> bool:
    """Whether one value satisfies a constraint of its column or parameter."""
    import re

    if value is None:
        return True
    match constraint.op:
        case "in":
            return any(
                value == v and isinstance(value, bool) == isinstance(v, bool) for v in constraint.values
            )
        case "range":
            return _inside(value, constraint)
        case "matches":
            return isinstance(value, str) and re.search(constraint.pattern or "", value) is not None
    return True


# --- in words ----------------------------------------------------------------------------------


def article(kind: str) -> str:
    """`a csv`, `an image`, `metrics`."""
    if kind == "metrics":
        return kind
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def spell(type: ir.FileType) -> str:
    """A type as one would write it, columns left out: `csv`, `dir[image]`, `Customers`."""
    if type.name:
        return type.name
    return f"{type.kind}[{spell(type.element)}]" if type.element else type.kind


def spell_scalar(type: ir.ScalarType) -> str:
    """`int?`, `list[str]`, `enum ["a", "b"]`."""
    text = type.name
    if type.name == "enum":
        text = "enum [" + ", ".join(f'"{v}"' for v in type.values) + "]"
    elif type.element is not None:
        text = f"list[{spell_scalar(type.element)}]"
    return text + ("?" if type.optional else "")


def spell_value(value: object) -> str:
    """A literal as the language writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    if isinstance(value, tuple | list):
        return "[" + ", ".join(spell_value(v) for v in value) + "]"
    return str(value)


def spell_constraint(constraint: ir.Constraint) -> str:
    """A constraint as the language writes it."""
    match constraint.op:
        case "in":
            return f"in {spell_value(constraint.values)}"
        case "range":
            return f"in {constraint.low}..{constraint.high}"
        case "matches":
            return f"matches {spell_value(constraint.pattern)}"
        case "null":
            return f"null <= {(constraint.high or 0) * 100:g}%"
        case "rows" if constraint.high is None:
            return f"rows >= {constraint.low}"
        case "rows" if constraint.low is None:
            return f"rows <= {constraint.high}"
        case "rows":
            return f"rows in {constraint.low}..{constraint.high}"
    return constraint.op
