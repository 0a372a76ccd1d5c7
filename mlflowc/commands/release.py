"""`mlpipec release`: a version of what a stage made, as a tag, with a model card and where it comes from."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

import click

from mlflowc import project, terminal
from mlflowc.commands import complete
from mlflowc.commands.options import file_option
from mlflowc.errors import Failure
from mlflowc.ir import model as ir
from mlflowc.jobs.handover import ignored_folder
from mlflowc.release import card, names, statement
from mlflowc.release.check import matches
from mlflowc.release.files import measure
from mlflowc.release.gather import Found, gather, split
from mlflowc.release.statement import BadStatementError, Envelope, Json, Said, subjects
from mlflowc.release.tags import NoStatementError, Tags, message
from mlflowc.runtime.remotes import signing
from mlflowc.runtime.workspace import open_workspace
from mlflowc.sources.gto import Deployed

FOLDER = "mlpipe-releases"
CARD, STATEMENT = "MODEL_CARD.md", "provenance.intoto.json"


class _Asked(NamedTuple):
    output: str
    artifact: str
    version: str | None
    bump: str | None
    stage: str | None


class _Made(NamedTuple):
    """What a release left: its tags, and the files beside it."""

    artifact: str
    version: str
    commit: str
    tags: tuple[str, ...]
    files: tuple[str, ...]
    signed: str
    new: bool = True


@click.command("release")
@click.argument("output", metavar="STAGE.OUTPUT", shell_complete=complete.outputs)
@click.option("--version", metavar="VERSION", help="The version, as in v1.2.0.")
@click.option(
    "--bump", type=click.Choice(names.BUMPS), help="Which part of the last version becomes one more."
)
@click.option("--stage", metavar="NAME", help="Put the version into this stage, as in --stage prod.")
@click.option("--name", metavar="NAME", help="The artifact; else the output's name.")
@click.option("--despite-gates", is_flag=True, help="Release though a gate does not hold; the card says so.")
@click.option("--push", is_flag=True, help="Push the tags to the remote `origin`.")
@click.option("--publish", is_flag=True, help="Push, and make a release of the service with the files.")
@click.option(
    "-n",
    "--dry",
    "--dry-run",
    "dry",
    is_flag=True,
    help="Check all, say what it would do, and do nothing.",
)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@file_option
def command(
    output: str,
    version: str | None,
    bump: str | None,
    stage: str | None,
    name: str | None,
    despite_gates: bool,
    push: bool,
    publish: bool,
    dry: bool,
    as_json: bool,
    file: str | None,
) -> int:
    """Release what a stage made: an annotated tag for its version, as GTO has it (model@v1.2.0).

    The commit has to be clean, its lock up to date, and the file the one that the lock names. A model card
    and a signed statement of where it comes from are written to mlpipe-releases/; the tag holds the
    statement, too. With --stage, a version is put into a stage (model#prod#1): the new one, or with
    --version one that there is already.
    """
    if version and bump:
        raise click.UsageError("--version says it all: leave --bump out")
    loaded = project.load(file)
    asked = _Asked(
        output,
        names.artifact(name or _usual(loaded.pipeline, output)),
        names.version(version) if version else None,
        bump,
        stage,
    )
    tags = Tags(loaded.root)
    pushing = push or publish
    if publish:
        from mlflowc.commands import publishing  # it brings an HTTP client

        publishing.place()  # so that what is missing is said before anything is made
    tags.git("rev-parse", "--git-dir")
    known = names.Known({**(tags.remote() if pushing else {}), **tags.all()})
    there = next((d for d in known.versions(asked.artifact) if d.version == asked.version), None)
    ws = open_workspace(loaded.root, loaded.pipeline)
    try:
        if there is not None or _stays(asked, known, tags):
            again = publish and there is not None and not stage
            made = _again(loaded.root, asked, tags, there) if again else _promote(asked, known, tags, dry)
        else:
            found = gather(ws, tags, output)
            _refuse_failed(found, despite_gates)
            made = _register(loaded.root, asked, known, tags, found, dry)
    finally:
        ws.close()
    url = _share(loaded.root, tags, made, publish) if pushing and not dry else ""
    _tell(made, url, dry, pushing, as_json)
    return 0


def _usual(pipeline: ir.Pipeline, output: str) -> str:
    """The artifact's name where none is given: the output's, if no other stage has such an output."""
    stage, made = split(pipeline, output)
    same = [s.id for s in pipeline.stages if any(o.name == made.name for o in s.outputs)]
    if len(same) > 1:
        raise Failure(
            f"several stages have an output `{made.name}`: {', '.join(same[:5])}",
            help=f"say what the artifact is called, as in --name {stage.name}-{made.name}",
            code=2,
        )
    return made.name


def _stays(asked: _Asked, known: names.Known, tags: Tags) -> bool:
    """Whether a version of this commit is only put into a stage. Raises `Failure` where it has another."""
    head = tags.commit("HEAD")
    here = [d for d in known.versions(asked.artifact) if d.commit == head]
    if not here:
        return False
    if asked.stage and not asked.version and not asked.bump:
        return True
    raise Failure(
        f"this commit is {asked.artifact} {here[-1].version} already",
        help="put that into a stage with --stage, or release another commit",
    )


def _refuse_failed(found: Found, despite: bool) -> None:
    failed = [g.name for g in found.gates if not g.passed]
    if failed and not despite:
        listed = ", ".join(f"`{n}`" for n in failed)
        raise Failure(
            f"gate{'s' if len(failed) > 1 else ''} {listed}: not all requirements hold",
            help="--despite-gates releases it all the same, and the card says so",
        )


# --- making tags


def _promote(asked: _Asked, known: names.Known, tags: Tags, dry: bool) -> _Made:
    """Puts a version that is there into a stage."""
    head = tags.commit("HEAD")
    listed = known.versions(asked.artifact)
    there = next(
        d for d in reversed(listed) if (d.version == asked.version if asked.version else d.commit == head)
    )
    version = there.version or ""
    if not asked.stage:
        raise Failure(
            f"`{there.tag}` is registered already, at {there.commit[:9]}",
            help="put it into a stage with --stage, or say another version",
        )
    _refuse_stranger(asked, tags, there.tag)
    tag = names.stage_tag(known, asked.artifact, asked.stage)
    if not dry:
        tags.make(tag, there.commit, f"{asked.artifact} {version} is in stage {asked.stage}\n")
    return _Made(asked.artifact, version, there.commit, (tag,), (), "")


def _again(root: Path, asked: _Asked, tags: Tags, there: Deployed | None) -> _Made:
    """A version that is there already, to be published (once more), with the files that were made with it."""
    assert there is not None and there.version is not None
    folder = _folder(root, asked.artifact, there.version)
    try:
        envelope = tags.statement(there.tag)
        same = (folder / STATEMENT).read_bytes() == envelope.data and (folder / CARD).is_file()
    except (NoStatementError, BadStatementError, OSError):
        same = False
    if not same:
        raise Failure(
            f"the files of `{there.tag}` are not here any more: `{FOLDER}/{folder.name}/`",
            help="attach them by hand where they are, or release a new version",
        )
    paths = [os.fspath((folder / name).relative_to(root)) for name in (CARD, STATEMENT)]
    listed = subjects(envelope.statement)
    path = root / listed[0].name
    if len(listed) == 1 and path.is_file() and matches(measure(path, listed[0].name), envelope):
        paths.append(listed[0].name)
    signed = envelope.signatures[0][0] if envelope.signatures else ""
    return _Made(asked.artifact, there.version, there.commit, (there.tag,), tuple(paths), signed, new=False)


def _folder(root: Path, artifact: str, version: str) -> Path:
    return root / FOLDER / f"{artifact.replace('/', '-')}-{version}"


def _register(root: Path, asked: _Asked, known: names.Known, tags: Tags, found: Found, dry: bool) -> _Made:
    """Registers a version of HEAD, and puts it into a stage where one is asked for."""
    last = known.versions(asked.artifact)
    if last:
        _refuse_stranger(asked, tags, last[-1].tag)
    version = asked.version or names.bumped(last[-1].version if last else None, asked.bump or "patch")
    tag = names.version_tag(asked.artifact, version)
    if tag in known.tags:
        raise Failure(f"there is a tag `{tag}` already", help="say another version with --version")
    made = [tag]
    if asked.stage:
        made.append(names.stage_tag(known, asked.artifact, asked.stage))
    signer = signing.signer()
    public = signer.public if signer else ""
    sign = (lambda data: (signer.public, signer.sign_envelope(data))) if signer else None
    release: Json = {"artifact": asked.artifact, "version": version, "tag": tag}
    raw = statement.make(found.measured.subjects, found.origin, release, found.metrics, _verdicts(found))
    envelope = statement.decode(statement.encode(raw, sign))
    text = card.render(found, asked.artifact, version, tag, public)
    if dry:
        return _Made(asked.artifact, version, found.origin.commit, tuple(made), (), public)
    paths = _write(root, _folder(root, asked.artifact, version), text, envelope)
    done: list[str] = []
    try:
        tags.make(
            tag, found.origin.commit, message(_headline(asked, version, found), _lines(found), envelope)
        )
        done.append(tag)
        if asked.stage:
            tags.make(made[1], found.origin.commit, f"{asked.artifact} {version} is in stage {asked.stage}\n")
    except Failure:
        tags.delete(done)
        raise
    files = [*paths, found.output.path] if found.output.kind == "file" else paths
    return _Made(asked.artifact, version, found.origin.commit, tuple(made), tuple(files), public)


def _refuse_stranger(asked: _Asked, tags: Tags, tag: str) -> None:
    """Raises `Failure` where the artifact's last version is of another output."""
    try:
        said = Said.of(tags.statement(tag).statement)
    except (NoStatementError, BadStatementError, Failure):
        return  # another tool's, or not fetched
    folder = tags.git("rev-parse", "--show-prefix").strip().rstrip("/")
    if (said.folder, f"{said.stage}.{said.output}") != (folder, asked.output):
        where = f" in `{said.folder}`" if said.folder != folder else ""
        raise Failure(
            f"the artifact `{asked.artifact}` is `{said.stage}.{said.output}` of the pipeline "
            f"`{said.pipeline}`{where}, by its tag `{tag}`",
            help="say what this one is called with --name",
        )


def _write(root: Path, folder: Path, text: str, envelope: Envelope) -> list[str]:
    try:
        ignored_folder(root / FOLDER)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CARD).write_text(text, encoding="utf-8")
        (folder / STATEMENT).write_bytes(envelope.data)
    except OSError as e:
        raise Failure(f"cannot write in `{FOLDER}/`: {e.strerror}") from e
    return [os.fspath((folder / name).relative_to(root)) for name in (CARD, STATEMENT)]


