"""New results as a pull request: what `mlpipec pr` and the job `propose` share. Not a command of its own."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from mlflowc.errors import Failure
from mlflowc.ir import model as ir
from mlflowc.report import build, markdown
from mlflowc.report.forges import pulls
from mlflowc.report.forges.http import TRIES, Trouble
from mlflowc.report.forges.place import SERVICES, Given, Place, detect
from mlflowc.runtime import gate_table, gitcalls
from mlflowc.runtime import gates as gates_
from mlflowc.runtime.gitcalls import GitError
from mlflowc.runtime.lockfile import NAME, LockFile
from mlflowc.runtime.propose import Login, Proposal, propose
from mlflowc.runtime.workspace import Workspace

# The token that may push; where it is not set, the one for comments is taken.
TOKEN = "MLPIPE_TOKEN"
# Whose name goes with a token when git pushes by HTTP.
_LOGINS = {"github": "x-access-token", "gitlab": "oauth2", "bitbucket": "x-token-auth"}
_HOW = {
    "github": "the secret MLPIPE_TOKEN: contents and pull requests, read and write. With a job's own token\n"
    "Settings > Actions > General has to allow that Actions create pull requests",
    "gitlab": "the masked, protected CI/CD variable MLPIPE_TOKEN: a project access token with the role\n"
    "Developer and the scopes `api` and `write_repository`",
    "bitbucket": "the secured variable MLPIPE_TOKEN: a repository access token that may write the\n"
    "repository and pull requests",
}
_SHOWN = 20
_RUN = re.compile(r" by \[this run\]\(\S*\)")


@dataclass(frozen=True, slots=True)
class Offer:
    """What is proposed: the lock and the files `more`, from `branch` into `base`. `reports` and `gates` are
    names; they are shown in it."""

    base: str
    branch: str
    title: str
    more: tuple[str, ...] = ()
    reports: tuple[str, ...] = ()
    gates: tuple[str, ...] = ()


def usual_branch(pipeline: ir.Pipeline, event: ir.Event | None = None) -> str:
    """The branch that is proposed. Where several events propose, each has its own."""
    several = sum(e.propose for e in pipeline.events) > 1
    return f"mlpipe/{pipeline.name}" + (f"-{event.id}" if event is not None and several else "")


def place(given: Given, environment: Mapping[str, str] = os.environ) -> Place | None:
    """Where to open it, with a token; None where no service is known. Raises `Failure`: there is no token."""
    found = detect(environment, given)
    if found is None:
        return None
    found = replace(found, token=environment.get(TOKEN, "").strip() or found.token)
    if not found.token:
        names = " or ".join((TOKEN, *found.service.tokens))
        how = f"it takes {_HOW[found.service.name]}"
        raise Failure(f"no token for {found.service.title}: {names} is not set", help=how)
    return found


def elsewhere() -> str:
    """What `mlpipec pr` needs where no service is known."""
    return f"--service {'|'.join(SERVICES)} --repository OWNER/NAME"


def offer(ws: Workspace, there: Place, wanted: Offer) -> str:
    """Opens the pull request, or brings the open one up to date; says which. Raises `Failure`."""
    for name in (wanted.base, wanted.branch):
        _plain(name)
    if wanted.branch == wanted.base:
        raise Failure(
            f"`{wanted.branch}` cannot be merged into itself", help="say another with --branch", code=2
        )
    made = propose(
        ws.root,
        [NAME, *wanted.more],
        base=wanted.base,
        branch=wanted.branch,
        message=wanted.title,
        name=ws.pipeline.name,
        login=login(there),
    )
    if made is None:
        return f"nothing to propose: `{wanted.base}` has these results"
    client, requests = pulls.connect(there)
    try:
        body = _body(ws, wanted, made, there, requests.limit)
        for tried in range(TRIES):
            try:
                return _kept(requests, wanted, body, made)
            except Trouble as e:
                # No answer to a new pull request: it may be there. Looking again tells.
                if e.kind != "unsure" or tried + 1 == TRIES:
                    raise
                client.pause(tried, e)
    except Trouble as e:
        raise Failure(
            f"`{wanted.branch}` is pushed, and the pull request could not be written. {e.message}",
            help=f"it takes {_HOW[there.service.name]}" if e.kind == "denied" else "",
        ) from e
    finally:
        client.close()
    raise AssertionError("the last try answers or raises")


def from_job(ws: Workspace, event: ir.Event, gates: tuple[str, ...], reports: tuple[str, ...]) -> str:
    """What the job `propose` does once all results are in the lock; says what came of it.

    Raises `Failure`.
    """
    there = place(Given())
    base = ws.pipeline.ci.branch
    if there is None:
        return f"not proposed, since this is no job of a CI service. By hand: `mlpipec pr {elsewhere()}`"
    if there.branch and there.branch != base:
        return f"not proposed, since this is `{there.branch}`: results are proposed from `{base}` alone"
    title = f"{ws.pipeline.name}: new results"
    branch = usual_branch(ws.pipeline, event)
    return offer(ws, there, Offer(base, branch, title, reports=reports, gates=gates))


def _kept(there: pulls.Pulls, wanted: Offer, body: str, made: Proposal) -> str:
    found = there.find(wanted.branch, wanted.base)
    if found is None:
        opened = there.open(wanted.branch, wanted.base, wanted.title, body)
        return f"pull request opened {opened.url}".rstrip()
    if (found.title, _lasting(found.body)) == (wanted.title, _lasting(body)):
        words = "pull request updated" if made.pushed else "the pull request says that already"
        return f"{words} {found.url}".rstrip()
    return f"pull request updated {there.edit(found, wanted.title, body).url}".rstrip()


def _lasting(body: str) -> str:
    """A text without what differs from run to run though nothing is new."""
    return _RUN.sub("", body.replace("\r\n", "\n")).strip()


def login(place: Place) -> Login:
    """With what git says who it is, at the service's own host."""
    return Login(_host(place), _LOGINS[place.service.name], place.token)


