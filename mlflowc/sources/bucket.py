"""Objects in buckets (`s3:`, `gs:`, `az:`), through obstore, with the clouds' own credentials.

The version is the object's version id and its etag. A bucket that keeps versions has what was pinned after it
was written over, too. At Google the id is the generation, which objects have in every bucket.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from obstore import exceptions
from obstore import get as get_object
from obstore import head as head_object

from mlflowc.errors import Failure
from mlflowc.ir.model import Value
from mlflowc.runtime.remotes import cloud
from mlflowc.runtime.remotes.transport import CHUNK, RemoteError
from mlflowc.sources.port import Found, GoneError, Progress, Version
from mlflowc.sources.retry import again

if TYPE_CHECKING:
    from obstore import GetOptions

_ABSENT = (exceptions.NotFoundError, FileNotFoundError)
_ERRORS = (exceptions.BaseError, OSError, ValueError)
_OPTIONS = ("endpoint", "region")


def open(args: Mapping[str, Value], root: Path, env: Mapping[str, str]) -> Bucket:
    """`s3://bucket/folder/file`. `anonymous = true` asks without credentials."""
    url = str(args["url"])
    parts = urlsplit(url)
    name = unquote(parts.path).strip("/")
    if not parts.netloc or not name or url.endswith("/"):
        raise Failure(f"`{url}` is not of the form {parts.scheme}://bucket/file", code=2)
    options: dict[str, Value] = {n: args[n] for n in _OPTIONS if n in args}
    if args.get("anonymous"):
        options["skip_signature"] = True
    place = f"{parts.scheme}://{parts.netloc}"
    return Bucket(cloud.connect(place, root, options, own=bool(args.get("secrets"))), name, url)


class Bucket:
    """See `Source`."""

    def __init__(self, transport: cloud.Cloud, name: str, shown: str) -> None:
        self.shown = shown
        self._transport = transport
        self._name = name

    def look(self, pinned: Version | None) -> Found:
        """See `Source`."""
        return again(self.shown, self._look)

    def fetch(self, version: Version, into: Path, progress: Progress) -> Version:
        """See `Source`."""
        part = into.with_name(into.name + ".part")
        if not version:
            part.unlink(missing_ok=True)

        def length() -> int:
            return part.stat().st_size if part.exists() else 0

        known = again(self.shown, lambda: self._rest(version, part, length(), progress), length)
        part.replace(into)
        return known

    def _look(self) -> Found:
        try:
            meta = head_object(self._transport.client, self._name)
        except _ABSENT:
            raise self._absent() from None
        except _ERRORS as e:
            raise self._error(e) from None
        return Found(_version(meta), meta["size"])

    def _rest(self, version: Version, part: Path, start: int, progress: Progress) -> Version:
        """What is missing of the part: it grows. Raises `GoneError`, `RemoteError`, `Failure`."""
        options: GetOptions = {}
        if "version_id" in version:
            options["version"] = version["version_id"]
        elif "etag" in version:
            options["if_match"] = version["etag"]
        if start:
            options["range"] = {"offset": start}
        try:
            found = get_object(self._transport.client, self._name, options=options)
            now = _version(found.meta)
            total = int(found.meta["size"])
            if any(now.get(n) != v for n, v in version.items()):
                raise self._another(version, now)
            with part.open("ab") as file:
                at = start
                for chunk in found.stream(min_chunk_size=CHUNK):
                    file.write(chunk)
                    at += len(chunk)
                    progress(at, total)
                file.flush()
                os.fsync(file.fileno())
        except exceptions.PreconditionError:
            raise self._another(version, self._look().version) from None
        except _ABSENT:
            raise self._gone(version) from None
        except _ERRORS as e:
            raise self._error(e) from None
        if at != total:
            raise RemoteError(f"only {at} of {total} bytes came", transient=True)
        return now

    def _gone(self, version: Version) -> GoneError:
        """What to say of a version that is not there, by what is."""
        if "version_id" not in version:
            return self._absent()
        try:
            now = self._look().version
        except GoneError as e:
            return e
        said = f"the bucket does not have version id {version['version_id']} any more"
        if now.get("version_id") not in (None, version["version_id"]):
            said += f", and version id {now['version_id']} is there now"
        return GoneError(f"{self.shown}: {said}")

    def _another(self, version: Version, now: Version) -> GoneError:
        changed = next((n for n, v in version.items() if now.get(n) != v), "etag")
        return GoneError(
            f"{self.shown} has another version now: its {changed.replace('_', ' ')} was "
            f"{version.get(changed)}, and is {now.get(changed)}"
        )

    def _absent(self) -> GoneError:
        return GoneError(
            f"{self.shown}: nothing is there",
            help="has it moved? correct the url; what was fetched before stays pinned and in the cache",
        )

    def _error(self, e: Exception) -> RemoteError:
        found = self._transport.error("read", e)
        message = found.message.replace(f"the remote `{self._transport.shown}`", self.shown)
        return RemoteError(message, transient=found.transient, help=found.help)


def _version(meta: Mapping[str, Any]) -> dict[str, str]:
    found = {"version_id": meta.get("version"), "etag": meta.get("e_tag")}
    return {name: str(value) for name, value in found.items() if value and value != "null"}
