"""Files on web servers: resumed where the server can, and checked by length.

The version is the server's `ETag`, else its `Last-Modified`; where it gives neither, only the content tells.
"""

from __future__ import annotations

import contextlib
import http.client
import netrc
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from email.message import Message
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from mlflowc import __version__
from mlflowc.addresses import shown
from mlflowc.errors import Failure
from mlflowc.ir import feeds
from mlflowc.ir.model import Value
from mlflowc.sources.port import Found, GoneError, Progress, Version
from mlflowc.sources.retry import TRIES, Patience

_CHUNK = 256 * 1024
_TIMEOUT = 60.0  # seconds in which nothing comes
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_LOCAL = ("localhost", "127.0.0.1", "::1")


def open(args: Mapping[str, Value], root: Path, env: Mapping[str, str]) -> Web:
    """See `mlflowc.sources.port.Opener`."""
    url = str(args["url"])
    parts = urlsplit(url)
    if not parts.hostname:
        raise Failure(f"`{url}` names no server", code=2)
    if parts.username or parts.password:
        raise Failure(
            f"a password does not belong into a url: {shown(url)}",
            help='name a variable that holds it: `token = "env:NAME"`; or put it into `~/.netrc`',
            code=2,
        )
    return Web(url, _authorization(args, parts.hostname, env), secure=parts.scheme == "https")


