"""The program: what can be answered at once is; everything else goes through the command line."""

from __future__ import annotations

import gc
import os
import sys

from mlflowc import quick, terminal


def main() -> None:
    """Runs `mlpipec` with the words of the command line, and exits."""
    # A large folder is a hundred thousand new objects, none of them garbage.
    gc.disable()
    terminal.settle()
    try:
        code = quick.answer(sys.argv[1:], first=True)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader went away: nothing to say, and nobody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    if code is None:
        quick.tried = sys.argv[1:] == ["run"]
        # What a large folder is made of is looked through seldom.
        gc.set_threshold(100_000, 50, 100)
        gc.enable()
        # The parser of command lines takes longer to import than a quick answer.
        from mlflowc import cli

        cli.main()
    sys.exit(code)


if __name__ == "__main__":
    main()
