"""The same layered pipeline of N tiny stages, as a file for every tool.

Stage i reads the outputs of the stages i-10 and i-9 (ten wide) and writes one small file, so that what is
measured is the tool and not the work.
"""

from __future__ import annotations

from pathlib import Path

WIDTH = 10


def write(stages: int, folder: Path) -> None:
    """Writes the inputs and the files of all tools into `folder`."""
    for name in ("data", "out"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for k in range(WIDTH):
        (folder / f"data/in{k}.txt").write_text(f"seed {k}\n" * 100)
    for name, text in _FILES.items():
        (folder / name).write_text(text(stages))


def _upstream(i: int) -> list[int]:
    if i < WIDTH:
        return []
    return [i - WIDTH, i - WIDTH + 1] if i - WIDTH + 1 < i else [i - WIDTH]


def _inputs(i: int) -> list[str]:
    return [f"out/s{j}.txt" for j in _upstream(i)] or [f"data/in{i}.txt"]


def _output(i: int) -> str:
    return f"out/s{i}.txt"


def _command(i: int) -> str:
    return f"head -q -c 900 {' '.join(_inputs(i))} > {_output(i)}; echo {i} >> {_output(i)}"


def _mlpipe(stages: int) -> str:
    lines = ["mlpipe 1", "", "pipeline layered", ""]
    for i in range(stages):
        lines.append(f"stage s{i} {{")
        if _upstream(i):
            names = [f"in{k}" for k in range(len(_upstream(i)))]
            lines += [f"  in  {name} = s{j}.o" for name, j in zip(names, _upstream(i), strict=True)]
        else:
            names = ["in0"]
            lines.append(f'  in  in0 = "{_inputs(i)[0]}"')
        lines.append(f'  out o: text = "{_output(i)}"')
        slots = " ".join(f"{{{{{name}}}}}" for name in names)
        lines += [f'  run = "head -q -c 900 {slots} > {{{{o}}}}; echo {i} >> {{{{o}}}}"', "}", ""]
    return "\n".join(lines)


def _make(stages: int) -> str:
    rules = [f"{_output(i)}: {' '.join(_inputs(i))}\n\t@{_command(i)}\n" for i in range(stages)]
    return f".PHONY: all\nall: {' '.join(map(_output, range(stages)))}\n" + "".join(rules)


def _ninja(stages: int) -> str:
    builds = [f"build {_output(i)}: r {' '.join(_inputs(i))}\n  cmd = {_command(i)}\n" for i in range(stages)]
    return "rule r\n  command = $cmd\n" + "".join(builds)


def _doit(stages: int) -> str:
    tasks = [
        f"    yield {{'name': 's{i}', 'actions': [{_command(i)!r}], 'file_dep': {_inputs(i)!r},"
        f" 'targets': [{_output(i)!r}]}}\n"
        for i in range(stages)
    ]
    return "def task_s():\n" + "".join(tasks)


def _snakemake(stages: int) -> str:
    rules = [
        f"rule s{i}:\n    input: {', '.join(map(repr, _inputs(i)))}\n    output: {_output(i)!r}\n"
        f"    shell: {_command(i)!r}\n"
        for i in range(stages)
    ]
    return f"rule all:\n    input: {', '.join(repr(_output(i)) for i in range(stages))}\n" + "".join(rules)


def _dvc(stages: int) -> str:
    entries = [
        f"  s{i}:\n    cmd: {_command(i)}\n    deps:\n"
        + "".join(f"    - {path}\n" for path in _inputs(i))
        + f"    outs:\n    - {_output(i)}\n"
        for i in range(stages)
    ]
    return "stages:\n" + "".join(entries)


_FILES = {
    "layered.mlpipe": _mlpipe,
    "Makefile": _make,
    "build.ninja": _ninja,
    "dodo.py": _doit,
    "Snakefile": _snakemake,
    "dvc.yaml": _dvc,
}
