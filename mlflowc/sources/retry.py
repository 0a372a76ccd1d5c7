"""Asking again what may pass: how often, and how long after."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from mlflowc.errors import Failure
from mlflowc.runtime.remotes.transport import RemoteError

TRIES = 5
FIRST, LONGEST = 0.5, 30.0  # seconds of a pause
T = TypeVar("T")


class Patience:
    """For one thing to ask for: `tries` times in a row that got nowhere, with pauses that grow."""

    def __init__(self, tries: int = TRIES) -> None:
        self._tries = tries
        self._failures = 0

    @property
    def spent(self) -> bool:
        """Whether the try that failed just now was the last one."""
        return self._failures + 1 >= self._tries

    def renew(self) -> None:
        """It came further: the count begins anew."""
        self._failures = 0

    def wait(self, asked: float | None = None) -> None:
        """Until the next try; `asked` are the seconds that the server wants."""
        pause = FIRST * 2**self._failures if asked is None else asked
        self._failures += 1
        time.sleep(min(LONGEST, pause))


def again(shown: str, ask: Callable[[], T], done: Callable[[], int] = lambda: 0) -> T:
    """What `ask` gives of a remote's transport, asked again after errors that may pass; `done` says how far
    it has come, and while it comes further it is asked on. Raises `Failure`.
    """
    patience = Patience()
    while True:
        before = done()
        try:
            return ask()
        except RemoteError as e:
            if done() > before:
                patience.renew()
            if not e.transient or patience.spent:
                message = e.message if shown in e.message else f"{shown}: {e.message}"
                raise Failure(message, help=e.help) from e
            patience.wait()