def _verdicts(found: Found) -> list[Json]:
    return [
        {
            "gate": gate.name,
            "holds": gate.passed,
            "conditions": [
                {"text": r.text, "holds": r.passed, "found": r.found, "note": r.note} for r in gate.rows
            ],
        }
        for gate in found.gates
    ]


def _headline(asked: _Asked, version: str, found: Found) -> str:
    return f"{asked.artifact} {version}: {asked.output} of the pipeline {found.origin.pipeline}"


def _lines(found: Found) -> list[str]:
    metrics = [
        f"{name}.{field} {value:.6g}"
        for name, fields in sorted(found.metrics.items())
        for field, value in sorted(fields.items())
    ]
    files = [f"sha256 {s.sha256}  {s.name}" for s in found.measured.subjects[:20]]
    return [*metrics[:40], *files]


def _share(root: Path, tags: Tags, made: _Made, publish: bool) -> str:
    """Pushes the tags, and publishes; the release's address."""
    try:
        if publish:
            from mlflowc.commands import publishing  # it brings an HTTP client

            there = publishing.place()
            pusher, url = publishing.pusher(root, there)
            pusher.push(made.tags, url)
        else:
            tags.push(made.tags, "origin")
    except Failure as e:
        # So that the next try starts anew.
        tags.delete(made.tags if made.new else ())
        words = "the tags could not be pushed" + (", and are taken back" if made.new else "")
        raise Failure(f"{words}: {e.message}") from None
    if not publish or not made.files:
        return ""
    card = (root / made.files[0]).read_text(encoding="utf-8")
    shown, large = publishing.publish(there, root, made.tags[0], card, made.files)
    for name in large:
        print(f"`{name}` is too large to be attached")
    return shown


# --- words


def _tell(made: _Made, url: str, dry: bool, pushed: bool, as_json: bool) -> None:
    if as_json:
        said = {"artifact": made.artifact, "version": made.version, "commit": made.commit, "tags": made.tags}
        more = {"files": made.files, "signed_by": made.signed or None, "url": url or None, "dry": dry}
        print(json.dumps({**said, **more}, indent=2))
        return
    words = "would tag" if dry else "tagged" if made.new else "there is"
    print(terminal.style(f"{made.artifact} {made.version}", "bold") + f" at {made.commit[:9]}")
    for tag in made.tags:
        print(f"  {words} {tag}")
    for path in made.files:
        print(f"  {path}")
    if made.files or dry:
        print(f"  signed by {made.signed}" if made.signed else "  not signed: there is no signing key here")
    if url:
        print(f"  published {url}")
    if not pushed and not dry:
        listed = " ".join(f"'{t}'" for t in made.tags)
        print(f"`git push origin {listed}` shares it")
