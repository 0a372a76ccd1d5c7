"""A draft as the text of a `.mlpipe` file, in canonical form."""

from __future__ import annotations

from collections.abc import Iterable

from mlflowc.importing.draft import (
    BlockDraft,
    DataUse,
    Draft,
    InputDraft,
    PathUse,
    Ref,
    ReportDraft,
    Source,
    StageDraft,
)
from mlflowc.importing.fold import Folding, fold
from mlflowc.importing.literals import escaped, quoted
from mlflowc.importing.shellplace import Command, Placeholder
from mlflowc.importing.templating import Text
from mlflowc.span import Source as File
from mlflowc.syntax.format import format_source

_WIDTH = 100
_HOST = "Variables of the host that commands use: names and values count in the keys of their stages."


def text(draft: Draft, file: str) -> str:
    """The file. Its form is what `mlpipec fmt` would make of it."""
    folding = fold(draft)
    parts = [_comments(draft.comments) + f"mlpipe 1\n\npipeline {draft.name}\n"]
    if draft.params:
        parts.append("".join(f"params {quoted(p)}\n" for p in draft.params))
    if draft.declared:
        declared = draft.declared.items()
        parts.append("".join(f"param {name}: {p.type} = {p.default}\n" for name, p in declared))
    env = _env(draft)
    parts += [_block(b) for b in (*([env] if env else []), *draft.blocks)]
    if draft.data:
        parts.append(
            "".join(
                f"{_comments([data.comment])}data {name} = {data.source}\n"
                for name, data in draft.data.items()
            )
        )
    parts += [_stage(draft, n, folding) for n in folding.written]
    parts += [_report(r, folding) for r in draft.reports]
    parts += [_block(b) for b in draft.events]
    formatted = format_source(File(file, "\n".join(parts)))
    assert isinstance(formatted, str), (formatted, parts)
    return formatted


def _comments(lines: Iterable[str]) -> str:
    return "".join(
        f"# {''.join(c if c.isprintable() else ' ' for c in line)}".rstrip() + "\n"
        for text in lines
        for line in text.splitlines()
    )


def _block(block: BlockDraft) -> str:
    body = "".join(f"  {line}\n" for line in block.lines)
    return f"{_comments(block.comments)}{block.head} {{\n{body}}}\n"


def _env(draft: Draft) -> BlockDraft | None:
    """The environment: `host` where all that is known of it are variables of the host, else `py`."""
    env = draft.env
    lines = [f"{k} = {quoted(v)}" for k in ("python", "requirements", "lock") if (v := getattr(env, k))]
    if env.vars:
        lines.append("vars { " + ", ".join(f"{k} = {quoted(v)}" for k, v in sorted(env.vars.items())) + " }")
    if draft.passed:
        lines.append(f"pass = [{', '.join(_name(n) for n in sorted(draft.passed))}]")
    if not lines:
        return None
    return BlockDraft("env host" if env.empty else "env py", lines, [_HOST] if draft.passed else [])


def _name(name: str) -> str:
    """The name of a variable; those that are words of the language stand in quotes."""
    return quoted(name) if name in ("true", "false", "null") else name


def _report(report: ReportDraft, folding: Folding) -> str:
    lines: dict[str, None] = {}
    for show in report.lines:
        shown = [show.kind]
        if show.ref is not None:
            shown.append(f"{folding.all(show.ref.stage)}.{show.ref.output}")
        if show.text:
            shown.append(f'"{escaped(show.text, last=True)}"')
        if show.vs:
            shown.append(f"vs {quoted(show.vs)}")
        if show.settings:
            shown.append("{ " + ", ".join(show.settings) + " }")
        lines[" ".join(shown)] = None
    return f"report {report.name} {{\n" + "".join(f"  {line}\n" for line in lines) + "}\n"


# --- stages ------------------------------------------------------------------------------------


def _stage(draft: Draft, index: int, folding: Folding) -> str:
    stage = draft.stages[index]
    variables = [name for name, _ in stage.each] if index in folding.clauses else []
    lines = [_input(i, stage, folding) for i in stage.inputs]
    if stage.params:
        lines.append("param " + ", ".join(stage.params))
    for n, out in enumerate(stage.outputs):
        type = f": {out.type}" if out.type else ""
        lines += _comments(folding.comments(index, n)).splitlines()
        lines.append(f'{"keep" if out.kept else "out"} {out.name}{type} = "{path(out.path, variables)}"')
    if stage.dir:
        lines.append(f"dir = {quoted(stage.dir)}")
    env = stage.env if draft.env.empty else "py"
    settings = (("env", env), ("runner", stage.runner), ("timeout", stage.timeout))
    lines += [f"{key} = {value}" for key, value in settings if value]
    if stage.secrets:
        lines.append(f"secrets = [{', '.join(_name(n) for n in stage.secrets)}]")
    lines.append(f"run = {_run([command(c) for c in (stage.symbolic if variables else stage.commands)])}")
    head = f"stage {folding.name(index)}{folding.clauses.get(index, '')}"
    body = "".join(f"  {line}\n" for line in lines)
    return f"{_comments(stage.comments)}{head} {{\n{body}}}\n"


def path(written: Text, variables: Iterable[str]) -> str:
    """A path inside of quotes, with placeholders for the variables of `each`."""
    known = set(variables)
    parts: list[str | Placeholder] = []
    for piece in written:
        origin = piece.origin
        if origin is not None and origin.file is None and origin.key in known:
            parts.append(Placeholder(origin.key))
        elif parts and isinstance(parts[-1], str):
            parts[-1] += piece.text
        else:
            parts.append(piece.text)
    return command(tuple(parts))


def command(parts: Command) -> str:
    """A command inside of quotes."""
    return "".join(
        f"{{{{{part.name}}}}}" if isinstance(part, Placeholder) else escaped(part, last=n + 1 == len(parts))
        for n, part in enumerate(parts)
    )


def _run(commands: list[str]) -> str:
    if len(commands) == 1:
        return f'"{commands[0]}"'
    if sum(len(c) + 4 for c in commands) < _WIDTH - 10:
        return "[" + ", ".join(f'"{c}"' for c in commands) + "]"
    return "[\n" + "".join(f'    "{c}",\n' for c in commands) + "  ]"


def _input(entry: InputDraft, stage: StageDraft, folding: Folding) -> str:
    sources = [_source(s, stage, folding) for s in entry.sources]
    if len(sources) > 1:
        return f"in {entry.name} = [{', '.join(sources)}]"
    return f"in {entry.name}" if sources[0] == entry.name else f"in {entry.name} = {sources[0]}"


def _source(source: Source, stage: StageDraft, folding: Folding) -> str:
    match source:
        case Ref(index, output):
            return f"{folding.reference(index, stage)}.{output}"
        case DataUse(data):
            return data
        case PathUse(path):
            return quoted(path)
