"""Many transfers at once, each tried again when it may help."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar, cast

from mlflowc.runtime.remotes.transport import AbsentError, AtOnce, Found, RemoteError, Transport

_TRIES = 5
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0
# A transfer that got so far, in bytes, since it was last tried has not failed again: it goes on.
_PROGRESS = 64 * 1024

T = TypeVar("T")
R = TypeVar("R")


class _ShortError(RemoteError):
    """There were fewer bytes than asked for."""


class Meter(Protocol):
    """Is told, in any thread, of bytes that were sent or received."""

    def moved(self, size: int) -> None: ...


class Quiet:
    """A meter for nobody; it counts."""

    def __init__(self) -> None:
        self.bytes = 0
        self._guard = threading.Lock()

    def moved(self, size: int) -> None:
        """Bytes went over."""
        with self._guard:
            self.bytes += size


class Engine:
    """A transport with patience. Safe to use from several threads."""

    def __init__(
        self,
        transport: Transport,
        meter: Meter | None = None,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self.transport = transport
        self.meter: Meter = meter or Quiet()
        self._stopped = threading.Event()
        self._sleep = sleep or self._stopped.wait

    def stop(self) -> None:
        """All that is under way ends with a `RemoteError`, at its next chunk or question."""
        self._stopped.set()

    def _go_on(self) -> None:
        if self._stopped.is_set():
            raise RemoteError("the transfer was broken off")

    def read(self, name: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` on. A connection that breaks is taken up again where it broke.

        Raises `AbsentError`, also where what has the name ends before `length` bytes, and `RemoteError`; what
        was handed out until then was what is there.
        """
        if length == 0:
            return
        at, tries, mark = start, 0, start
        while True:
            try:
                self._go_on()
                for chunk in self.transport.read(name, at, None if length is None else start + length - at):
                    self._go_on()
                    at += len(chunk)
                    self.meter.moved(len(chunk))
                    yield chunk
                if length is None or at >= start + length:
                    return
                raise _ShortError(f"`{name}` ends too early", transient=True)
            except RemoteError as e:
                # A server may also refuse to read behind the end.
                odd = isinstance(e, _ShortError) or not (e.transient or e.refused)
                if odd and length is not None and self._is_cut(name, start + length):
                    raise AbsentError(name) from None
                tries = 1 if at - mark >= _PROGRESS else tries + 1
                mark = at
                if not e.transient or tries >= _TRIES:
                    raise
                self._pause(tries)

    def _is_cut(self, name: str, end: int) -> bool:
        """Whether what is there, if anything, ends before `end`: then asking again is no use."""
        try:
            size = self.transport.size(name)
        except RemoteError:
            return False
        return size is None or size < end

    def read_all(
        self, name: str, start: int = 0, length: int | None = None, limit: int | None = None
    ) -> bytes:
        """As `read`, in one piece. Raises `RemoteError` for more than `limit` bytes."""
        parts: list[bytes] = []
        size = 0
        for chunk in self.read(name, start, length):
            size += len(chunk)
            if limit is not None and size > limit:
                raise RemoteError(f"`{name}` is larger than it can be")
            parts.append(chunk)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_stretch(self, name: str, start: int, length: int) -> memoryview:
        """As `read_all`, of so little that it is not bad to begin again; without copying it where that can
        be.
        """
        if length and isinstance(self.transport, AtOnce):
            self._go_on()
            try:
                found = self.transport.at_once(name, start, length)
            except RemoteError as e:
                if not e.transient:
                    raise
                found = None
            self._go_on()
            if found is not None and len(found) == length:
                self.meter.moved(length)
                return found
        # Piece by piece: each try goes on where the last one broke off.
        return memoryview(self.read_all(name, start, length))

    def read_or_none(self, name: str, limit: int | None = None) -> bytes | None:
        """All of it, None where nothing has the name."""
        try:
            return self.read_all(name, limit=limit)
        except AbsentError:
            return None

    def read_good(
        self, name: str, decode: Callable[[bytes], T | None], limit: int | None = None
    ) -> tuple[T | None, bool]:
        """What `decode` makes of it (None: it is not good), and whether something is there.

        What is not good is read a second time: bytes may have been changed on the way.
        """
        for _ in (1, 2):
            data = self.read_or_none(name, limit)
            if data is None:
                return None, False
            found = decode(data)
            if found is not None:
                return found, True
        return None, True

    def size(self, name: str) -> int | None:
        """See `Transport`."""
        return self._patiently(lambda: self.transport.size(name))

    def write(self, name: str, content: bytes | Path, *, fresh: bool = False) -> bool:
        """See `Transport`. A try whose answer was lost may have been the one that took the name."""
        done = self._patiently(lambda: self.transport.write(name, content, fresh=fresh))
        self.meter.moved(len(content) if isinstance(content, bytes) else content.stat().st_size)
        return done

    def names(self, prefix: str) -> list[Found]:
        """See `Transport`."""
        return self._patiently(lambda: list(self.transport.names(prefix)))

    def remove(self, name: str) -> None:
        """See `Transport`."""
        self._patiently(lambda: self.transport.remove(name))

    def each(self, work: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """`work` of all items, in their order, as many at once as the transport takes.

        After the first exception nothing new is begun, and it is raised.
        """
        todo = list(items)
        if len(todo) <= 1:
            return [work(item) for item in todo]
        errors: list[BaseException] = []

        def unless_failed(item: T) -> R | None:
            if errors:
                return None
            try:
                return work(item)
            except BaseException as e:
                errors.append(e)
                return None

        pool = ThreadPoolExecutor(min(self.transport.width, len(todo)), thread_name_prefix="remote")
        try:
            found = list(pool.map(unless_failed, todo))
        except BaseException as e:
            # An interrupt of the thread that waits.
            errors.append(e)
            raise
        finally:
            pool.shutdown(cancel_futures=True)
        if errors:
            raise errors[0]
        return cast("list[R]", found)

    def _patiently(self, ask: Callable[[], R]) -> R:
        tries = 0
        while True:
            try:
                self._go_on()
                return ask()
            except RemoteError as e:
                tries += 1
                if not e.transient or tries >= _TRIES:
                    raise
                self._pause(tries)

    def _pause(self, tries: int) -> None:
        # Jitter: many jobs that a server turned away at once must not come back at once.
        longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (tries - 1))
        self._sleep(longest * (0.5 + random.random() / 2))
