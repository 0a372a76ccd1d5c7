"""`mlpipec report`: metrics, parameters and plots against a baseline, as Markdown, HTML or JSON."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import click

from mlflowc import extras, project, terminal
from mlflowc.commands import complete
from mlflowc.commands.options import file_option, overrides, set_option
from mlflowc.errors import Failure
from mlflowc.ir import model as ir
from mlflowc.overwrite import overwrite
from mlflowc.report import build, html, markdown, pictures
from mlflowc.report.model import Document, Plot, to_json
from mlflowc.runtime.workspace import open_workspace
from mlflowc.spell import nearest

_SERVICES = ("github", "gitlab", "bitbucket")


@click.command("report")
@click.argument("name", required=False, shell_complete=complete.reports)
@click.option(
    "--html",
    "page",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write one self-contained HTML file.",
)
@click.option(
    "--markdown",
    "text",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write Markdown, with pictures beside it.",
)
@click.option(
    "--vs", metavar="REV", help="Compare everything with this branch (as it is now), tag or commit."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option(
    "--post", is_flag=True, help="Write it as a comment of the pull request, or bring that up to date."
)
@click.option("--service", type=click.Choice(_SERVICES), help="For --post outside of CI: where.")
@click.option("--repository", metavar="OWNER/NAME", help="For --post: the repository (GitLab: path or id).")
@click.option(
    "--pull-request", "number", metavar="NUMBER", type=click.IntRange(1), help="For --post: which one."
)
@click.option("--api", metavar="URL", help="For --post: the API's address, for a service of one's own.")
@click.option("--author", metavar="NAME", help="For --post: whose comment to update, for a bot of one's own.")
@set_option
@file_option
def command(
    name: str | None,
    page: Path | None,
    text: Path | None,
    vs: str | None,
    as_json: bool,
    post: bool,
    service: str | None,
    repository: str | None,
    number: int | None,
    api: str | None,
    author: str | None,
    settings: tuple[str, ...],
    file: str | None,
) -> int:
    """Show metrics, parameters and plots against a baseline.

    NAME may be left out where there is only one report. Without --html, --markdown and --post it is printed.
    Nothing is run: what has no result yet is listed, with the command that makes it.

    --post finds the pull request by the variables of GitHub Actions, GitLab CI and Bitbucket Pipelines,
    and takes the token from GITHUB_TOKEN, GITLAB_TOKEN or BITBUCKET_TOKEN.
    """
    if not post and any(v is not None for v in (service, repository, number, api, author)):
        raise click.UsageError("--service, --repository, --pull-request, --api and --author go with --post")
    loaded = project.load(file, overrides=overrides(settings))
    chosen = _chosen(loaded.pipeline, name)
    ws = open_workspace(loaded.root, loaded.pipeline)
    try:
        document = build.build(ws, chosen, vs)
    finally:
        ws.close()
    if as_json:
        print(json.dumps(to_json(document), indent=2, ensure_ascii=False, allow_nan=False))
    if page is not None:
        overwrite(page, html.render(document).encode())
        _tell(page, as_json)
    if text is not None:
        _write_markdown(text, document, as_json)
    if post:
        from mlflowc.commands import posting  # it brings an HTTP client: only who posts waits for that
        from mlflowc.report.forges.place import Given

        given = Given(service or "", repository or "", number, "", api or "", author or "")
        return posting.report(document, given)
    if page is None and text is None and not as_json:
        width = max(40, min(terminal.width(), 120))
        sys.stdout.write(_coloured(markdown.render(document, width=width)))
    return 0


def _chosen(pipeline: ir.Pipeline, name: str | None) -> ir.Report:
    reports = {r.name: r for r in pipeline.reports}
    if not reports:
        raise Failure(
            f"the pipeline `{pipeline.name}` has no report",
            help='add one to the file, as in: report review { metrics train.scores vs "main" }',
        )
    if name is None:
        if len(reports) > 1:
            raise Failure(
                "there are several reports: say which", help="mlpipec report " + " | ".join(reports), code=2
            )
        return next(iter(reports.values()))
    if name not in reports:
        guess = nearest(name, reports)
        words = f"did you mean `{guess}`?" if guess else "there are: " + ", ".join(reports)
        raise Failure(f"there is no report `{name}`", help=words, code=2)
    return reports[name]


def _write_markdown(path: Path, document: Document, quiet: bool) -> None:
    """Markdown and its pictures; plots are small tables where the library that draws is not installed."""
    plots = any(isinstance(s, Plot) and s.charts for s in document.sections)
    if plots and not pictures.available():
        overwrite(path, markdown.render(document).encode())
        _tell(path, quiet)
        note = f"plots are written as tables: for pictures, {extras.install('report')}"
        print(terminal.style("note", "bold", stream=sys.stderr) + f": {note}", file=sys.stderr)
        return
    files = pictures.files(document, path.stem)
    for name, data in files.items():
        overwrite(path.parent / name, data)
    overwrite(path, markdown.render(document, images="files", stem=path.stem).encode())
    _tell(path, quiet, len(files))


def _tell(path: Path, quiet: bool, pictures: int = 0) -> None:
    """What was written; `quiet` where standard output is for JSON."""
    if not quiet:
        beside = f", and {pictures} picture{'s' if pictures > 1 else ''} beside it" if pictures else ""
        print(f"{terminal.style('written', 'green')} {path}{beside}")


_VERDICTS = re.compile(r"[▲▼] (better|worse)(?= |$)", re.M)


def _coloured(text: str) -> str:
    """Headings in bold, what got better in green and what got worse in red; everything else as it is."""
    lines = (terminal.style(line, "bold") if line.startswith("#") else line for line in text.split("\n"))
    return _VERDICTS.sub(
        lambda m: terminal.style(m[0], "green" if m[1] == "better" else "red"), "\n".join(lines)
    )
