"""Versions and stages of artifacts, as GTO keeps them in git tags.

`churn@v1.2.0` registers a version at its commit and `churn#prod#3` puts the version of its commit into a
stage; a `!` before the counter, or at the end, takes either back. The counter orders what happened in
stages; without one (GTO's simple tags) a stage has one tag, which moves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

_NAME = r"[a-zA-Z0-9](?:[a-zA-Z0-9-/_]*[a-zA-Z0-9])?"
_SEMVER = r"(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?"
_TAG = re.compile(
    rf"(?P<artifact>(?:[a-zA-Z0-9-_./]+=)?{_NAME})"
    rf"(?:#(?P<stage>{_NAME})|@(?P<version>v{_SEMVER})|@(?P<mark>deprecated|created))(?P<undone>!?)"
    r"(?:#(?P<counter>\d+))?"
)


class Deployed(NamedTuple):
    """A version (None: its commit has none) and its commit; `tag` is the one that says so."""

    version: str | None
    commit: str
    tag: str


class Event(NamedTuple):
    """What one tag says."""

    artifact: str
    stage: str | None
    version: str | None
    mark: str | None
    undone: bool
    counter: int
    commit: str
    tag: str


def events(tags: Mapping[str, str]) -> list[Event]:
    """What tags (names to commits) say, in their order; other tags say nothing."""
    found = []
    for tag, commit in tags.items():
        match = _TAG.fullmatch(tag)
        if match:
            counter = int(match["counter"]) if match["counter"] else 0
            name = match["artifact"].replace("=", ":")
            found.append(
                Event(
                    name,
                    match["stage"],
                    match["version"],
                    match["mark"],
                    bool(match["undone"]),
                    counter,
                    commit,
                    tag,
                )
            )
    return sorted(found, key=lambda e: (e.counter, e.tag))


def versions(said: list[Event], artifact: str) -> list[Deployed]:
    """The registered versions of an artifact, the greatest last."""
    found: dict[str, Deployed] = {}
    for event in said:
        if event.artifact != artifact or event.version is None:
            continue
        if event.undone:
            found.pop(event.version, None)
        else:
            found[event.version] = Deployed(event.version, event.commit, event.tag)
    return sorted(found.values(), key=lambda d: _order(d.version or ""))


def in_stage(said: list[Event], artifact: str, stage: str) -> Deployed | None:
    """What is in a stage: what was put there last and not taken out since."""
    registered = {d.commit: d.version for d in versions(said, artifact)}
    withdrawn = {
        e.commit for e in said if e.artifact == artifact and e.version is not None and e.undone
    } - registered.keys()
    there: list[Event] = []
    for event in said:
        if event.artifact != artifact or event.stage != stage:
            continue
        there = [e for e in there if e.commit != event.commit]
        if not event.undone and event.commit not in withdrawn:
            there.append(event)
    return Deployed(registered.get(there[-1].commit), there[-1].commit, there[-1].tag) if there else None


def _order(version: str) -> tuple[int, int, int, bool, list[tuple[bool, int, str]]]:
    """As semantic versioning has it: `v1.0.0-rc.1` comes before `v1.0.0`."""
    match = re.fullmatch(f"v{_SEMVER}", version)
    assert match
    parts = match[4].split(".") if match[4] else []
    rest = [(not p.isdigit(), int(p) if p.isdigit() else 0, p) for p in parts]
    return int(match[1]), int(match[2]), int(match[3]), not parts, rest
