"""Google Cloud Storage's XML interface before a real S3 server, which keeps the bytes.

No emulator has what the client uses of that interface. It is S3's but for what is translated here, as Google
documents it: bearer tokens instead of signatures, `x-goog-if-generation-match: 0` for a name that has to be
new (412 when it is not), a generation for every object, in buckets without versions too, by which it can be
asked for (404 when it is gone), and 404 when something is removed that is not there. Whether a name is new,
ranges, uploads in parts, listings by pages and kept versions are the S3 server's. Tokens come from a
security token service, as external accounts have it. A request with anything else of Google's is refused
(501), so that the client cannot come to use what is not translated.

What it does not show: Google's permissions, its limits (a 429 is only made up), TLS and HTTP/2, objects that
are stored compressed, soft deletion; and that Google does what its documents say.
"""

from __future__ import annotations

import contextlib
import http.server
import itertools
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.support.s3calls import Answer, call
from tests.support.servers import S3

_QUERIES = {
    "continuation-token",
    "delimiter",
    "generation",
    "list-type",
    "max-keys",
    "partNumber",
    "prefix",
    "start-after",
    "uploadId",
    "uploads",
}
_PASSED = ("content-type", "if-match", "if-none-match", "range")
_BACK = ("accept-ranges", "content-range", "content-type", "etag", "last-modified")
_FRESH = "x-goog-if-generation-match"


@dataclass
class Google:
    """`tokens` are those that are let in. `asked` are the requests: method, name in the bucket, query."""

    server: S3
    url: str = ""
    port: int = 0
    tokens: set[str] = field(default_factory=set)
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    # So many of the next requests are too many.
    busy: int = 0
    # Buckets that everybody may read.
    public: set[str] = field(default_factory=set)
    _guard: threading.Lock = field(default_factory=threading.Lock)
    # Of each object, the generations that there were, oldest first, with the version ids of the S3 server.
    _known: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    _count: Iterator[int] = field(default_factory=lambda: itertools.count(time.time_ns() // 1000))

    def env(self, folder: Path, url: str = "") -> dict[str, str]:
        """What a client needs to know: the file of an external account, made in `folder`. `url` is another
        way to the same service."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "subject").write_text("a token of somebody else's")
        said = {
            "type": "external_account",
            "audience": "//iam.googleapis.com/projects/1/pools/ci",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": f"{self.url}/sts/v1/token",
            "credential_source": {"file": str(folder / "subject")},
        }
        (folder / "account.json").write_text(json.dumps(said))
        return {
            "GOOGLE_APPLICATION_CREDENTIALS": str(folder / "account.json"),
            "GOOGLE_BASE_URL": url or self.url,
        }

    def token(self) -> str:
        """A new token, which is let in."""
        with self._guard:
            made = f"ya29.{next(self._count)}"
            self.tokens.add(made)
            return made

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """What Google would say."""
        parts = urlsplit(path)
        name, query = unquote(parts.path), dict(parse_qsl(parts.query, keep_blank_values=True))
        with self._guard:
            self.asked.append((method, name.split("/", 2)[-1], dict(query)))
            self.busy -= (busy := self.busy > 0)
        if busy:
            return _error(
                429, "SlowDown", "The object exceeded the rate limit for object mutation operations."
            )
        login = headers.get("authorization")
        public = login is None and method in ("GET", "HEAD") and name.split("/")[1] in self.public
        if not public and (login or "").partition("Bearer ")[2] not in self.tokens:
            return _error(401, "AuthenticationRequired", "Authentication required.")
        strange = [n for n in query if n not in _QUERIES]
        strange += [n for n in headers if n.startswith(("x-goog-", "x-amz-")) and n != _FRESH]
        if strange or headers.get(_FRESH, "0") != "0":
            return _error(501, "NotImplemented", f"not translated: {strange}")
        return self._translated(method, name, query, headers, body)

    def _translated(
        self, method: str, name: str, query: dict[str, str], headers: dict[str, str], body: bytes
    ) -> Answer:
        sent = {n: headers[n] for n in _PASSED if n in headers}
        if _FRESH in headers:
            sent["If-None-Match"] = "*"
        generation = query.pop("generation", None)
        if generation is not None:
            found = self._version(name, generation)
            if found is None:
                return _error(404, "NoSuchKey", f"The specified key does not exist. Generation {generation}")
            query |= {"versionId": found} if found else {}
        if method == "DELETE" and not query and call(self.server, "HEAD", name).status == 404:
            return _error(404, "NoSuchKey", "The specified key does not exist.")
        made = call(self.server, method, name, query, sent, body)
        if made.status >= 400:
            return _error(made.status, made.said("Code"), made.said("Message"))
        back = {n: made.headers[n] for n in _BACK if n in made.headers}
        if method == "DELETE":
            self._forget(name, generation)
        elif name.count("/") > 1 and "partNumber" not in query and "uploads" not in query:
            new = method in ("PUT", "POST")
            back["x-goog-generation"] = str(self._generation(name, made.headers.get("x-amz-version-id"), new))
            back["x-goog-metageneration"] = "1"
        if method == "HEAD":
            back["content-length"] = made.headers["content-length"]
        text = made.body
        if method == "POST" or "list-type" in query:
            text = text.replace(b"http://s3.amazonaws.com/doc/", b"http://doc.s3.amazonaws.com/")
        return Answer(made.status, back, text)

    def _generation(self, name: str, version: str | None, new: bool) -> int:
        """That of a version (None: the bucket has none)."""
        with self._guard:
            known = self._known.setdefault(name, [])
            same = [g for g, v in known if v == (version or "")]
            if same and not new:
                return same[-1]
            known[:] = [(g, v) for g, v in known if v] if not version else known
            known.append((next(self._count), version or ""))
            return known[-1][0]

    def _version(self, name: str, generation: str) -> str | None:
        """The version id of a generation, empty where the bucket has none; None of one that is gone."""
        with self._guard:
            return next((v for g, v in self._known.get(name, ()) if str(g) == generation), None)

    def _forget(self, name: str, generation: str | None) -> None:
        with self._guard:
            kept = [(g, v) for g, v in self._known.get(name, ()) if v and str(g) != generation]
            self._known[name] = kept


def _error(status: int, code: str, message: str) -> Answer:
    text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    text = f"<?xml version='1.0' encoding='UTF-8'?>{text}"
    return Answer(status, {"content-type": "application/xml; charset=UTF-8"}, text.encode())


class _Handler(http.server.BaseHTTPRequestHandler):
    """Reads requests whole, and writes answers whole."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    google: Google

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {k.lower(): v for k, v in self.headers.items()}
        if self.path == "/sts/v1/token":
            said = {"access_token": self.google.token(), "expires_in": 3600, "token_type": "Bearer"}
            made = Answer(200, {"content-type": "application/json"}, json.dumps(said).encode())
        else:
            made = self.google.answer(self.command, self.path, headers, body)
        self.send_response(made.status)
        for name, value in made.headers.items():
            self.send_header(name, value)
        if "content-length" not in made.headers and made.status != 204:
            self.send_header("Content-Length", str(len(made.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(made.body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _any  # noqa: N815 - as the server calls them


@contextlib.contextmanager
def google_server(server: S3) -> Iterator[Google]:
    """The interface, on a port of its own; its buckets are those of `server`."""
    made = Google(server)

    class Mine(_Handler):
        google = made

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mine)
    listening.daemon_threads = True
    made.port = listening.server_address[1]
    made.url = f"http://127.0.0.1:{made.port}"
    thread = threading.Thread(target=listening.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join(10)
