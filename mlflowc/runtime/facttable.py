"""What was found out about files by their content, as the index keeps it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any


class FactTable(dict[str, Any]):
    """A mapping that reads the table `fact` when it is first asked, and knows what is new."""

    def __init__(self, read: Callable[[], list[tuple[str, str]]]) -> None:
        super().__init__()
        self._read: Callable[[], list[tuple[str, str]]] | None = read
        self.new: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        """The value, or `default`."""
        if self._read is not None:
            read, self._read = self._read, None
            for name, value in read():
                with contextlib.suppress(ValueError):
                    self.setdefault(name, json.loads(value))
        return super().get(key, default)

    def __setitem__(self, key: str, value: Any) -> None:
        self.new.add(key)
        super().__setitem__(key, value)
