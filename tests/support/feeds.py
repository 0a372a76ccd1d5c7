"""A web server that can do what servers do to those who fetch from them, and a project that fetches."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.remote_project import Checkout

# Variables of CI services, which change what a run may do; and what tests say of `HOME`.
_CI = ("CI", "GITHUB_ACTIONS", "GITLAB_CI", "BITBUCKET_BUILD_NUMBER")


@dataclass
class Asked:
    """A request: its method, path and headers."""

    method: str
    path: str
    headers: dict[str, str]


# Told the request and the handler; True when it has answered.
Fault = Callable[[Asked, "Handler"], bool]


@dataclass
class Web:
    """Files by path. `faults` are asked first, each until it is taken out; `asked` is what came."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    etags: bool = True
    times: bool = True
    modified: str = "Mon, 01 Jan 2024 00:00:00 GMT"
    sent: int = 0

    def put(self, text: str | bytes, path: str = "/feed.csv") -> None:
        """Puts a file there."""
        self.files[path] = text.encode() if isinstance(text, str) else text

    def gets(self) -> list[Asked]:
        """The requests for content since this was last asked."""
        found = [a for a in self.asked if a.method == "GET"]
        self.asked.clear()
        return found


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers from a `Web`, with ranges and conditions."""

    protocol_version = "HTTP/1.1"
    web: Web

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        """A file, or a part of it."""
        web = self.web
        asked = Asked(self.command, self.path, dict(self.headers.items()))
        web.asked.append(asked)
        for fault in list(web.faults):
            if fault(asked, self):
                return
        data = web.files.get(self.path.partition("?")[0])
        if data is None:
            self.answer(404, b"no such thing")
            return
        self.file(data)

    def do_HEAD(self) -> None:
        """What a GET would say of it."""
        self.do_GET()

    def file(self, data: bytes, *, cut: int | None = None) -> None:
        """Sends a file, or the part asked for; after `cut` bytes the line is dead."""
        web = self.web
        etag = f'"{hashlib.sha1(data).hexdigest()[:12]}"'
        whole, start = len(data), 0
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        if match and condition not in (None, etag if web.etags else web.modified):
            match = None
        if match:
            start = int(match[1])
            if start >= whole:
                self.answer(416, b"")
                return
            data = data[start : int(match[2] or whole - 1) + 1]
        self.send_response(206 if match else 200)
        if match:
            self.send_header("Content-Range", f"bytes {start}-{start + len(data) - 1}/{whole}")
        if web.etags:
            self.send_header("ETag", etag)
        if web.times:
            self.send_header("Last-Modified", web.modified)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            part = data if cut is None else data[:cut]
            self.wfile.write(part)
            self.wfile.flush()
            web.sent += len(part)
            if cut is not None:
                self.close_connection = True

    def answer(self, code: int, body: bytes, **headers: str) -> None:
        """Sends a short answer."""
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def status(code: int, times: int | None = None, **headers: str) -> Fault:
    """The server answers with that status, so often (None: always)."""
    left = [times]

    def fault(asked: Asked, handler: Handler) -> bool:
        if left[0] == 0:
            return False
        if left[0] is not None:
            left[0] -= 1
        handler.answer(code, b"", **headers)
        return True

    return fault


def cut(after: int, times: int | None = None) -> Fault:
    """Bodies break off after so many bytes, so often (None: always)."""
    left = [times]

    def fault(asked: Asked, handler: Handler) -> bool:
        data = handler.web.files.get(asked.path)
        if asked.method != "GET" or left[0] == 0 or data is None:
            return False
        if left[0] is not None:
            left[0] -= 1
        handler.file(data, cut=after)
        return True

    return fault


def slow(first: int, go_on: threading.Event) -> Fault:
    """Bodies stop after `first` bytes until `go_on`."""

    def fault(asked: Asked, handler: Handler) -> bool:
        data = handler.web.files.get(asked.path)
        if asked.method != "GET" or go_on.is_set() or data is None:
            return False
        handler.send_response(200)
        handler.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()[:12]}"')
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[:first])
        handler.wfile.flush()
        go_on.wait(60)
        with contextlib.suppress(OSError):
            handler.wfile.write(data[first:])
        handler.close_connection = True
        return True

    return fault


@contextlib.contextmanager
def serving() -> Iterator[Web]:
    """A server of its own, on a port of its own."""
    web = Web()

    class Mine(Handler):
        pass

    Mine.web = web
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mine)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    web.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def project(
    root: Path, source: str, *, type: str = "csv { id: int unique, x: int }", more: str = ""
) -> Checkout:
    """A project whose stage `copy` reads the data `feed`; `source` is where from."""
    checkout = Checkout(root, {**dict.fromkeys(_CI, ""), "HOME": os.fspath(root.parent)})
    root.mkdir(parents=True, exist_ok=True)
    (root / "pipeline.mlpipe").write_text(f"""\
mlpipe 1
pipeline feeds
data feed: {type} = {source}
stage copy {{
  in  feed
  out rows: file = "out/rows.csv"
  run = "echo copy >> ../ran-$(basename $PWD).txt; cp -r {{{{feed}}}} {{{{rows}}}}"
}}
{more}
""")
    return checkout


def lock(checkout: Checkout, kind: str = "data") -> list[str]:
    """The lines of that kind in the lock."""
    path = checkout.root / "mlpipe.lock"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line for line in lines if line.startswith(f"{kind} ")]


def wait_for(ready: Callable[[], bool], seconds: float = 30) -> None:
    """Until it is so."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)
