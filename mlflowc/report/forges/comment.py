"""One comment a report, kept up to date: its text within a service's limits, and where it goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from mlflowc import extras
from mlflowc.report import markdown, pictures
from mlflowc.report.forges.bitbucket import Bitbucket
from mlflowc.report.forges.forge import Comment, Forge
from mlflowc.report.forges.github import GitHub
from mlflowc.report.forges.gitlab import GitLab
from mlflowc.report.forges.http import TRIES, Client, Trouble
from mlflowc.report.forges.place import Place
from mlflowc.report.model import Document, Image, Plot
from mlflowc.runtime.gate_result import GateResult

State = Literal["written", "updated", "unchanged", "set", "skipped", "failed"]
_FORGES: dict[str, type[GitHub] | type[GitLab] | type[Bitbucket]] = {
    "github": GitHub,
    "gitlab": GitLab,
    "bitbucket": Bitbucket,
}
# What a comment shows; the page of the report shows all.
_PICTURES, _PICTURE_BYTES = 30, 8_000_000


class Outcome(NamedTuple):
    """What became of one comment or status. `skipped`: there is nothing to do or it may not be done here;
    `failed`: it should have been. `help` says what mends it; `notes` are what the reader of the log should
    know beside it."""

    state: State
    message: str
    help: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """A conversation with a service; to be closed."""

    place: Place
    forge: Forge

    def close(self) -> None:
        """Ends the connections."""
        self.forge.client.close()


def connect(place: Place, wait: Callable[[float], None] | None = None) -> Line:
    """Nothing is asked yet. `wait` sleeps."""
    kind = _FORGES[place.service.name]
    headers = kind.headers(place.token)
    client = Client(place, headers) if wait is None else Client(place, headers, wait=wait)
    return Line(place, kind(place, client))


def hindrance(place: Place) -> Outcome | None:
    """Why nothing can be written at `place`; None where it can be tried."""
    title = place.service.title
    if place.fork:
        return Outcome("skipped", "the pull request is a fork's: its jobs may not write comments")
    if not place.token:
        names = " or ".join(place.service.tokens)
        return Outcome("failed", f"no token for {title}: {names} is not set", place.service.how)
    return None


def post(line: Line, document: Document) -> Outcome:
    """Writes the comment of `document`, or brings it up to date."""
    place, forge = line.place, line.forge
    if place.number is None:
        return Outcome("skipped", "no pull request here: there is nothing to comment on")
    marker = forge.marker(f"{document.pipeline}/{document.name}")
    what = f"report {document.name}"
    try:
        urls, notes = _stored(forge, document, marker)
        comment, state = _fitting(forge, document, marker, urls)
    except Trouble as e:
        return Outcome("failed", f"{what}: the comment could not be written. {e.message}", _help(place, e))
    words = {
        "written": "commented",
        "updated": "comment updated",
        "unchanged": "the comment says that already",
    }
    return Outcome(state, f"{what}: {words[state]} {comment.url}".rstrip(), "", tuple(notes))


def set_statuses(line: Line, pipeline: str, results: Sequence[GateResult]) -> list[Outcome]:
    """A commit status for each gate, as `mlpipec/<pipeline>/<gate>`."""
    found: list[Outcome] = []
    for result in results:
        name = f"mlpipec/{pipeline}/{result.name}"
        if not line.place.commit:
            return [Outcome("skipped", "no commit is known here: gates have no commit status")]
        try:
            line.forge.status(name, result.passed, sentence(result))
        except Trouble as e:
            message = f"gate {result.name}: the commit status could not be set. {e.message}"
            found.append(Outcome("failed", message, _help(line.place, e)))
        else:
            found.append(Outcome("set", f"gate {result.name}: commit status {name}"))
    return found


def sentence(result: GateResult) -> str:
    """A gate's result in a few words."""
    bad = [r for r in result.rows if not r.passed]
    if not bad:
        return f"{len(result.rows)} of {len(result.rows)} requirements hold"
    row = bad[0]
    words = f"{row.text}: {row.found}" if row.found else f"{row.text}: {row.note or 'does not hold'}"
    return words + (f", and {len(bad) - 1} more" if len(bad) > 1 else "")


