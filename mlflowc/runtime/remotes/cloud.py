"""Buckets (`s3://`, `gs://`, `az://`) and web servers (`http://`, `https://`, read-only), through obstore.

Endpoint and credentials are found as the cloud's own tools find them; the options of the `cache` block are
obstore's settings of that cloud (`endpoint`, `region`, `virtual_hosted_style_request`, …).
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import obstore
from obstore import exceptions, store

from mlflowc.addresses import shown
from mlflowc.errors import Failure
from mlflowc.ir.identity import OWN
from mlflowc.ir.model import Value
from mlflowc.runtime.identity import current, external
from mlflowc.runtime.remotes.transport import CHUNK, AbsentError, Found, RemoteError, scheme_of

if TYPE_CHECKING:
    from mlflowc.runtime.identity.held import Held

_PART = 16 * 1024 * 1024
# A part may take so many times as long to be sent as a server may be silent.
_UPLOAD = 10
_STORES: Mapping[str, Callable[..., Any]] = {
    "s3": store.S3Store,
    "gs": store.GCSStore,
    "az": store.AzureStore,
    "http": store.HTTPStore,
    "https": store.HTTPStore,
}
_CREDENTIALS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; AWS_ENDPOINT_URL for a server of "
    "your own",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS, or run `gcloud auth application-default login`",
    "az": "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or another of its credentials",
}
T = TypeVar("T")


def connect(address: str, root: Path, options: Mapping[str, Value], *, own: bool = False) -> Cloud:
    """A bucket or a web server. Options are checked, nothing is sent.

    `own`: it has credentials of its own, and takes none of this job's (see `mlflowc.runtime.identity`).
    """
    scheme = scheme_of(address)
    parts = urlsplit(address)
    if not parts.netloc:
        raise Failure(f"`{address}` names no {'server' if 'http' in scheme else 'bucket'}", code=2)
    given = {k: str(v) if not isinstance(v, bool) else v for k, v in options.items()}
    if scheme == "gs" and "endpoint" in given:
        # Its client calls it otherwise than those of the other clouds.
        given["base_url"] = given.pop("endpoint")
    seconds = _seconds(given.pop("timeout", None))
    client = _client(seconds)
    retry = {"max_retries": 2, "retry_timeout": timedelta(seconds=30)}
    writer: Any = None
    given_own = own or bool(OWN.intersection(given))
    held = None if given_own else current.at(scheme)
    outside = external.of(os.environ) if scheme == "gs" and held is None and not given_own else None
    problem: Callable[[], Failure | None] = _none
    try:
        if scheme in ("http", "https"):
            if given:
                raise Failure(f"a remote at `{scheme}://` has no option `{next(iter(given))}`", code=2)
            bare = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
            made = store.HTTPStore(bare, client_options=client, retry_config=retry)  # type: ignore[arg-type]
        else:
            settings: dict[str, Any] = {**(aws_profile(os.environ) if scheme == "s3" else {}), **given}
            if held is not None:
                settings = {**given, **_as_held(*held)}
                problem = partial(held[1].problem, held[0])
            elif outside is not None:
                settings["credential_provider"] = outside.credential
                problem = outside.last
            prefix = parts.path.strip("/") or None
            kind, where = _STORES[scheme], parts.netloc
            made = kind(where, prefix=prefix, client_options=client, retry_config=retry, **settings)
            # A client cannot tell a slow upload from one that stands still: there is a limit for each part.
            client = {**_client(None), "timeout": timedelta(seconds=seconds * _UPLOAD)}
            writer = kind(where, prefix=prefix, client_options=client, retry_config=retry, **settings)
    except (exceptions.BaseError, ValueError, TypeError) as e:
        raise Failure(
            f"the remote `{shown(address)}` cannot be set up: {_first_line(e)}",
            help="check the address and the other settings of the `cache` block",
        ) from None
    return Cloud(made, scheme, shown(address), writer, problem)


def _none() -> None:
    """No problem with credentials: those of other kinds say for themselves."""


def _as_held(provider: str, held: Held) -> dict[str, Any]:
    """Settings of a client that takes its credentials from `held`, whatever variables say."""
    region = held.region(provider)
    found: dict[str, Any] = {"credential_provider": lambda: held.credential(provider)}
    return {**found, "region": region} if region else found


def _client(stall: float | None) -> dict[str, Any]:
    """Settings of a client that waits so many seconds for more bytes, however long a transfer takes."""
    return {
        "connect_timeout": timedelta(seconds=5),
        "timeout": timedelta(days=7),
        "allow_http": True,
        **({"read_timeout": timedelta(seconds=stall)} if stall is not None else {}),
    }


def with_headers(address: str, headers: Mapping[str, str]) -> Cloud:
    """A web server that wants `headers` with each request, such as `Authorization`."""
    client = {**_client(60), "default_headers": dict(headers)}
    parts = urlsplit(address)
    bare = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
    made = store.HTTPStore(bare, client_options=client)  # type: ignore[arg-type]
    return Cloud(made, parts.scheme, shown(address))


class Cloud:
    """See `Transport`."""

    width = 16

    def __init__(
        self,
        made: Any,
        scheme: str,
        shown: str,
        writer: Any = None,
        problem: Callable[[], Failure | None] | None = None,
    ) -> None:
        self._problem = problem or _none
        self.shown = shown
        self._writer = writer if writer is not None else made
        self.writable = not scheme.startswith("http")
        self._store = made
        self._scheme = scheme

    def read(self, name: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """See `Transport`. A server without ranges sends all, and what was not asked for is dropped."""
        wanted: Any = None
        if length is not None:
            wanted = {"range": (start, start + length)}
        elif start:
            wanted = {"range": {"offset": start}}
        try:
            try:
                result = obstore.get(self._store, name, options=wanted)
            except exceptions.NotSupportedError:
                yield from _part(obstore.get(self._store, name), start, length)
                return
            for chunk in result.stream(min_chunk_size=CHUNK):
                yield bytes(chunk)
        except (exceptions.NotFoundError, FileNotFoundError):
            raise AbsentError(name) from None
        except (exceptions.BaseError, OSError, ValueError) as e:
            raise self._error("read", e) from None

    def at_once(self, name: str, start: int, length: int) -> memoryview | None:
        """See `AtOnce`."""
        try:
            return memoryview(obstore.get_range(self._store, name, start=start, length=length))
        except (exceptions.NotFoundError, FileNotFoundError):
            raise AbsentError(name) from None
        except exceptions.NotSupportedError:
            return None
        except (exceptions.BaseError, OSError, ValueError) as e:
            raise self._error("read", e) from None

    @property
    def client(self) -> Any:
        """The store of obstore, for what is no part of `Transport`."""
        return self._store

    def error(self, what: str, e: Exception) -> RemoteError:
        """What an error of the client means, in words; `what` as in `cannot WHAT the remote`."""
        return self._error(what, e)

    def size(self, name: str) -> int | None:
        """See `Transport`."""
        try:
            return int(self._ask("read", lambda: obstore.head(self._store, name))["size"])
        except AbsentError:
            return None

    def write(self, name: str, content: bytes | Path, *, fresh: bool = False) -> bool:
        """See `Transport`."""
        if not self.writable:
            raise RemoteError(f"the remote `{self.shown}` can only be read", help="web servers take nothing")
        try:
            self._ask("write", lambda: self._put(name, content, fresh))
        except AbsentError:
            # Nothing is there to put it in.
            raise RemoteError(
                f"cannot write the remote `{self.shown}`: it does not exist", help="make the bucket"
            ) from None
        except _TakenError:
            return False
        return True

    def _put(self, name: str, content: bytes | Path, fresh: bool) -> None:
        if fresh:
            data = content if isinstance(content, bytes) else content.read_bytes()
            try:
                obstore.put(self._writer, name, data, mode="create")
            except exceptions.NotSupportedError:
                # A server without conditional writes: two at the same moment would both be first.
                try:
                    obstore.head(self._store, name)
                except (exceptions.NotFoundError, FileNotFoundError):
                    obstore.put(self._writer, name, data)
                    return
                raise _TakenError from None
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
                raise _TakenError from None
            return
        obstore.put(self._writer, name, content, chunk_size=_PART, max_concurrency=4)

    def names(self, prefix: str) -> Iterator[Found]:
        """See `Transport`."""
        if not self.writable:
            raise RemoteError(f"the remote `{self.shown}` cannot be listed: web servers give files only")
        try:
            for batch in obstore.list(self._store, prefix, chunk_size=1000):
                for meta in batch:
                    yield Found(meta["path"], meta["size"], meta["last_modified"].timestamp())
        except (exceptions.NotFoundError, FileNotFoundError):
            return
        except (exceptions.BaseError, OSError, ValueError) as e:
            raise self._error("list", e) from None

    def remove(self, name: str) -> None:
        """See `Transport`."""
        try:
            self._ask("remove from", lambda: obstore.delete(self._store, name))
        except AbsentError:
            return

    def close(self) -> None:
        """Connections end with the process."""

    def _ask(self, what: str, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except (exceptions.NotFoundError, FileNotFoundError):
            raise AbsentError(self.shown) from None
        except (exceptions.BaseError, OSError, ValueError) as e:
            raise self._error(what, e) from None

    def _error(self, what: str, e: Exception) -> RemoteError:
        text = str(e)
        problem = self._problem()
        if problem is not None:
            message = f"cannot {what} the remote `{self.shown}`: {problem.message}"
            return RemoteError(message, help=problem.help)
        # Of listings and of removing many at once, the client does not tell what the status means.
        refused = any(w in text for w in ("403 Forbidden", "401 Unauthorized", "code: AccessDenied"))
        if refused or isinstance(e, (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)):
            reason, help = "it refuses these credentials", _CREDENTIALS.get(self._scheme, "")
            return RemoteError(f"cannot {what} the remote `{self.shown}`: {reason}", help=help, refused=True)
        low = text.lower()
        if "credential" in low or "metadata" in low or "169.254" in low:
            help = _CREDENTIALS.get(self._scheme, "")
            return RemoteError(
                f"cannot {what} the remote `{self.shown}`: no credentials were found", help=help
            )
        if any(
            w in low for w in ("connection refused", "dns error", "failed to lookup", "tcp connect error")
        ):
            return RemoteError(
                f"cannot reach the remote `{self.shown}`", help="check the address and the network"
            )
        final = isinstance(e, (exceptions.NotSupportedError, exceptions.InvalidPathError))
        return RemoteError(f"cannot {what} the remote `{self.shown}`: {_first_line(e)}", transient=not final)


class _TakenError(Exception):
    """The name that was to be fresh is taken."""


def _part(result: Any, start: int, length: int | None) -> Iterator[bytes]:
    at, end = 0, None if length is None else start + length
    for chunk in result.stream(min_chunk_size=CHUNK):
        data = bytes(chunk)
        piece = data[max(0, start - at) : None if end is None else max(0, end - at)]
        at += len(data)
        if piece:
            yield piece
        if end is not None and at >= end:
            return


def _seconds(text: object) -> float:
    """The `timeout` option: seconds without a byte."""
    if text is None:
        return 60.0
    try:
        return max(1.0, float(str(text).removesuffix("s")))
    except ValueError:
        raise Failure(f"`timeout` of the remote is no number of seconds: {text}", code=2) from None


def aws_profile(env: Mapping[str, str]) -> dict[str, str]:
    """Keys and region of the shared files, where the environment holds none: obstore does not read them."""
    found: dict[str, str] = {}
    profile = env.get("AWS_PROFILE") or env.get("AWS_DEFAULT_PROFILE") or "default"
    home = Path("~/.aws").expanduser()
    keys = configparser.RawConfigParser()
    config = configparser.RawConfigParser()
    try:
        keys.read(env.get("AWS_SHARED_CREDENTIALS_FILE") or home / "credentials")
        config.read(env.get("AWS_CONFIG_FILE") or home / "config")
    except (configparser.Error, OSError, UnicodeDecodeError) as e:
        raise Failure(f"the credentials of AWS cannot be read: {_first_line(e)}") from None
    section = profile if profile == "default" else f"profile {profile}"
    if config.has_section(section):
        names = {"region": "region", "endpoint_url": "endpoint"}
        found |= {ours: config[section][name] for name, ours in names.items() if name in config[section]}
    if "AWS_ACCESS_KEY_ID" not in env and keys.has_section(profile):
        names = {
            "aws_access_key_id": "access_key_id",
            "aws_secret_access_key": "secret_access_key",
            "aws_session_token": "session_token",
        }
        found |= {ours: keys[profile][name] for name, ours in names.items() if name in keys[profile]}
    if env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION"):
        found.pop("region", None)
    if env.get("AWS_ENDPOINT_URL") or env.get("AWS_ENDPOINT_URL_S3"):
        found.pop("endpoint", None)
    if env.get("AWS_ENDPOINT_URL_S3"):
        found["endpoint"] = env["AWS_ENDPOINT_URL_S3"]
    return found


def _first_line(e: Exception) -> str:
    """What a client says, short: the line that names the reason."""
    lines = [line.strip() for line in str(e).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(e).__name__
