"""The text of a first pipeline file, for a project that has scripts already."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from mlflowc.starter.detect import Project, Script, identifier

_HEAD = """\
mlpipe 1

# What this project does, in one file. It was made from what the scripts say: read it, and correct it.
#   mlpipec check     finds mistakes          mlpipec run       runs what is out of date
#   mlpipec status    says what would run     mlpipec build     writes the files of a CI service

pipeline {name}
"""


def pipeline(project: Project, name: str, has: Mapping[str, bool]) -> tuple[str, tuple[str, ...]]:
    """The file's text, and the paths that its stages write.

    `has` tells of each path that a script reads whether the project has it as a file.
    """
    parts = [_HEAD.format(name=name)]
    if project.params:
        parts.append(
            "# Parameters, with the types that they have there. `{{params.NAME}}` in a command is a value.\n"
            f'params "{project.params}"\n'
        )
    if project.environment:
        kind, file, python = project.environment
        fields = [("python", f'"{python}"'), (kind, f'"{file}"')]
        lines = _aligned([(f"{key} ", f"= {value}") for key, value in fields])
        parts.append(
            "# What the commands run in: made by uv, its versions kept in mlpipe.lock.\n"
            "env py {\n" + "".join(f"  {line}\n" for line in lines) + "}\n"
        )
    made: dict[str, str] = {}
    for number, script in enumerate(project.scripts):
        parts.append((_STAGES if number == 0 else "") + _stage(project, script, made, has))
    last = [s.name for s in project.scripts if not _is_read(s, project, made)]
    runs = ", ".join(last)
    parts.append(
        "# When it runs, once `mlpipec build --target github` (or gitlab, bitbucket) has written the files.\n"
        f"on pull_request {{ run = [{runs}] }}\n"
        f'on push("{project.branch}") {{ run = [{runs}] }}\n'
    )
    parts.append(_NEXT)
    return "\n".join(parts), tuple(made)


_STAGES = """\
# A stage is a command with its inputs, parameters and outputs. It runs again when one of them changes, or
# the script, or a module that the script imports; else its outputs come from the cache.
"""


_NEXT = """\
# Metrics, a gate and a report, once a stage writes a JSON file of numbers:
#
#   out scores: metrics { accuracy: float } = "metrics.json"
#
#   gate quality { require train.scores.accuracy >= 0.9 }
#   report review { metrics train.scores vs "main" }
#
# and then `run = [quality, review]` in the events above.
"""


def _stage(project: Project, script: Script, made: dict[str, str], has: Mapping[str, bool]) -> str:
    lines: list[tuple[str, str]] = []
    names: set[str] = set()
    for path in script.reads:
        # What a later script writes may be there from an earlier run, and is no input from outside.
        outside = has.get(path) and not any(path in other.writes for other in project.scripts)
        source = made.get(path) or (f'"{path}"' if outside else None)
        if source:
            lines.append((f"in    {_unique(path, 'data', names)}", f"= {source}"))
    notes = []
    if script.params:
        own = [g for g in project.groups if g == f"{script.name}.*"]
        lines.append((f"param {', '.join(own or project.groups)}", ""))
    outputs = [p for p in script.writes if not _collides(p, made)]
    log = ""
    if outputs:
        for path in outputs:
            name = _unique(path, "result", names)
            made[path] = f"{script.name}.{name}"
            lines.append((f"out   {name}", f'= "{path}"'))
    else:
        # A stage is what it writes; so that this one is cached at all, it keeps what the script prints.
        notes.append(f"# No file that {script.path} writes could be seen. Name it here, and drop the log:")
        notes.append('#   out model = "model.pkl"')
        path = f"{script.name}.log"
        made[path] = f"{script.name}.log"
        lines.append(("out   log", f'= "{path}"'))
        log = " | tee {{log}}"
    if project.environment:
        lines.append(("env  ", "= py"))
    if script.needs:
        notes.append(f"# {script.path} wants {', '.join(script.needs)}: add what is missing to the command,")
        notes.append("# with {{name}} for an input or output of that name.")
    lines.append(("run  ", f'= "{script.command}{log}"'))
    body = "".join(f"  {line}\n" for line in [*notes, *_aligned(lines)])
    return f"stage {script.name} {{\n{body}}}\n"


def _aligned(lines: list[tuple[str, str]]) -> list[str]:
    """Lines with their `=` below each other."""
    width = max((len(left.rstrip()) for left, right in lines if right), default=0)
    return [f"{left.rstrip():{width}} {right}" if right else left for left, right in lines]


def _unique(path: str, fallback: str, taken: set[str]) -> str:
    base = identifier(posixpath.basename(path).partition(".")[0], fallback)
    name, number = base, 2
    while name in taken:
        name, number = f"{base}_{number}", number + 1
    taken.add(name)
    return name


def _collides(path: str, made: Mapping[str, str]) -> bool:
    """Whether another stage writes this path, or one around or inside it."""
    return any(path == p or path.startswith(p + "/") or p.startswith(path + "/") for p in made)


def _is_read(script: Script, project: Project, made: Mapping[str, str]) -> bool:
    own = {p for p, ref in made.items() if ref.startswith(script.name + ".")}
    return any(own & set(other.reads) for other in project.scripts if other is not script)
