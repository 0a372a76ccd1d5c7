"""Comments and commit statuses at GitLab, hosted or one's own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from mlflowc.report.forges.forge import Comment, cut
from mlflowc.report.forges.http import Answer, Client, Trouble, next_link
from mlflowc.report.forges.place import Place


class GitLab:
    """One project."""

    limit = 900_000  # bytes; the service takes 1,000,000 characters
    mermaid = True
    stores = True

    def __init__(self, place: Place, client: Client) -> None:
        self.place = place
        self.client = client
        self._project = f"/projects/{quote(place.repository, safe='')}"
        self._notes = f"{self._project}/merge_requests/{place.number}/notes"
        self._author = place.author

    @staticmethod
    def headers(token: str) -> dict[str, str]:
        """What every request says."""
        return {"PRIVATE-TOKEN": token}

    def marker(self, name: str) -> str:
        """A comment in HTML, which nobody sees."""
        return f"<!-- mlpipe:{name} -->"

    def marked(self, body: str, marker: str) -> str:
        """The marker first: who quotes a comment has it elsewhere."""
        return f"{marker}\n{body}"

    def own(self, marker: str) -> Iterator[Comment]:
        """By marker and author."""
        query = {"per_page": 100, "order_by": "created_at", "sort": "asc"}
        pages = self.client.pages(self._notes, lambda a: self._after(a, query), **query)
        for row in (r for page in pages for r in page):
            if row.get("system") or not str(row.get("body") or "").lstrip().startswith(marker):
                continue
            if str((row.get("author") or {}).get("username") or "") == self.author():
                yield self._comment(row)

    def _after(self, answer: Answer, query: Mapping[str, Any]) -> str | None:
        found = next_link(answer)
        number = answer.headers.get("x-next-page", "")
        if found or not number.isdecimal():
            return found
        return f"{self.client.api}{self._notes}?{urlencode({**query, 'page': number})}"

    def author(self) -> str:
        """The name of whose token it is: a project's token is a user of its own."""
        if not self._author:
            data = self.client.get("/user").data
            self._author = str(data.get("username") or "") if isinstance(data, dict) else ""
        return self._author

    def create(self, body: str) -> Comment:
        """A note."""
        return self._comment(self.client.send("POST", self._notes, {"body": body}).data)

    def update(self, comment: Comment, body: str) -> Comment:
        """Another text."""
        return self._comment(self.client.send("PUT", f"{self._notes}/{comment.id}", {"body": body}).data)

    def pictures(self, files: Mapping[str, bytes], prefix: str, before: str) -> dict[str, str]:
        """Uploads of the project. One that the comment shows already is not sent again: its name has the hash
        of its content."""
        known = {m[1]: m[0] for m in re.finditer(r"/uploads/[0-9a-f]+/([\w.-]+)", before)}
        found = {}
        for name, data in files.items():
            stem, _, ending = name.rpartition(".")
            stored = f"{stem}-{hashlib.sha256(data).hexdigest()[:12]}.{ending}"
            if stored not in known:
                answer = self.client.upload(f"{self._project}/uploads", "file", stored, data)
                url = answer.data.get("url") if isinstance(answer.data, dict) else None
                if not isinstance(url, str) or not url.startswith("/uploads/"):
                    raise Trouble("refused", "GitLab answered with something that is no upload")
                known[stored] = url
            found[name] = known[stored]
        return found

    def status(self, name: str, passed: bool, words: str) -> None:
        """In the pipeline that runs: another one of the same commit keeps its own."""
        body: dict[str, Any] = {
            "state": "success" if passed else "failed",
            "name": cut(name, 255),
            "description": cut(words, 255),
        }
        if self.place.run:
            body["target_url"] = self.place.run
        if self.place.pipeline.isdecimal():
            body["pipeline_id"] = int(self.place.pipeline)
        self.client.send("POST", f"{self._project}/statuses/{self.place.commit}", body)

    def _comment(self, row: Any) -> Comment:
        if not isinstance(row, dict) or "id" not in row:
            raise Trouble("refused", "GitLab answered with something that is no note")
        # A note does not say where its page is.
        page = self.place.run.partition("/-/")[0]
        url = f"{page}/-/merge_requests/{self.place.number}#note_{row['id']}" if "://" in page else ""
        return Comment(str(row["id"]), str(row.get("body") or ""), url)