class Web:
    """See `Source`."""

    def __init__(self, url: str, authorization: str | None, *, secure: bool) -> None:
        self.shown = shown(url)
        self._url = url
        self._authorization = authorization
        host = urlsplit(url).hostname or ""
        if authorization and not secure and host not in _LOCAL:
            raise Failure(
                f"{self.shown}: a token would go over `http:` for everybody to read", help="use `https:`"
            )
        self._opener = urllib.request.build_opener(_Redirects(authorization))

    def look(self, pinned: Version | None) -> Found:
        """See `Source`."""
        try:
            try:
                answer = self._ask("HEAD", {})
            except _StatusError as e:
                # Servers that only give, and links that are signed for one method.
                if e.code not in (400, 403, 405, 501):
                    raise
                answer = self._ask("GET", {"Range": "bytes=0-0"})
        except _StatusError as e:
            if e.code == 416:
                return Found(_version(e.headers), 0)
            raise self._refused(e) from e
        except _CutError as e:
            raise Failure(f"{self.shown}: {e}", help=e.help) from e
        with answer:
            return Found(_version(answer.headers), _total(answer))

    def fetch(self, version: Version, into: Path, progress: Progress) -> Version:
        """See `Source`."""
        part = into.with_name(into.name + ".part")
        if not version:
            part.unlink(missing_ok=True)
        patience = Patience()
        while True:
            before = part.stat().st_size if part.exists() else 0
            try:
                known = self._more(version, part, before, progress)
                break
            except _StatusError as e:
                if e.code not in _PASSING or patience.spent:
                    raise self._refused(e) from e
                patience.wait(_retry_after(e.headers))
            except _CutError as e:
                if part.exists() and part.stat().st_size > before:
                    patience.renew()
                if patience.spent:
                    raise Failure(f"{self.shown}: {e}", help=e.help) from e
                patience.wait()
        part.replace(into)
        return {**version, **known}

    def page(self) -> tuple[bytes, Message]:
        """A small answer in one piece, and its headers. Raises `RefusedError`, `Failure`."""
        patience = Patience()
        while True:
            try:
                with self._ask("GET", {}) as answer:
                    return answer.read(), answer.headers
            except _StatusError as e:
                if e.code not in _PASSING or patience.spent:
                    raise RefusedError(e.code, e.headers, self._refused(e)) from e
                patience.wait(_retry_after(e.headers))
            except (_CutError, OSError, http.client.HTTPException) as e:
                if patience.spent:
                    raise Failure(f"{self.shown}: {_said(e)}", help=_NETWORK) from e
                patience.wait()

    # --- one request

    def _more(self, version: Version, part: Path, start: int, progress: Progress) -> Version:
        """The rest of the file behind `start`; the version as the server gives it. The part grows."""
        validator = _validator(version)
        headers: dict[str, str] = {}
        if start and validator:
            headers = {"Range": f"bytes={start}-", "If-Range": validator}
        try:
            answer = self._ask("GET", headers)
        except _StatusError as e:
            if e.code == 416 and start:
                part.unlink()
                raise _CutError("it does not have what was begun") from None
            raise
        with answer:
            known = _version(answer.headers)
            self._same(version, known)
            if answer.headers.get("Content-Encoding", "identity").lower() not in ("identity", ""):
                self._encoded(answer.headers)
            begins = _begins(answer) if answer.status == 206 else 0
            if begins not in (0, start):
                raise _CutError("it sent another part than was asked for")
            total = _total(answer)
            got = _copy(answer, part, begins, total, progress)
        if total is not None and got != total:
            raise _CutError(f"only {got} of {total} bytes came", "the server ends the connection too early")
        return known

    def _same(self, version: Version, now: Version) -> None:
        for name, value in version.items():
            if name in now and now[name] != value:
                said = name.replace("_", " ")
                raise GoneError(
                    f"{self.shown} has another version now: its {said} was {value}, and is {now[name]}"
                )

    def _encoded(self, headers: Message) -> None:
        # Of `data.csv.gz`, some say that it is an encoding of `data.csv`: then it is as it should be.
        if not urlsplit(self._url).path.endswith((".gz", ".zst", ".br", ".bz2", ".xz")):
            raise Failure(
                f"{self.shown}: it is sent as `{headers['Content-Encoding']}`, though that was not asked for",
                help="ask its owner for the plain file, or take the compressed one under a name of its own",
            )

    def _ask(self, method: str, headers: Mapping[str, str]) -> Any:
        """The answer, its body not read yet. Raises `_StatusError`, `_CutError`, `Failure`."""
        request = urllib.request.Request(self._url, method=method)
        request.add_header("User-Agent", f"mlpipec/{__version__}")
        request.add_header("Accept-Encoding", "identity")
        for name, value in headers.items():
            request.add_header(name, value)
        if self._authorization:
            # Not for whoever the server may send us to: see `_Redirects`.
            request.add_unredirected_header("Authorization", self._authorization)
        # What a GET gives is asked for again by `fetch` and `page`.
        patience = Patience(TRIES if method == "HEAD" else 1)
        while True:
            asked = None
            try:
                return self._opener.open(request, timeout=_TIMEOUT)
            except urllib.error.HTTPError as e:
                with e:
                    if e.code not in _PASSING or patience.spent:
                        raise _StatusError(e.code, e.reason, e.headers) from None
                    asked = _retry_after(e.headers)
            except urllib.error.URLError as e:
                if isinstance(e.reason, ssl.SSLError):
                    raise Failure(
                        f"{self.shown}: {e.reason.reason or e.reason}",
                        help="this machine does not trust its certificate; `SSL_CERT_FILE` names others",
                    ) from None
                if patience.spent:
                    reason = getattr(e.reason, "strerror", None) or e.reason
                    raise _CutError(f"it cannot be reached: {reason}", _NETWORK) from None
            except (OSError, http.client.HTTPException) as e:
                if patience.spent:
                    raise _CutError(f"the connection broke: {_said(e)}", _NETWORK) from None
            patience.wait(asked)

    def _refused(self, e: _StatusError) -> Failure:
        """What a status means, in words."""
        reason = {
            401: "it wants credentials" if not self._authorization else "it refuses these credentials",
            403: "it refuses access" if not self._authorization else "it refuses access to these credentials",
            404: "nothing is there",
            410: "it is gone for good",
            429: "it is asked too often",
        }.get(e.code, f"it answers {e.code} {e.reason}")
        help = {
            401: _CREDENTIALS,
            403: _CREDENTIALS,
            404: "has it moved? correct the url; what was fetched before stays pinned and in the cache",
            410: "find where it went; what was fetched before stays pinned and in the cache",
            429: "try again later",
        }.get(e.code, "is it a fault of the server? then try again later" if e.code >= 500 else "")
        kind = GoneError if e.code in (404, 410) else Failure
        return kind(f"{self.shown}: {reason} ({e.code})", help=help)


_CREDENTIALS = 'name a variable that holds a token: `token = "env:NAME"`; or put a login into `~/.netrc`'
_NETWORK = "check the address and the network"


class RefusedError(Failure):
    """A status that is no success, for those who know more of it than `failure` says."""

    def __init__(self, status: int, headers: Message, failure: Failure) -> None:
        super().__init__(failure.message, help=failure.help)
        self.status = status
        self.headers = headers


class _StatusError(Exception):
    """A status that is no success."""

    def __init__(self, code: int, reason: str, headers: Message) -> None:
        super().__init__(code)
        self.code = code
        self.reason = reason
        self.headers = headers


