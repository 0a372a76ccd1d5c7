"""`mlpipec verify-model`: is this file what a release says it is?"""

from __future__ import annotations

import json
from pathlib import Path

import click

from mlflowc import project, terminal
from mlflowc.errors import Failure
from mlflowc.release import check, files
from mlflowc.release.check import Answer
from mlflowc.release.files import Measured
from mlflowc.release.statement import BadStatementError, Envelope, Said, decode
from mlflowc.release.tags import NoStatementError, Tags
from mlflowc.runtime.remotes import signing
from mlflowc.sources import gto

_LARGEST = 64 * 1024 * 1024


@click.command("verify-model")
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--release",
    "tag",
    metavar="TAG",
    help="The release, as in model@v1.2.0 or model#prod; else all are searched.",
)
@click.option(
    "--statement",
    "source",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The statement, where it is not in the tag.",
)
@click.option("--key", "keys", metavar="KEY", multiple=True, help="A public key that must have signed it.")
@click.option("--signed", is_flag=True, help="It has to be signed by a key of --key or the `cache` block.")
@click.option("--alone", is_flag=True, help="Hold the file against --statement only: no repository is here.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def command(
    file: Path,
    tag: str | None,
    source: Path | None,
    keys: tuple[str, ...],
    signed: bool,
    alone: bool,
    as_json: bool,
) -> int:
    """Check that a file (or folder) is what a release says.

    Its hashes against the statement, the statement's signature, the commit and the tag that it names, and
    the lock of that commit. Ends with exit code 1 where anything does not fit.
    """
    if alone and source is None:
        raise click.UsageError("--alone needs a --statement")
    for key in keys:
        if not signing.is_public(key):
            raise Failure(f"`{key}` is no public key", help="as in --key ed25519:…", code=2)
    known = keys or _keys()
    if signed and not known:
        raise Failure("no key is known whose signature would be good", help="say one with --key", code=2)
    measured = files.measure(file, file.name)
    tags = Tags(Path.cwd())
    if not alone:
        try:
            tags.git("rev-parse", "--git-dir")
        except Failure:
            raise Failure(
                "this is no git repository, so the commit and its lock cannot be looked at",
                help="run it in a clone of the repository, or give --statement and --alone",
            ) from None
    tag = _in_stage(tags, tag) if tag and "#" in tag and not alone else tag
    try:
        envelope = _envelope(measured, tags, tag, source)
    except BadStatementError as e:
        what = f"`{source}`" if source else f"the statement in the tag `{tag}`"
        return _tell(file, tag or "", [Answer("statement", False, f"{what} does not count: {e}")], as_json)
    if envelope is None:
        return _tell(file, "", [_unknown(measured, tags)], as_json)
    answers = [check.file(measured, envelope)]
    if tag:
        answers.append(check.release(envelope, tag))
    answers.append(check.signature(envelope, known, bool(keys) or signed))
    if not alone:
        answers.append(check.commit(envelope, tags))
        answers.append(check.lock(measured, envelope, tags))
    return _tell(file, Said.of(envelope.statement).tag, answers, as_json)


def _keys() -> tuple[str, ...]:
    """The keys of the `cache` block, where the command runs in a project."""
    try:
        project.locate(None)
    except Failure:
        return ()
    return project.load(None).pipeline.cache.keys


def _in_stage(tags: Tags, name: str) -> str:
    """The release that is in a stage, `model#prod`. Raises `Failure`."""
    artifact, _, stage = name.partition("#")
    stage = stage.partition("#")[0]
    said = gto.events(tags.all())
    found = gto.in_stage(said, artifact, stage)
    version = next((d for d in gto.versions(said, artifact) if found and d.version == found.version), None)
    if version is None:
        raise Failure(
            f"no release of `{artifact}` is in stage `{stage}` here",
            help="`git fetch --tags` brings the remote's",
        )
    return version.tag


def _envelope(measured: Measured, tags: Tags, tag: str | None, source: Path | None) -> Envelope | None:
    """The statement that is asked for, or one that names the file. Raises `Failure`, `BadStatementError`."""
    if source is not None:
        if source.stat().st_size > _LARGEST:
            raise BadStatementError("it is too large to be one")
        return decode(source.read_bytes())
    if tag is not None:
        if tags.commit(f"refs/tags/{tag}") is None:
            raise Failure(f"there is no release `{tag}` here", help="`git fetch --tags` brings the remote's")
        try:
            return tags.statement(tag)
        except NoStatementError as e:
            raise Failure(
                f"the tag `{tag}` holds no statement",
                help="give the file with --statement" if e.digest else "`mlpipec release` did not make it",
            ) from None
    return _search(measured, tags)


def _search(measured: Measured, tags: Tags) -> Envelope | None:
    """The statement of the newest release that names the file."""
    for event in reversed(gto.events(tags.all())):
        if event.version is None:
            continue
        try:
            envelope = tags.statement(event.tag)
        except (NoStatementError, BadStatementError, Failure):
            continue
        if check.matches(measured, envelope):
            return envelope
    return None


def _unknown(measured: Measured, tags: Tags) -> Answer:
    released = [e.tag for e in gto.events(tags.all()) if e.version is not None]
    digest = f"sha256 {measured.subjects[0].sha256}" if measured.kind == "file" else "these files"
    if not released:
        return Answer("file", False, f"no release is known here: {digest}; `git fetch --tags` brings tags")
    return Answer(
        "file", False, f"none of {len(released)} releases is {digest}; --release names one to compare with"
    )


def _tell(file: Path, tag: str, answers: list[Answer], as_json: bool) -> int:
    good = all(a.ok is not False for a in answers)
    if as_json:
        rows = [{"question": a.question, "ok": a.ok, "words": a.words} for a in answers]
        print(json.dumps({"ok": good, "file": str(file), "release": tag or None, "checks": rows}, indent=2))
        return 0 if good else 1
    for answer in answers:
        mark = {True: ("ok", "green"), False: ("no", "red"), None: ("--", "dim")}[answer.ok]
        print(f"{terminal.style(mark[0], mark[1])}  {answer.question:<10} {answer.words}")
    if not good:
        terminal.error(f"`{file}` is not what {f'`{tag}`' if tag else 'a release'} says")
        return 1
    print(terminal.style(f"{file} is {tag}", "bold"))
    return 0