def _host(place: Place) -> str:
    """Where the service's repositories are; an API of its own host begins with `api.`."""
    return (urlsplit(place.api).hostname or "").removeprefix("api.")


def _plain(branch: str) -> None:
    done = subprocess.run(["git", "check-ref-format", "--branch", branch], capture_output=True)
    if done.returncode != 0 or '"' in branch:
        raise Failure(f"`{branch}` is no name of a branch", code=2)


def _body(ws: Workspace, wanted: Offer, made: Proposal, place: Place, limit: int) -> str:
    source = f" by [this run]({place.run})" if place.run else ""
    lines = [f"Results of the pipeline `{ws.pipeline.name}` at {made.before[:9]}{source}.", ""]
    changed = _changed(ws.root, made.before)
    lines += [f"- {line}" for line in changed[:_SHOWN]]
    if len(changed) > _SHOWN:
        lines.append(f"- and {len(changed) - _SHOWN} more")
    parts = ["\n".join(lines) + "\n"]
    results = [gates_.check(ws, g) for g in ws.pipeline.gates if g.name in wanted.gates]
    if not wanted.reports:
        parts += [gate_table.block(r) for r in results]
    images: markdown.Images = "none" if place.service.name == "bitbucket" else "mermaid"
    for report in (r for r in ws.pipeline.reports if r.name in wanted.reports):
        document = build.build(ws, report, gates=results)
        room = max(200, limit - sum(len(p.encode()) + 1 for p in parts) - 1)
        parts.append(markdown.render(document, images=images, limit_bytes=room))
        results = []  # the first report shows them
    return "\n".join(parts)


def _changed(root: Path, before: str) -> list[str]:
    """The entries of the lock that are new, other or gone."""
    try:
        text = gitcalls.lock_at(root, before)
    except GitError as e:
        raise Failure(str(e)) from None
    old = LockFile.parse(text).entries if text is not None else {}
    now = LockFile.read(root).entries
    rows = sorted(k for k in {*old, *now} if old.get(k) != now.get(k))
    words = {k: "gone" if k not in now else "new" if k not in old else "changed" for k in rows}
    return [f"{kind} `{name}`: {words[kind, name]}" for kind, name in rows]