class _CutError(Exception):
    """Less came than should have; trying again may help."""

    def __init__(self, message: str, help: str = "") -> None:
        super().__init__(message)
        self.help = help


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows, but not from `https` to `http`; credentials go on to the same server only."""

    def __init__(self, authorization: str | None) -> None:
        self._authorization = authorization

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """See `HTTPRedirectHandler`."""
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if old.scheme == "https" and new.scheme != "https":
            raise Failure(f"{shown(req.full_url)} leads to `{shown(newurl)}`, which is not `https:`")
        made = super().redirect_request(req, fp, code, msg, headers, newurl)
        if made is not None:
            made.method = req.get_method()
            if self._authorization and (old.scheme, old.netloc) == (new.scheme, new.netloc):
                made.add_unredirected_header("Authorization", self._authorization)
        return made


def _authorization(args: Mapping[str, Value], host: str, env: Mapping[str, str]) -> str | None:
    if "token" in args:
        name = feeds.variable(args["token"])
        if name is None:
            raise Failure('`token` names a variable that holds it: `token = "env:NAME"`', code=2)
        text = env.get(name, "").strip()
        if not text:
            raise Failure(
                f"the secret `{name}` is not set: it is the token for {shown(str(args['url']))}",
                help="set the variable; in CI it is a secret of the service, which jobs for a pull request "
                "from a fork are not given",
            )
        # A whole header has a scheme (`Basic …`); a token alone has no space.
        return text if " " in text else f"Bearer {text}"
    place = Path(env.get("NETRC") or Path(env.get("HOME") or "~").expanduser() / ".netrc")
    try:
        found = netrc.netrc(place).authenticators(host)
    except FileNotFoundError:
        return None
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError) as e:
        raise Failure(f"`{place.name}` cannot be read: {_said(e)}") from None
    if found is None:
        return None
    import base64

    login = f"{found[0]}:{found[2]}".encode()
    return f"Basic {base64.b64encode(login).decode()}"


def _version(headers: Message) -> dict[str, str]:
    etag, modified = headers.get("ETag", "").strip(), headers.get("Last-Modified", "").strip()
    if etag and not etag.startswith("W/"):
        # It says it all; the time may differ from one server of many to the next.
        return {"etag": etag}
    return {name: value for name, value in (("etag", etag), ("last_modified", modified)) if value}


def _validator(version: Version) -> str | None:
    """What proves that the rest is of the same file: an etag that is not weak, else the time."""
    etag = version.get("etag", "")
    return etag if etag and not etag.startswith("W/") else version.get("last_modified")


def _begins(answer: Any) -> int:
    """Where a part begins, by its `Content-Range: bytes 5-9/10`."""
    text = str(answer.headers.get("Content-Range", "")).removeprefix("bytes").strip()
    first = text.partition("-")[0]
    return int(first) if first.isdigit() else -1


def _total(answer: Any) -> int | None:
    """The size of the whole file in bytes, where the server says it."""
    if answer.status == 206:
        text = str(answer.headers.get("Content-Range", "")).rpartition("/")[2]
    else:
        text = str(answer.headers.get("Content-Length", ""))
    return int(text) if text.isdigit() else None


def _copy(answer: Any, part: Path, start: int, total: int | None, progress: Progress) -> int:
    """Appends the body behind `start`; how long the part is then. Raises `_CutError`, `OSError` of files."""
    at = start
    with part.open("r+b" if part.exists() else "wb") as file:
        file.truncate(start)
        file.seek(start)
        while True:
            try:
                chunk = answer.read(_CHUNK)
            except http.client.IncompleteRead as e:
                file.write(e.partial)
                raise _CutError("it sent less than it promised", "the server ends the connection") from None
            except (OSError, http.client.HTTPException) as e:
                raise _CutError(f"the connection broke: {_said(e)}", _NETWORK) from None
            if not chunk:
                break
            file.write(chunk)
            at += len(chunk)
            progress(at, total)
        file.flush()
        with contextlib.suppress(OSError):
            os.fsync(file.fileno())
    return at


def _retry_after(headers: Message) -> float | None:
    text = str(headers.get("Retry-After", ""))
    return float(text) if text.isdigit() else None


def _said(e: BaseException) -> str:
    return str(getattr(e, "strerror", None) or e or type(e).__name__)
