"""`mlpipec pr`: the new lock as a pull request, as after a scheduled training."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import click

from mlflowc import project
from mlflowc.commands import complete
from mlflowc.commands.options import file_option
from mlflowc.errors import Failure
from mlflowc.ir import model as ir
from mlflowc.report import build, markdown
from mlflowc.report.forges import pulls
from mlflowc.report.forges.http import TRIES, Trouble
from mlflowc.report.forges.place import SERVICES, Given, Place, detect
from mlflowc.runtime.lockfile import NAME, LockFile
from mlflowc.runtime.propose import Login, Proposal, propose
from mlflowc.runtime.workspace import open_workspace

# Whose name goes with a token when git pushes by HTTP.
_LOGINS = {"github": "x-access-token", "gitlab": "oauth2", "bitbucket": "x-token-auth"}
_SHOWN = 20


@click.command("pr")
@click.option(
    "--base", metavar="BRANCH", help="The branch to merge into; else the `branch` of the `ci` block."
)
@click.option("--branch", metavar="NAME", help="The branch to propose; else mlpipe/PIPELINE.")
@click.option(
    "--add", "more", metavar="PATH", multiple=True, help="A file that belongs to it beside the lock."
)
@click.option("--title", metavar="TEXT", help="Its title.")
@click.option(
    "--report", "name", metavar="NAME", shell_complete=complete.reports, help="A report to show in it."
)
@click.option("--service", type=click.Choice(tuple(SERVICES)), help="Outside of CI: where.")
@click.option("--repository", metavar="OWNER/NAME", help="The repository (GitLab: path or id).")
@click.option("--api", metavar="URL", help="The API's address, for a service of one's own.")
@file_option
def command(
    base: str | None,
    branch: str | None,
    more: tuple[str, ...],
    title: str | None,
    name: str | None,
    service: str | None,
    repository: str | None,
    api: str | None,
    file: str | None,
) -> int:
    """Open a pull request with the new lock, or bring the open one up to date.

    Where the base branch says what the lock here says, nothing is done. HEAD has to be on the base branch;
    the branch that is proposed is made anew from there, with one commit.
    """
    loaded = project.load(file)
    place = _place(Given(service or "", repository or "", None, "", api or ""))
    target = base or loaded.pipeline.ci.branch
    source = branch or f"mlpipe/{loaded.pipeline.name}"
    for given in (target, source):
        _plain(given)
    if source == target:
        raise Failure(f"`{source}` cannot be merged into itself", help="say another with --branch", code=2)
    report = _report(loaded.pipeline, name)
    headline = title or f"{loaded.pipeline.name}: new results"
    login = Login(_host(place), _LOGINS[place.service.name], place.token)
    made = propose(
        loaded.root,
        [NAME, *more],
        base=target,
        branch=source,
        message=headline,
        name=loaded.pipeline.name,
        login=login,
    )
    if made is None:
        print(f"nothing to propose: `{target}` has these results")
        return 0
    client, there = pulls.connect(place)
    try:
        body = _body(loaded.root, loaded.pipeline, report, made, place, there.limit)
        for tried in range(TRIES):
            try:
                print(_kept(there, source, target, headline, body, made))
                break
            except Trouble as e:
                # No answer to a new pull request: it may be there. Looking again tells.
                if e.kind != "unsure" or tried + 1 == TRIES:
                    raise
                client.pause(tried, e)
    except Trouble as e:
        raise Failure(
            f"`{source}` is pushed, and the pull request could not be written. {e.message}",
            help=place.service.how if e.kind == "denied" else "",
        ) from e
    finally:
        client.close()
    return 0


def _kept(there: pulls.Pulls, source: str, target: str, title: str, body: str, made: Proposal) -> str:
    found = there.find(source, target)
    if found is None:
        return f"pull request opened {there.open(source, target, title, body).url}".rstrip()
    if (found.title, found.body.strip()) == (title, body.strip()):
        words = "pull request updated" if made.pushed else "the pull request says that already"
        return f"{words} {found.url}".rstrip()
    return f"pull request updated {there.edit(found, title, body).url}".rstrip()


def _place(given: Given) -> Place:
    place = detect(os.environ, given)
    if place is None:
        raise Failure(
            "no CI service is known here, so where to open it is not, either",
            help=f"say it: --service {'|'.join(SERVICES)} --repository OWNER/NAME",
            code=2,
        )
    if not place.token:
        names = " or ".join(place.service.tokens)
        raise Failure(f"no token for {place.service.title}: {names} is not set", help=place.service.how)
    return place


def _host(place: Place) -> str:
    """Where the service's repositories are; an API of its own host begins with `api.`."""
    return (urlsplit(place.api).hostname or "").removeprefix("api.")


def _plain(branch: str) -> None:
    done = subprocess.run(["git", "check-ref-format", "--branch", branch], capture_output=True)
    if done.returncode != 0 or '"' in branch:
        raise Failure(f"`{branch}` is no name of a branch", code=2)


def _report(pipeline: ir.Pipeline, name: str | None) -> ir.Report | None:
    found = next((r for r in pipeline.reports if r.name == name), None)
    if name is not None and found is None:
        known = ", ".join(r.name for r in pipeline.reports)
        raise Failure(f"there is no report `{name}`", help=f"there are: {known}" if known else "", code=2)
    return found


def _body(
    root: Path, pipeline: ir.Pipeline, report: ir.Report | None, made: Proposal, place: Place, limit: int
) -> str:
    source = f" by [this run]({place.run})" if place.run else ""
    lines = [f"Results of the pipeline `{pipeline.name}` at {made.before[:9]}{source}.", ""]
    changed = _changed(root, made.before)
    lines += [f"- {line}" for line in changed[:_SHOWN]]
    if len(changed) > _SHOWN:
        lines.append(f"- and {len(changed) - _SHOWN} more")
    text = "\n".join(lines) + "\n"
    if report is None:
        return text
    ws = open_workspace(root, pipeline)
    try:
        document = build.build(ws, report)
    finally:
        ws.close()
    images: markdown.Images = "none" if place.service.name == "bitbucket" else "mermaid"
    room = max(200, limit - len(text.encode()) - 2)
    return text + "\n" + markdown.render(document, images=images, limit_bytes=room)


def _changed(root: Path, before: str) -> list[str]:
    """The entries of the lock that are new, other or gone."""
    done = subprocess.run(["git", "show", f"{before}:./{NAME}"], cwd=root, capture_output=True, text=True)
    old = LockFile.parse(done.stdout).entries if done.returncode == 0 else {}
    now = LockFile.read(root).entries
    rows = sorted(k for k in {*old, *now} if old.get(k) != now.get(k))
    words = {k: "gone" if k not in now else "new" if k not in old else "changed" for k in rows}
    return [f"{kind} `{name}`: {words[kind, name]}" for kind, name in rows]
