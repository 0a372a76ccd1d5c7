"""`huggingface("owner/name", revision)`: files of a model, a data set or a space of the Hugging Face Hub.

Over the hub's documented HTTP interface. The revision is pinned to its commit; every file is checked against
the hash that the hub's listing of that commit has: SHA-256 of what is in LFS, git's own of the others.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import posixpath
import re
import shutil
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from mlflowc.errors import Failure
from mlflowc.ir import feeds
from mlflowc.ir.model import Value
from mlflowc.sources.http import RefusedError, Web
from mlflowc.sources.inner import is_inner
from mlflowc.sources.port import Found, GoneError, Progress, Source, Version
from mlflowc.spell import nearest

_HUB = "https://huggingface.co"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_WIDTH = 6
_CHUNK = 1 << 20
# Smaller ones are fetched anew when a fetch broke: to ask for their version first would cost as much.
_RESUMED = 8 << 20
_NEXT = re.compile(r'<([^>]+)>\s*;\s*rel="next"')
# Where addresses of files begin.
_PREFIX = {"model": "", "dataset": "datasets/", "space": "spaces/"}


class Listed(NamedTuple):
    """A file in a commit: `sha256` of what is in LFS, else `blob`, the hash that git has for it."""

    path: str
    size: int
    blob: str
    sha256: str | None


def open(args: Mapping[str, Value], root: Path, env: Mapping[str, str]) -> Source:
    """See `mlflowc.sources.port.Opener`."""
    files = args.get("files")
    path = args.get("path")
    hub = Hub(env, None if "token" not in args else str(args["token"]))
    return HubSource(
        hub,
        str(args.get("type", "model")),
        str(args["name"]),
        str(args.get("revision", "main")),
        None if path is None else str(path).strip("/"),
        tuple(str(f) for f in files) if isinstance(files, tuple) else (),
    )


class Hub:
    """The hub at `HF_ENDPOINT`, with the token that there is."""

    def __init__(self, env: Mapping[str, str], token: str | None) -> None:
        self.endpoint = env.get("HF_ENDPOINT", "").rstrip("/") or _HUB
        self._authorization = _token(env, token)

    def web(self, url: str) -> Web:
        """An address of the hub."""
        return Web(url, self._authorization, secure=urlsplit(url).scheme == "https")

    @property
    def has_token(self) -> bool:
        """Whether requests say who asks."""
        return self._authorization is not None


def _token(env: Mapping[str, str], named: str | None) -> str | None:
    """The header with the token: of the variable that was named, of `HF_TOKEN`, or of a login."""
    if named is not None:
        variable = feeds.variable(named) or named
        text = env.get(variable, "").strip()
        if not text:
            raise Failure(
                f"the variable {variable}, which holds the token for the hub, is not set",
                help="make one in the settings of your account there; in CI it is a secret of that name",
            )
        return f"Bearer {text}"
    text = (env.get("HF_TOKEN") or env.get("HUGGING_FACE_HUB_TOKEN") or "").strip()
    if not text and "HOME" in env:
        home = Path(
            env.get("HF_HOME")
            or Path(env.get("XDG_CACHE_HOME") or Path(env["HOME"]) / ".cache") / "huggingface"
        )
        try:
            text = Path(env.get("HF_TOKEN_PATH") or home / "token").read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            text = ""
    return f"Bearer {text}" if text else None


class HubSource:
    """See `Source`. The version is the commit."""

    def __init__(
        self, hub: Hub, type: str, name: str, revision: str, path: str | None, files: tuple[str, ...]
    ) -> None:
        self._hub, self._type, self._name, self._revision = hub, type, name, revision
        self._path = None if path in (None, "", ".") else path
        self._files = files
        self.shown = f"{type} {name}" + (f", {self._path}," if self._path else "") + " of the hub"
        self._api = f"{hub.endpoint}/api/{type}s/{quote(name)}"

    def look(self, pinned: Version | None) -> Found:
        """See `Source`."""
        if _COMMIT.fullmatch(self._revision):
            return Found({"commit": self._revision})
        about = self._json(f"{self._api}/revision/{quote(self._revision, safe='')}", self._revision)[0]
        commit = about.get("sha") if isinstance(about, dict) else None
        if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
            raise self._strange()
        return Found({"commit": commit})

    def fetch(self, version: Version, into: Path, progress: Progress) -> Version:
        """See `Source`. Files that an earlier try brought whole are kept."""
        commit = version["commit"]
        listed = self._listing(commit)
        chosen = self._chosen(listed, commit)
        parts = into.with_name(into.name + ".parts")
        parts.mkdir(parents=True, exist_ok=True)
        meter = _Meter(progress, sum(f.size for f in chosen))
        with ThreadPoolExecutor(_WIDTH, thread_name_prefix="hub") as pool:
            tasks = [pool.submit(self._file, commit, file, parts, meter) for file in chosen]
            try:
                for task in tasks:
                    task.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        single = self._path is not None and chosen[0].path == self._path
        if single:
            (parts / _aside(chosen[0])).rename(into)
        else:
            tree = parts / "tree"
            shutil.rmtree(tree, ignore_errors=True)
            for file in chosen:
                target = tree / (posixpath.relpath(file.path, self._path) if self._path else file.path)
                target.parent.mkdir(parents=True, exist_ok=True)
                if target.exists():
                    raise Failure(
                        f"`{file.path}` of {self._type} {self._name} has the name of another file here, "
                        "where capital letters do not count",
                        help='take only one of them: `files = ["…"]`',
                    )
                (parts / _aside(file)).rename(target)
            tree.rename(into)
        shutil.rmtree(parts, ignore_errors=True)
        return dict(version)

    # --- what there is

    def _listing(self, commit: str) -> list[Listed]:
        url: str | None = f"{self._api}/tree/{commit}?recursive=true&expand=false"
        found: list[Listed] = []
        seen: set[str] = set()
        while url is not None:
            # A mirror may hand on the hub's own addresses; the token goes to nobody but whom it is for.
            url = urlunsplit((*urlsplit(self._hub.endpoint)[:2], *urlsplit(url)[2:]))
            if url in seen:
                raise self._strange()
            seen.add(url)
            rows, url = self._json(url, commit)
            if not isinstance(rows, list):
                raise self._strange()
            found += [f for f in map(self._listed, rows) if f is not None]
        names = {f.path for f in found}
        above = {"/".join(parts[:n]) for parts in (p.split("/") for p in names) for n in range(1, len(parts))}
        if len(names) < len(found) or names & above:
            raise self._strange()
        return found

    def _listed(self, row: Any) -> Listed | None:
        try:
            if row["type"] != "file":
                return None
            lfs = row.get("lfs") or {}
            path = str(row["path"])
            if not is_inner(path) or not path.encode():
                raise self._strange()
            return Listed(path, int(lfs.get("size", row["size"])), str(row["oid"]), lfs.get("oid"))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise self._strange() from None

    def _chosen(self, listed: list[Listed], commit: str) -> list[Listed]:
        """The files that are wanted. Raises `Failure` where there are none."""
        names = [f.path for f in listed]
        found = listed
        if self._path is not None:
            found = [f for f in listed if f.path == self._path or f.path.startswith(self._path + "/")]
            if not found:
                guess = nearest(self._path, [*names, *{posixpath.dirname(n) for n in names}])
                raise Failure(
                    f"there is no `{self._path}` in {self._type} {self._name} at {commit[:9]}",
                    help=f"did you mean `{guess}`?" if guess else f"it has {_some(names)}",
                )
        if self._files:
            base = f"{self._path}/" if self._path else ""
            found = [f for f in found if any(_matches(f.path.removeprefix(base), p) for p in self._files)]
        if not found:
            wanted = ", ".join(f"`{p}`" for p in self._files) or "anything"
            raise Failure(
                f"{self._type} {self._name} at {commit[:9]} has no file that matches {wanted}",
                help=f"it has {_some(names)}",
            )
        return found

    # --- one file

    def _file(self, commit: str, file: Listed, parts: Path, meter: _Meter) -> None:
        target = parts / _aside(file)
        told = meter.one()
        if target.is_file():  # named so when it was known to be good
            told(file.size, None)
            return
        prefix = _PREFIX[self._type]
        url = f"{self._hub.endpoint}/{prefix}{quote(self._name)}/resolve/{commit}/{quote(file.path)}"
        web = self._hub.web(url)
        draft = target.with_name(target.name + ".draft")
        draft.unlink(missing_ok=True)
        web.fetch(web.look(None).version if file.size >= _RESUMED else {}, draft, told)
        if not _is(draft, file):
            size = draft.stat().st_size
            draft.unlink()
            raise Failure(
                f"`{file.path}` of {self._type} {self._name} came damaged: {size:,} bytes of "
                f"{file.size:,}, which do not have its hash",
                help="try again; when it stays so, tell whoever keeps it",
            )
        draft.rename(target)

    # --- the hub's interface

    def _json(self, url: str, revision: str) -> tuple[Any, str | None]:
        """What the hub answers, and the address of the next page."""
        try:
            body, headers = self._hub.web(url).page()
        except RefusedError as e:
            raise self._refused(e, revision) from None
        try:
            following = _NEXT.search(headers.get("Link", ""))
            return json.loads(body), urljoin(url, following[1]) if following else None
        except ValueError:
            raise self._strange() from None

    def _refused(self, e: RefusedError, revision: str) -> Failure:
        code = e.headers.get("X-Error-Code", "")
        what = f"{self._type} {self._name}"
        if code == "GatedRepo":
            return Failure(
                f"{what} is gated: its owner lets in who agreed to its terms",
                help=f"agree at {self._hub.endpoint}/{_PREFIX[self._type]}{self._name}, and set HF_TOKEN to "
                "a token of that account",
            )
        if code == "RevisionNotFound":
            return GoneError(
                f"{what} has no revision `{revision}`",
                help="a branch, a tag or a commit; what was fetched before stays pinned and in the cache",
            )
        if code == "RepoNotFound" or e.status in (401, 404):
            asked = (
                "or not with this token"
                if self._hub.has_token
                else "or it is private, and HF_TOKEN is not set"
            )
            other = "dataset" if self._type == "model" else "model"
            return GoneError(
                f"there is no {what} at {self._hub.endpoint} ({e.status}), {asked}",
                help=f'check the name; a {other} is said with `type = "{other}"`; what was fetched before '
                "stays pinned and in the cache",
            )
        if e.status == 403:
            return Failure(
                f"the hub refuses {what} to this token", help="give it the right to read that repository"
            )
        return e

    def _strange(self) -> Failure:
        return Failure(
            f"{self._hub.endpoint} does not answer as a hub does",
            help="HF_ENDPOINT names the hub; is it right?",
        )


class _Meter:
    """Adds up what several threads fetch."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total = progress, total
        self._done: dict[int, int] = {}
        self._guard = threading.Lock()

    def one(self) -> Progress:
        """What is told of one file."""
        with self._guard:
            number = len(self._done)
            self._done[number] = 0

        def told(done: int, total: int | None) -> None:
            with self._guard:
                self._done[number] = done
                self._progress(sum(self._done.values()), self._total)

        return told


def _aside(file: Listed) -> str:
    return hashlib.sha256(f"{file.path}\0{file.sha256 or file.blob}".encode()).hexdigest()


def _is(path: Path, file: Listed) -> bool:
    """Whether a file's content has the hash that the hub says."""
    if path.stat().st_size != file.size:
        return False
    digest = hashlib.sha256() if file.sha256 else hashlib.sha1(usedforsecurity=False)
    if not file.sha256:
        digest.update(f"blob {file.size}\0".encode())
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest() == (file.sha256 or file.blob)


def _matches(path: str, pattern: str) -> bool:
    """As the hub's own client has it: `*` crosses folders, and a folder stands for all in it."""
    return fnmatch.fnmatchcase(path, pattern + "*" if pattern.endswith("/") else pattern)


def _some(names: list[str]) -> str:
    shown = ", ".join(f"`{n}`" for n in names[:6])
    return f"{shown}, …" if len(names) > 6 else shown or "nothing"
