"""What went wrong for a reason outside this program: a file, a process, a service, a user's mistake."""

from __future__ import annotations


class Failure(Exception):
    """Ends the command with a message, help and an exit code; never shown as a traceback.

    `code` is 1 (diagnostics, a failed run), 2 (usage) or 130 (interrupted).
    """

    def __init__(self, message: str, *, help: str = "", code: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.help = help
        self.code = code
