"""The program: what can be answered at once is; everything else goes to a command."""

from __future__ import annotations

import gc
import sys

from mlflowc import ending, quick, terminal


def main() -> None:
    """Runs `mlpipec` with the words of the command line, and exits."""
    # A large folder is a hundred thousand new objects, none of them garbage.
    gc.disable()
    terminal.settle()
    line = quick.understood(sys.argv[1:])
    code = ending.code_of(lambda: quick.answer(line, first=True)) if line else None
    if code is None:
        # What a large folder is made of is looked through seldom.
        gc.set_threshold(100_000, 50, 100)
        gc.enable()
        code = ending.code_of(lambda: _do(line)) if line else _parse()
    # Nothing that is there now is garbage: the interpreter need not look for any when it ends.
    gc.freeze()
    sys.exit(code)


def _do(line: quick.Line) -> int:
    """Does what a line without options says. The parser of command lines takes longer to import than that
    may take."""
    if line.job is None:
        from mlflowc.commands import running

        return running.bring_up_to_date(running.Asked())
    from mlflowc.commands import executing

    return executing.execute_job(executing.Asked(line.job, line.event))


def _parse() -> int:
    from mlflowc import cli

    return cli.run()


if __name__ == "__main__":
    main()
