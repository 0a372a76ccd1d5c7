"""Pull requests of a branch: finds the open one, opens it, says something new in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

from mlflowc.report.forges.bitbucket import Bitbucket
from mlflowc.report.forges.github import GitHub
from mlflowc.report.forges.gitlab import GitLab
from mlflowc.report.forges.http import Client, Trouble
from mlflowc.report.forges.place import Place

_BYTES = {"github": GitHub.limit, "gitlab": GitLab.limit, "bitbucket": Bitbucket.limit}


@dataclass(frozen=True, slots=True)
class Pull:
    """An open pull request."""

    number: int
    title: str
    body: str
    url: str


class Pulls(Protocol):
    """The pull requests of one repository. All raise `Trouble`."""

    limit: int
    """How many bytes the text of one may have."""

    def find(self, branch: str, base: str) -> Pull | None:
        """The open one that asks to merge `branch` into `base`."""
        ...

    def open(self, branch: str, base: str, title: str, body: str) -> Pull:
        """Opens one."""
        ...

    def edit(self, pull: Pull, title: str, body: str) -> Pull:
        """Gives it another title and text."""
        ...


def connect(place: Place) -> tuple[Client, Pulls]:
    """A client, to be closed, and the pull requests at `place`. Nothing is asked yet."""
    kinds: dict[str, tuple[Any, type[_GitHub] | type[_GitLab] | type[_Bitbucket]]] = {
        "github": (GitHub, _GitHub),
        "gitlab": (GitLab, _GitLab),
        "bitbucket": (Bitbucket, _Bitbucket),
    }
    forge, kind = kinds[place.service.name]
    client = Client(place, forge.headers(place.token))
    return client, kind(place, client)


class _Base:
    def __init__(self, place: Place, client: Client) -> None:
        self.client = client
        self.title = place.service.title
        self.repository = place.repository
        self.limit = _BYTES[place.service.name]

    def _rows(self, data: Any) -> list[Any]:
        rows = data.get("values") if isinstance(data, dict) else data
        if not isinstance(rows, list):
            raise Trouble("refused", f"{self.title} answered with something that is no list")
        return rows

    def _made(self, row: Any, number: str, body: str) -> Pull:
        if not isinstance(row, dict) or not isinstance(row.get(number), int):
            raise Trouble("refused", f"{self.title} answered with something that is no pull request")
        link = row.get("html_url") or row.get("web_url") or ""
        if not link and isinstance(row.get("links"), dict):
            link = (row["links"].get("html") or {}).get("href") or ""
        return Pull(row[number], str(row.get("title") or ""), str(row.get(body) or ""), str(link))


class _GitHub(_Base):
    def find(self, branch: str, base: str) -> Pull | None:
        owner = self.repository.partition("/")[0]
        query = {"state": "open", "head": f"{owner}:{branch}", "base": base}
        rows = self._rows(self.client.get(f"/repos/{self.repository}/pulls", **query).data)
        return self._pull(rows[0]) if rows else None

    def open(self, branch: str, base: str, title: str, body: str) -> Pull:
        made = {"title": title, "head": branch, "base": base, "body": body}
        return self._pull(self.client.send("POST", f"/repos/{self.repository}/pulls", made).data)

    def edit(self, pull: Pull, title: str, body: str) -> Pull:
        path = f"/repos/{self.repository}/pulls/{pull.number}"
        return self._pull(self.client.send("PATCH", path, {"title": title, "body": body}).data)

    def _pull(self, row: Any) -> Pull:
        return self._made(row, "number", "body")


class _GitLab(_Base):
    @property
    def _path(self) -> str:
        return f"/projects/{quote(self.repository, safe='')}/merge_requests"

    def find(self, branch: str, base: str) -> Pull | None:
        query = {"state": "opened", "source_branch": branch, "target_branch": base}
        rows = self._rows(self.client.get(self._path, **query).data)
        return self._pull(rows[0]) if rows else None

    def open(self, branch: str, base: str, title: str, body: str) -> Pull:
        made = {"source_branch": branch, "target_branch": base, "title": title, "description": body}
        made_for_good = {**made, "remove_source_branch": True}
        return self._pull(self.client.send("POST", self._path, made_for_good).data)

    def edit(self, pull: Pull, title: str, body: str) -> Pull:
        path = f"{self._path}/{pull.number}"
        return self._pull(self.client.send("PUT", path, {"title": title, "description": body}).data)

    def _pull(self, row: Any) -> Pull:
        return self._made(row, "iid", "description")


class _Bitbucket(_Base):
    @property
    def _path(self) -> str:
        return f"/repositories/{quote(self.repository, safe='/')}/pullrequests"

    def find(self, branch: str, base: str) -> Pull | None:
        wanted = f'source.branch.name="{branch}" AND destination.branch.name="{base}" AND state="OPEN"'
        rows = self._rows(self.client.get(self._path, q=wanted).data)
        return self._pull(rows[0]) if rows else None

    def open(self, branch: str, base: str, title: str, body: str) -> Pull:
        made = {
            "title": title,
            "description": body,
            "source": {"branch": {"name": branch}},
            "destination": {"branch": {"name": base}},
            "close_source_branch": True,
        }
        return self._pull(self.client.send("POST", self._path, made).data)

    def edit(self, pull: Pull, title: str, body: str) -> Pull:
        made = {"title": title, "description": body}
        return self._pull(self.client.send("PUT", f"{self._path}/{pull.number}", made).data)

    def _pull(self, row: Any) -> Pull:
        return self._made(row, "id", "description")
