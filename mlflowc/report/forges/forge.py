"""What every service can do for us, whatever its paths and forms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from mlflowc.report.forges.http import Client
from mlflowc.report.forges.place import Place


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment of a pull request; `url` is its page."""

    id: str
    body: str
    url: str


class Forge(Protocol):
    """One repository at a service. All raise `Trouble`."""

    place: Place
    client: Client
    limit: int
    """How many bytes a comment may have."""
    mermaid: bool
    """Whether the service draws diagrams from text."""
    stores: bool
    """Whether the service has a place for pictures."""

    def marker(self, name: str) -> str:
        """What a comment of the report `name` has in it, and no other one."""
        ...

    def marked(self, body: str, marker: str) -> str:
        """The text of a comment with the marker."""
        ...

    def own(self, marker: str) -> Iterator[Comment]:
        """Comments with the marker that are ours as far as the service lets us know, the oldest first."""
        ...

    def create(self, body: str) -> Comment:
        """Writes a comment."""
        ...

    def update(self, comment: Comment, body: str) -> Comment:
        """Writes another text. Denied: it was another's."""
        ...

    def pictures(self, files: Mapping[str, bytes], prefix: str, before: str) -> dict[str, str]:
        """Stores picture files at the service; their addresses by name. `prefix` begins the names that they
        get; `before` is the text of the comment as it is now."""
        ...

    def status(self, name: str, passed: bool, words: str) -> None:
        """Sets the commit status `name`."""
        ...


def cut(text: str, length: int) -> str:
    """`text` within so many characters."""
    return text if len(text) <= length else text[: length - 1] + "…"
