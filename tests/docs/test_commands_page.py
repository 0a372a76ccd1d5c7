"""`docs/commands.md` is what the commands say of themselves."""

from __future__ import annotations

from pathlib import Path

from mlflowc.cli import COMMANDS
from tests.support.commands_page import page


def test_it_is_current() -> None:
    written = (Path(__file__).parents[2] / "docs/commands.md").read_text("utf-8")
    assert written == page(), "run: python -m tests.support.commands_page > docs/commands.md"


def test_every_command_and_option_is_on_it() -> None:
    text = page()
    for name in (n for section in COMMANDS.values() for n in section):
        assert f"### mlpipec {name}\n" in text
    for line in (
        "### mlpipec cache gc",
        "| `--diff` |",
        "| `-n, --limit N` |",
        "| `-n, --dry, --dry-run` | Check all",
        "| `--outputs FILE` |",
        "| `--format [text\\|json\\|sarif\\|github\\|gitlab]` |",
    ):
        assert line in text, line
