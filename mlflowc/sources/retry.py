"""Trying again, for sources that are reached by the transports of remotes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from mlflowc.errors import Failure
from mlflowc.runtime.remotes.transport import RemoteError

_TRIES = 5
T = TypeVar("T")


def again(shown: str, ask: Callable[[], T], done: Callable[[], int] = lambda: 0) -> T:
    """What `ask` gives, asked again after errors that may pass; `done` says how far it has come, and while it
    comes further it is asked on. Raises `Failure`.
    """
    failures = 0
    while True:
        before = done()
        try:
            return ask()
        except RemoteError as e:
            if done() > before:
                failures = 0
            failures += 1
            if not e.transient or failures >= _TRIES:
                message = e.message if shown in e.message else f"{shown}: {e.message}"
                raise Failure(message, help=e.help) from e
            time.sleep(min(30.0, 0.25 * 2**failures))