def _help(place: Place, trouble: Trouble) -> str:
    if trouble.kind == "denied":
        return place.service.how
    if trouble.kind == "missing":
        number = f", pull request {place.number}" if place.number is not None else ""
        return f"it was asked for {place.repository}{number}; a token that may not read says the same"
    return "run the job again later" if trouble.kind in ("limited", "away", "unsure") else ""


# --- the text ------------------------------------------------------------------------------------


def text(
    forge: Forge, document: Document, marker: str, urls: dict[str, str], limit: int | None = None
) -> str:
    """The comment within the service's limit in bytes; what does not fit is left out from the end."""
    footer = _footer(forge.place, document)
    room = (limit or forge.limit) - len(forge.marked(footer, marker).encode()) - 16
    if urls:
        longer = sum(max(0, len(url) - len(name)) for name, url in urls.items())
        body = markdown.render(
            document, images="files", stem=document.name, limit_bytes=max(200, room - longer)
        )
        body = "\n".join(_shown(line, urls) for line in body.split("\n"))
    else:
        body = markdown.render(
            document, images="mermaid" if forge.mermaid else "none", limit_bytes=max(200, room)
        )
    return forge.marked(f"{body.rstrip()}\n\n{footer}".rstrip() + "\n", marker)


def _shown(line: str, urls: dict[str, str]) -> str:
    if not (line.startswith("![") and line.endswith(")")):
        return line
    alt, _, name = line[2:-1].rpartition("](")
    if name in urls:
        return f"![{alt}]({urls[name]})"
    return f"{alt}: too large for a comment; see the report's page."


def _footer(place: Place, document: Document) -> str:
    commit = place.commit or document.commit or ""
    parts = [f"for {commit[:9]}"] if commit else []
    parts += [f"[run]({place.run})"] if place.run else []
    return f"*{', '.join(parts)}*" if parts else ""


def _stored(forge: Forge, document: Document, marker: str) -> tuple[dict[str, str], list[str]]:
    """The addresses of the document's pictures at the service, by name; none where it takes none."""
    sections = [s for s in document.sections if isinstance(s, Image) or (isinstance(s, Plot) and s.charts)]
    if not sections or not forge.stores:
        return {}, []
    if any(isinstance(s, Plot) for s in sections) and not pictures.available():
        return {}, [f"plots are shown as tables: for pictures, {extras.install('report')}"]
    files = pictures.files(document, document.name)
    small = {n: d for n, d in files.items() if len(d) <= _PICTURE_BYTES}
    small = dict(list(small.items())[:_PICTURES])
    before = next(forge.own(marker), None)
    prefix = f"mlpipe-{document.pipeline}-{document.name}-pr{forge.place.number}-"
    try:
        return forge.pictures(small, prefix, before.body if before else ""), []
    except Trouble as e:
        # Without leave to store pictures there is still the rest to be said.
        if e.kind not in ("denied", "missing", "large", "refused"):
            raise
        return {}, [f"plots are shown without pictures: {e.message}"]


# --- the conversation ----------------------------------------------------------------------------


def _fitting(forge: Forge, document: Document, marker: str, urls: dict[str, str]) -> tuple[Comment, State]:
    """As long as the service takes it: one of one's own may take less than the one that everybody knows."""
    limit = forge.limit
    while True:
        try:
            return _keep(forge, marker, text(forge, document, marker, urls, limit))
        except Trouble as e:
            if e.kind != "large" or limit < 4000:
                raise
            limit //= 2


def _keep(forge: Forge, marker: str, body: str) -> tuple[Comment, State]:
    last = Trouble("away", f"{forge.place.service.title} does not answer")
    for tried in range(TRIES):
        try:
            for comment in forge.own(marker):
                if _same(comment.body, body):
                    return comment, "unchanged"
                try:
                    return forge.update(comment, body), "updated"
                except Trouble as e:
                    # It is another's with our marker, or was removed a moment ago.
                    if e.kind not in ("denied", "missing"):
                        raise
            return forge.create(body), "written"
        except Trouble as e:
            # No answer to a new comment: it may be there. Looking again tells.
            if e.kind != "unsure":
                raise
            last = e
        if tried + 1 < TRIES:
            forge.client.pause(tried, last)
    raise last


def _same(a: str, b: str) -> bool:
    return a.replace("\r\n", "\n").strip() == b.replace("\r\n", "\n").strip()
