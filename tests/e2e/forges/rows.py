"""What a service remembers of one repository."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Comment:
    """A comment, whose author is known by name."""

    id: int
    author: str
    body: str
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Pull:
    """A pull request."""

    number: int
    branch: str
    base: str
    title: str
    body: str
    open: bool = True


@dataclass(slots=True)
class Release:
    """A release of a tag, with its files."""

    id: int
    tag: str
    text: str
    files: dict[str, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class Repository:
    """One repository with one pull request, number 7. `page` is how many comments a page has at most."""

    comments: list[Comment] = field(default_factory=list)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    pulls: list[Pull] = field(default_factory=list)
    releases: list[Release] = field(default_factory=list)
    forbidden: set[str] = field(default_factory=set)
    page: int = 100
    longest: int = 1_000_000

    def add(self, author: str, body: str, **extra: Any) -> Comment:
        """A comment more."""
        made = Comment(len(self.comments) + 1, author, body, extra)
        self.comments.append(made)
        return made

    def propose(self, branch: str, base: str, title: str, body: str) -> Pull:
        """A pull request more; numbers go on from the one that is always there."""
        made = Pull(8 + len(self.pulls), branch, base, title, body)
        self.pulls.append(made)
        return made

    def proposed(self, branch: str, base: str) -> list[Pull]:
        """The open ones."""
        return [p for p in self.pulls if p.open and (p.branch, p.base) == (branch, base)]

    def edit(self, number: str, title: str, body: str) -> Pull:
        """Changes one."""
        (found,) = (p for p in self.pulls if p.number == int(number))
        found.title, found.body = title, body
        return found

    def release(self, **named: Any) -> Release | None:
        """The release with that `id` or `tag`."""
        ((name, value),) = named.items()
        return next((r for r in self.releases if getattr(r, name) == value), None)

    def of(self, author: str) -> list[str]:
        """What somebody wrote."""
        return [c.body for c in self.comments if c.author == author]
