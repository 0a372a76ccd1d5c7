"""Comments and build statuses at Bitbucket Cloud.

Two things are different there. Markdown keeps no HTML, so that the marker is a line that one sees. And a
repository's token may not ask who it is; but nobody can edit another's comment, so that trying tells.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from mlflowc.report.forges.forge import Comment, cut
from mlflowc.report.forges.http import Answer, Client, Trouble
from mlflowc.report.forges.place import Place

KEY = 40  # characters that the key of a build status may have


class Bitbucket:
    """One repository."""

    limit = 30_000  # bytes
    mermaid = False
    stores = True

    def __init__(self, place: Place, client: Client) -> None:
        self.place = place
        self.client = client
        self._repository = f"/repositories/{quote(place.repository, safe='/')}"
        self._comments = f"{self._repository}/pullrequests/{place.number}/comments"

    @staticmethod
    def headers(token: str) -> dict[str, str]:
        """What every request says."""
        return {"Authorization": f"Bearer {token}"}

    def marker(self, name: str) -> str:
        """The last line."""
        return f"`mlpipe:{name}`"

    def marked(self, body: str, marker: str) -> str:
        """The marker last, where it disturbs least."""
        return f"{body.rstrip()}\n\n{marker}\n"

    def own(self, marker: str) -> Iterator[Comment]:
        """By marker, and by author where one was given: its name, nickname, account or UUID."""
        for page in self.client.pages(self._comments, _after, pagelen=100):
            for row in page:
                comment = _comment(row)
                # Comments on lines of code and answers are people's.
                if row.get("deleted") or row.get("inline") or row.get("parent"):
                    continue
                user = row.get("user") or {}
                names = [user.get(n) for n in ("nickname", "display_name", "account_id", "uuid")]
                if self.place.author and self.place.author not in names:
                    continue
                if comment.body.rstrip().rpartition("\n")[2].strip() == marker:
                    yield comment

    def create(self, body: str) -> Comment:
        """A comment of the whole pull request."""
        return _comment(self.client.send("POST", self._comments, {"content": {"raw": body}}).data)

    def update(self, comment: Comment, body: str) -> Comment:
        """Another text. Denied where it is another's comment."""
        path = f"{self._comments}/{comment.id}"
        return _comment(self.client.send("PUT", path, {"content": {"raw": body}}).data)

    def pictures(self, files: Mapping[str, bytes], prefix: str, before: str) -> dict[str, str]:
        """Downloads of the repository. What an earlier form of the comment showed is removed."""
        path = f"{self._repository}/downloads"
        there = {str(r.get("name")) for page in self.client.pages(path, _after, pagelen=100) for r in page}
        found = {}
        for name, data in files.items():
            stem, _, ending = name.rpartition(".")
            stored = f"{prefix}{stem}-{hashlib.sha256(data).hexdigest()[:12]}.{ending}"
            if stored not in there:
                self.client.upload(path, "files", stored, data)
            found[name] = f"https://bitbucket.org/{self.place.repository}/downloads/{stored}"
        kept = {url.rpartition("/")[2] for url in found.values()}
        for old in sorted(n for n in there - kept if n.startswith(prefix)):
            self.client.delete(f"{path}/{quote(old, safe='')}")
        return found

    def status(self, name: str, passed: bool, words: str) -> None:
        """A key that is there already is overwritten."""
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        key = name if len(name) <= KEY else f"{name[: KEY - 9]}-{digest}"
        body: dict[str, Any] = {
            "key": key,
            "state": "SUCCESSFUL" if passed else "FAILED",
            "name": cut(name, 255),
            "description": cut(words, 255),
            "url": self.place.run or f"https://bitbucket.org/{self.place.repository}",
        }
        if self.place.branch:
            body["refname"] = self.place.branch  # without it, a pull request does not show it
        path = f"{self._repository}/commit/{self.place.commit}/statuses/build"
        self.client.send("POST", path, body)


def _after(answer: Answer) -> str | None:
    found = answer.data.get("next") if isinstance(answer.data, dict) else None
    return found if isinstance(found, str) else None


def _comment(row: Any) -> Comment:
    if not isinstance(row, dict) or "id" not in row:
        raise Trouble("refused", "Bitbucket answered with something that is no comment")
    content, links = row.get("content") or {}, row.get("links") or {}
    url = (links.get("html") or {}).get("href") or ""
    return Comment(str(row["id"]), str(content.get("raw") or ""), str(url))
