"""A server that speaks the documented interface of the Hugging Face Hub, as far as reading goes.

That it does shows in a test: the hub's own client downloads from it.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

_API = re.compile(r"/api/(model|dataset|space)s/(.+?)/(revision|tree)/([^/]+)")
_API_BARE = re.compile(r"/api/(model|dataset|space)s/([^/]+(?:/[^/]+)?)")
_FILE = re.compile(r"/(?:(dataset|space)s/)?(.+?)/resolve/([^/]+)/(.+)")


def blob(content: bytes) -> str:
    """The hash that git has for a content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Repo:
    """A repository of the hub: branches and tags to commits, commits to files. Files of `large` bytes
    and more are in LFS."""

    refs: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    token: str = ""
    gated: bool = False
    large: int = 100

    def commit(self, files: Mapping[str, bytes], branch: str = "main") -> str:
        """A new commit; its hash."""
        text = json.dumps([branch, len(self.commits), sorted((n, blob(c)) for n, c in files.items())])
        made = hashlib.sha1(text.encode()).hexdigest()
        self.commits[made] = dict(files)
        self.refs[branch] = made
        return made


@dataclass
class Hub:
    """Repositories by `models/owner/name`; `asked` are the requests. `page` files are in a page of a listing,
    `cut` is where files end that are cut short, `damaged` has them changed."""

    url: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    page: int = 1000
    cut: int | None = None
    damaged: bool = False


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        """What a GET would say."""
        self.do_GET()

    def do_GET(self) -> None:
        """The interface, files, and the other server that LFS files are on."""
        hub: Hub = self.server.hub  # type: ignore[attr-defined]
        hub.asked.append(f"{self.command} {self.path}")
        url = urlsplit(self.path)
        path = unquote(url.path)
        if path.startswith("/cdn/"):
            self._cdn(hub, path.removeprefix("/cdn/"))
        elif match := _API.fullmatch(path):
            self._api(hub, *match.groups(), parse_qs(url.query))
        elif match := _API_BARE.fullmatch(path):
            self._api(hub, match[1], match[2], "revision", "main", {})
        elif match := _FILE.fullmatch(path):
            self._file(hub, match[1] or "model", match[2], match[3], match[4])
        else:
            self._say(404, {"error": "no such page"})

    def _repo(self, hub: Hub, type: str, name: str) -> Repo | None:
        repo = hub.repos.get(f"{type}s/{name}")
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if repo is None or (repo.token and not repo.gated and given != repo.token):
            self._say(
                401 if not given else 404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"}
            )
            return None
        if repo.gated and given != repo.token:
            self._say(401 if not given else 403, {"error": "gated"}, {"X-Error-Code": "GatedRepo"})
            return None
        return repo

    def _commit(self, repo: Repo, revision: str) -> str | None:
        found = repo.refs.get(revision, revision)
        if found in repo.commits:
            return found
        self._say(404, {"error": f"Invalid rev id: {revision}"}, {"X-Error-Code": "RevisionNotFound"})
        return None

    def _api(
        self, hub: Hub, type: str, name: str, what: str, revision: str, query: dict[str, list[str]]
    ) -> None:
        repo = self._repo(hub, type, name)
        commit = self._commit(repo, revision) if repo else None
        if repo is None or commit is None:
            return
        files = repo.commits[commit]
        if what == "revision":
            siblings = [{"rfilename": n} for n in sorted(files)]
            about = {
                "id": name,
                "modelId": name,
                "sha": commit,
                "siblings": siblings,
                "private": bool(repo.token),
            }
            self._say(200, {**about, "tags": [], "downloads": 0, "likes": 0})
            return
        folders = sorted({"/".join(n.split("/")[:i]) for n in files for i in range(1, n.count("/") + 1)})
        rows: list[dict[str, Any]] = [
            {"type": "directory", "oid": "0" * 40, "size": 0, "path": f} for f in folders
        ]
        for path, content in sorted(files.items()):
            row: dict[str, Any] = {"type": "file", "oid": blob(content), "size": len(content), "path": path}
            if len(content) >= repo.large:
                sha = hashlib.sha256(content).hexdigest()
                row["lfs"] = {"oid": sha, "size": len(content), "pointerSize": 134}
            rows.append(row)
        start = int(query.get("cursor", ["0"])[0])
        more = {}
        if start + hub.page < len(rows):
            more["Link"] = (
                f'<{hub.url}{urlsplit(self.path).path}?recursive=true&cursor={start + hub.page}>; rel="next"'
            )
        self._say(200, rows[start : start + hub.page], more)

    def _file(self, hub: Hub, type: str, name: str, revision: str, path: str) -> None:
        repo = self._repo(hub, type, name)
        commit = self._commit(repo, revision) if repo else None
        if repo is None or commit is None:
            return
        content = repo.commits[commit].get(path)
        if content is None:
            self._say(
                404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}
            )
            return
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if len(content) >= repo.large:
            sha = hashlib.sha256(content).hexdigest()
            headers |= {"X-Linked-Etag": f'"{sha}"', "X-Linked-Size": str(len(content))}
            self._say(
                302, b"", {**headers, "Location": f"{hub.url.replace('127.0.0.1', 'localhost')}/cdn/{sha}"}
            )
            return
        self._give(hub, content, {**headers, "ETag": f'"{blob(content)}"'})

    def _cdn(self, hub: Hub, sha: str) -> None:
        # A signed address: with a token, too, such servers refuse.
        if self.headers.get("Authorization"):
            self._say(400, {"error": "only one way to sign"})
            return
        contents = (c for r in hub.repos.values() for files in r.commits.values() for c in files.values())
        content = next(c for c in contents if hashlib.sha256(c).hexdigest() == sha)
        self._give(hub, content, {"ETag": f'"{sha[:32]}"', "Accept-Ranges": "bytes"})

    def _give(self, hub: Hub, content: bytes, headers: dict[str, str]) -> None:
        whole, status = len(content), 200
        data = content[::-1] if hub.damaged else content
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = 0
        if wanted:
            start, end = int(wanted[1]), int(wanted[2] or whole - 1)
            status, data = 206, data[start : end + 1]
            headers = {**headers, "Content-Range": f"bytes {start}-{start + len(data) - 1}/{whole}"}
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            cut = hub.cut is not None and whole > hub.cut and start < hub.cut
            self.wfile.write(data[: hub.cut - start] if cut and hub.cut is not None else data)
            if cut:
                self.close_connection = True

    def _say(self, status: int, answer: Any, headers: Mapping[str, str] | None = None) -> None:
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@contextlib.contextmanager
def hub_server() -> Iterator[Hub]:
    """An empty hub."""
    server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    hub = Hub(f"http://127.0.0.1:{server.server_address[1]}")
    server.hub = hub
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
