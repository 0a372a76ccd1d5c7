"""What a client sees of a service: every request written down, and the bad minutes that a test asks for."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tests.e2e.forges import tools as installed
from tests.e2e.harness import process
from tests.e2e.harness.tools import Tools


class Reply(NamedTuple):
    """`body` is JSON; None for an empty body."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = {}


class Request(NamedTuple):
    """`path` without the API's prefix, `data` the JSON of the body or None."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    data: Any
    raw: bytes

    @property
    def token(self) -> str:
        """The token that it carries."""
        return self.headers.get("private-token") or self.headers.get("authorization", "").removeprefix(
            "Bearer "
        )


class Memory(Protocol):
    """A service's part: what it remembers and how it answers. `prefix` is what its API's paths begin with."""

    prefix: str
    public: str
    """The address of the API as clients know it."""

    def answer(self, request: Request, base: str) -> Reply:
        """`base` is the address of the API as the service knows it."""
        ...


@dataclass(slots=True)
class Fault:
    """Answers `times` matching requests instead of the service. `lost`: the service does it, and the answer
    never comes. `seconds`: it comes late."""

    method: str
    path: str
    reply: Reply | None = None
    times: int = 1
    lost: bool = False
    seconds: float = 0.0


@dataclass(slots=True)
class Front:
    """`url` is the address of the API; `seen` what was asked, in order, by every client."""

    url: str
    memory: Any
    seen: list[Request] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def fail(self, method: str, path: str, reply: Reply | None = None, **how: Any) -> None:
        """Has a bad minute at requests whose path has `path` in it."""
        self.faults.append(Fault(method, path, reply, **how))

    def forget(self) -> None:
        """Nobody asked anything yet, there are no repositories, and no bad minutes are to come."""
        self.seen.clear()
        self.faults.clear()
        self.violations.clear()
        self.memory.repositories.clear()

    def asked(self, method: str, path: str) -> list[Request]:
        """The requests whose path has `path` in it."""
        return [r for r in self.seen if r.method == method and path in r.path]


@contextlib.contextmanager
def service(name: str, memory: Memory, found: Tools, folder: Path) -> Iterator[Front]:
    """The service `name` with `memory`, behind its description."""
    # The proxy reads forms as text and spoils what is none: the service gets their bytes on another way.
    forms: dict[str, bytes] = {}

    def behind_it(request: Request, base: str) -> Reply:
        return memory.answer(
            request._replace(raw=forms.get(request.headers.get("x-form", ""), request.raw)), base
        )

    with _serving(behind_it) as behind:
        port = process.free_port()
        command = [str(found.node), str(installed.prism()), "proxy", str(installed.description(name))]
        command += [f"http://127.0.0.1:{behind}", "--errors", "--host", "127.0.0.1", "--port", str(port)]
        log = folder / f"{name}.log"
        with log.open("w") as out:
            child = subprocess.Popen(
                command,
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                env=found.environment(folder / "home"),
            )
        try:
            _wait(log)
            front = Front("", memory)
            with _serving(lambda r, base: _through(front, port, forms, r)) as own:
                front.url = memory.public = f"http://127.0.0.1:{own}{memory.prefix}"
                yield front
        finally:
            child.kill()
            child.wait(30)


def _wait(log: Path) -> None:
    end = time.monotonic() + 60
    while "Prism is listening" not in log.read_text():
        if time.monotonic() > end:
            raise RuntimeError(log.read_text()[-2000:])
        time.sleep(0.05)


def _through(front: Front, port: int, forms: dict[str, bytes], request: Request) -> Reply | None:
    prefix = front.memory.prefix
    number = str(len(front.seen))
    kind = request.headers.get("content-type", "")
    if "multipart" in kind or "octet-stream" in kind:
        forms[number] = request.raw
    front.seen.append(request)
    fault = next(
        (f for f in front.faults if f.times > 0 and f.method == request.method and f.path in request.path),
        None,
    )
    if fault is not None:
        fault.times -= 1
        time.sleep(fault.seconds)
        if fault.reply is not None:
            return fault.reply
    if not request.path.startswith(prefix):
        return Reply(404, {"message": f"not below {prefix}"})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.putrequest(request.method, request.path.removeprefix(prefix), skip_accept_encoding=True)
        for key, value in request.headers.items():
            if key not in ("host", "connection", "content-length", "transfer-encoding", "accept-encoding"):
                connection.putheader(key, value)
        connection.putheader("x-form", number)
        connection.putheader("content-length", str(len(request.raw)))
        connection.endheaders(request.raw)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if "stoplight.io/prism/errors" in body.decode("utf-8", "replace"):
        front.violations.append(f"{request.method} {request.path}: {body.decode()}")
    if fault is not None and fault.lost:
        return None
    kept = {k: v for k, v in answer.getheaders() if k.lower() in ("link", "x-next-page", "location")}
    return Reply(answer.status, json.loads(body) if body else None, kept)


@contextlib.contextmanager
def _serving(answer: Callable[[Request, str], Reply | None]) -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path, _, query = self.path.partition("?")
            pairs = dict(p.partition("=")[::2] for p in query.split("&") if p)
            headers = {k.lower(): v for k, v in self.headers.items()}
            data = None
            if "json" in headers.get("content-type", "") and raw:
                data = json.loads(raw)
            base = f"http://{self.headers.get('Host')}"
            # The query belongs to what a proxy passes on, too.
            request = Request(self.command, self.path if query else path, pairs, headers, data, raw)
            reply = answer(request, base)
            if reply is None:
                self.close_connection = True
                self.connection.close()
                return
            body = b"" if reply.body is None else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            for key, value in reply.headers.items():
                self.send_header(key, value)
            if body:
                self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _do  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that went away is not the server's trouble."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
