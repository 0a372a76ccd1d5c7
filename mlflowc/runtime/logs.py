"""A command's output on its way: secrets hidden, shown as it comes, kept up to a limit."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

HEAD = 4 * 1024 * 1024
TAIL = 1024 * 1024
_HIDDEN = b"***"
_LONGEST_LINE = 64 * 1024


class Log:
    """Takes output in pieces. Whole lines go to `show`; the first `HEAD` and last `TAIL` bytes are kept in
    `path`.

    A secret is hidden wherever it stands in one line; `more` tells of secrets that come up meanwhile. Never
    raises for a full disk: then less is kept.
    """

    def __init__(
        self,
        path: Path,
        show: Callable[[bytes], None],
        secrets: Iterable[str] = (),
        more: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        self.path = path
        self._show = show
        self._known = tuple(secrets)
        self._more = more
        self._also: tuple[str, ...] = ()
        self._learn()
        self._file: BinaryIO | None = None
        self._broken = False
        self._part = b""
        self._kept = 0
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._dropped = 0

    def __call__(self, data: bytes) -> None:
        """Takes the next piece."""
        data = self._part + data
        end = data.rfind(b"\n") + 1
        if not end:
            if len(data) < _LONGEST_LINE:
                self._part = data
                return
            # What may be the beginning of a secret waits for the rest.
            data = self._hide(data)
            end = len(data) - self._longest_secret + 1
        self._part = data[end:]
        self._take(data[:end])

    def note(self, text: str) -> None:
        """A line of the runtime's own, between those of the command."""
        self._flush_part()
        self._keep(f"[mlpipec] {text}\n".encode())

    def close(self) -> Path | None:
        """Ends it: the file with what was kept, or None when there was nothing, or it could not be
        written.
        """
        self._flush_part()
        if self._dropped:
            self._write(f"\n[mlpipec] … {self._dropped} bytes of output left out here …\n".encode())
        for piece in self._tail:
            self._write(piece)
        self._tail.clear()
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
        return None if self._file is None or self._broken else self.path

    def _flush_part(self) -> None:
        if self._part:
            part, self._part = self._part, b""
            self._take(part + b"\n")

    def _take(self, lines: bytes) -> None:
        lines = self._hide(lines)
        self._keep(lines)
        self._show(lines)

    def _learn(self) -> None:
        lines = {line for s in (*self._known, *self._also) for line in s.splitlines() if line}
        self._secrets = sorted((line.encode() for line in lines), key=len, reverse=True)
        self._longest_secret = len(self._secrets[0]) if self._secrets else 1

    def _hide(self, text: bytes) -> bytes:
        also = self._more()
        if also != self._also:
            self._also = also
            self._learn()
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, _HIDDEN)
        return text

    def _keep(self, lines: bytes) -> None:
        if self._kept < HEAD:
            self._kept += len(lines)
            self._write(lines)
            return
        self._tail.append(lines)
        self._tail_size += len(lines)
        while self._tail_size - len(self._tail[0]) >= TAIL:
            gone = self._tail.popleft()
            self._tail_size -= len(gone)
            self._dropped += len(gone)

    def _write(self, data: bytes) -> None:
        if self._broken:
            return
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self.path.open("wb")
            self._file.write(data)
            self._file.flush()
        except OSError:
            self._broken = True
