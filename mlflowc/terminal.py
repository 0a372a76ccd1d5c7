"""Words on the terminal: the one place that decides about colour and width. Imports nothing heavy."""

from __future__ import annotations

import io
import os
import shutil
import sys
from typing import TextIO

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}
# What would move the cursor, set a title or turn lines round; not line breaks and tabs. Shown as
# `mlflowc.render.columns` shows it.
_CONTROLS: dict[int, str] = {c: chr(0x2400 + c) for c in (*range(9), *range(11, 32))} | dict.fromkeys(
    (*range(127, 160), 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)), "\ufffd"
)


def settle() -> None:
    """Makes the standard streams fit for use. Those that were closed (`>&-`) swallow what is written, and no
    file that is opened later takes their place; what the terminal's encoding lacks is shown with escapes.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8")  # noqa: SIM115
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(number, "w", encoding="utf-8"))  # noqa: SIM115
        elif name == "stdout" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def coloured(stream: TextIO) -> bool:
    """Whether `stream` takes colour: `NO_COLOR`, `TERM=dumb` say no, `FORCE_COLOR` yes, else a terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def style(text: str, *styles: str, stream: TextIO | None = None) -> str:
    """`text` in some styles (`bold dim red green yellow blue cyan`) where `stream` (stdout) takes colour."""
    if not styles or not text or not coloured(stream or sys.stdout):
        return text
    return paint(text, *styles)


def paint(text: str, *styles: str) -> str:
    """`text` in some styles, whatever reads it."""
    return f"\x1b[{';'.join(_CODES[s] for s in styles)}m{text}\x1b[0m"


def visible(text: str) -> str:
    """`text` that may come from anywhere (data, a server, a file name), with signs for control characters.

    Line breaks and tabs stay.
    """
    return text.translate(_CONTROLS)


def width() -> int:
    """Columns to write in: the terminal's, or 100 where there is none."""
    return shutil.get_terminal_size((100, 24)).columns


def error(message: str, help: str = "") -> None:
    """Writes `error: message` and its help to stderr, with signs for control characters. Only the first
    line of a message stands out."""
    message, _, more = visible(message).partition("\n")
    print(
        style("error", "bold", "red", stream=sys.stderr) + style(f": {message}", "bold", stream=sys.stderr),
        file=sys.stderr,
    )
    if more:
        print(more, file=sys.stderr)
    for n, line in enumerate(visible(help).splitlines()):
        print(("  = help: " if n == 0 else "          ") + line, file=sys.stderr)
