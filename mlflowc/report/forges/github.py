"""Comments and commit statuses at GitHub and GitHub Enterprise Server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mlflowc.report.forges.forge import Comment, cut
from mlflowc.report.forges.http import Client, Trouble, next_link
from mlflowc.report.forges.place import Place

# The author of everything that a workflow's own token writes. Such a token may not ask who it is.
ACTIONS = "github-actions[bot]"


class GitHub:
    """One repository. Pictures have no place at GitHub that is not a branch of the repository."""

    limit = 60_000  # bytes; the service takes 65,536 characters
    mermaid = True
    stores = False

    def __init__(self, place: Place, client: Client) -> None:
        self.place = place
        self.client = client
        self._author = place.author

    @staticmethod
    def headers(token: str) -> dict[str, str]:
        """What every request says."""
        return {
            "Authorization": f"Bearer {token}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        }

    def marker(self, name: str) -> str:
        """A comment in HTML, which nobody sees."""
        return f"<!-- mlpipe:{name} -->"

    def marked(self, body: str, marker: str) -> str:
        """The marker first: who quotes a comment has it elsewhere."""
        return f"{marker}\n{body}"

    def own(self, marker: str) -> Iterator[Comment]:
        """By marker and author."""
        path = f"/repos/{self.place.repository}/issues/{self.place.number}/comments"
        for page in self.client.pages(path, next_link, per_page=100):
            for row in page:
                if str(row.get("body") or "").lstrip().startswith(marker) and _login(row) == self.author():
                    yield _comment(row)

    def author(self) -> str:
        """The name of whose token it is."""
        if not self._author:
            try:
                self._author = str(self.client.get("/user").data.get("login") or ACTIONS)
            except Trouble as e:
                if e.kind not in ("denied", "missing"):
                    raise
                self._author = ACTIONS
        return self._author

    def create(self, body: str) -> Comment:
        """A comment of the whole pull request, which is an issue to GitHub."""
        path = f"/repos/{self.place.repository}/issues/{self.place.number}/comments"
        return _comment(self.client.send("POST", path, {"body": body}).data)

    def update(self, comment: Comment, body: str) -> Comment:
        """Another text."""
        path = f"/repos/{self.place.repository}/issues/comments/{comment.id}"
        return _comment(self.client.send("PATCH", path, {"body": body}).data)

    def pictures(self, files: Mapping[str, bytes], prefix: str, before: str) -> dict[str, str]:
        """None: the API takes no pictures, and a branch for them would need leave to write to the code."""
        return {}

    def status(self, name: str, passed: bool, words: str) -> None:
        """The newest status of a name counts."""
        body: dict[str, Any] = {
            "state": "success" if passed else "failure",
            "context": cut(name, 200),
            "description": cut(words, 140),
        }
        if self.place.run:
            body["target_url"] = self.place.run
        self.client.send("POST", f"/repos/{self.place.repository}/statuses/{self.place.commit}", body)


def _login(row: Mapping[str, Any]) -> str:
    return str((row.get("user") or {}).get("login") or "")


def _comment(row: Any) -> Comment:
    if not isinstance(row, dict) or "id" not in row:
        raise Trouble("refused", "GitHub answered with something that is no comment")
    return Comment(str(row["id"]), str(row.get("body") or ""), str(row.get("html_url") or ""))
