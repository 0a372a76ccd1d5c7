"""`mlpipec ir`: the compiled pipeline, for programs and for the curious."""

from __future__ import annotations

import click

from mlflowc import project
from mlflowc.commands.options import file_option, overrides, set_option
from mlflowc.ir import model as ir


@click.command
@click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of that JSON.")
@file_option
@set_option
def command(as_json: bool, schema: bool, file: str | None, settings: tuple[str, ...]) -> None:
    """Print the compiled pipeline: stages in the order they can run, all names resolved.

    Without --json, a summary of one line each.
    """
    if schema:
        from mlflowc.ir import schema as schemas

        click.echo(schemas.published(), nl=False)
        return
    pipeline = project.load(file, overrides=overrides(settings)).pipeline
    if as_json:
        from mlflowc.ir import codec

        click.echo(codec.dumps(pipeline), nl=False)
        return
    for line in _summary(pipeline):
        click.echo(line)


def _summary(pipeline: ir.Pipeline) -> list[str]:
    lines = [f"pipeline {pipeline.name}"]
    lines += [f"data     {d.name}: {d.type.name or d.type.kind} = {d.source}" for d in pipeline.data]
    for stage in pipeline.stages:
        reads = [n for i in stage.inputs for n in map(_source, i.sources)]
        writes = [o.path for o in stage.outputs]
        lines.append(
            f"stage    {stage.id}: {', '.join(reads) or 'nothing'} -> {', '.join(writes) or 'nothing'}"
        )
    lines += [f"sweep    {s.name} over {s.stage}: {s.goal} {s.output}.{s.field}" for s in pipeline.sweeps]
    for gate in pipeline.gates:
        lines += [f"gate     {gate.name}: {r.text}" for r in gate.requirements]
    lines += [f"report   {r.name}: {', '.join(i.kind for i in r.items)}" for r in pipeline.reports]
    lines += [
        f"action   {a.name}: {', '.join(i.name for i in a.inputs) or 'nothing'}" for a in pipeline.actions
    ]
    lines += [f"on       {e.id}: {', '.join(e.run)}" for e in pipeline.events]
    return lines


def _source(source: ir.InputSource) -> str:
    match source:
        case ir.StageOutput():
            return f"{source.stage}.{source.output}"
        case ir.DataRef():
            return source.data
        case ir.PathRef():
            return source.path
        case ir.GlobRef():
            return source.pattern
        case ir.AssetRef():
            return f"std/{source.name}"
