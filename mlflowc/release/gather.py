"""What there is to say of a stage's output: by the lock, the cache and git, which are held together.

What is released has to be what the commit's lock says. So nothing that git knows may be changed, the lock has
to belong to the commit's files, and the bytes at hand have to be those that the lock names.
"""

from __future__ import annotations

import datetime
import re
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from mlflowc import __version__
from mlflowc.errors import Failure
from mlflowc.ir import model as ir
from mlflowc.release import files
from mlflowc.release.files import Measured
from mlflowc.release.statement import Json, Origin
from mlflowc.release.tags import Tags
from mlflowc.runtime import gates, pins, targets
from mlflowc.runtime.foreseen import verify
from mlflowc.runtime.gate_result import GateResult
from mlflowc.runtime.hashing import hash_bytes
from mlflowc.runtime.lockfile import NAME, LockFile, StageEntry
from mlflowc.runtime.records import OutputRecord, Record
from mlflowc.runtime.workspace import Workspace
from mlflowc.spell import nearest

_SHOWN = 5


class Found(NamedTuple):
    """A released output. `measured` are its files, `record` that of its run where this machine has it,
    `outside` inputs that the commit does not hold."""

    stage: ir.Stage
    entry: StageEntry
    output: OutputRecord
    measured: Measured
    origin: Origin
    gates: tuple[GateResult, ...]
    metrics: Json
    record: Record | None
    outside: tuple[str, ...]


def split(pipeline: ir.Pipeline, name: str) -> tuple[ir.Stage, ir.Output]:
    """The stage and output that `STAGE.OUTPUT` names. Raises `Failure`."""
    known = {f"{s.id}.{o.name}": (s, o) for s in pipeline.stages for o in s.outputs}
    found = known.get(name)
    if found is None:
        guess = nearest(name, known)
        help = f"did you mean `{guess}`?" if guess else f"there are: {', '.join([*known][:8])}"
        raise Failure(f"there is no output `{name}`", help=help, code=2)
    return found


def gather(ws: Workspace, tags: Tags, name: str) -> Found:
    """All about the output `name` at HEAD. Raises `Failure` where it is not what HEAD says."""
    stage, output = split(ws.pipeline, name)
    commit = tags.commit("HEAD")
    if commit is None:
        raise Failure("there is no commit to release from", help="commit the project, with `mlpipe.lock`")
    _clean(tags)
    prefix = tags.git("rev-parse", "--show-prefix").strip()
    _locked(ws, tags, commit, prefix)
    concerned = targets.closure(ws.pipeline, [stage.id])
    _fresh(ws, {s.id for s in concerned}, {n for s in concerned for n in pins.names(s.inputs)})
    entry = ws.lock.stage(stage.id)
    made = entry.output(output.name) if entry else None
    if entry is None or made is None:
        raise Failure(f"`{NAME}` has no result of `{name}`", help=f"make it with `mlpipec run '{stage.id}'`")
    measured = _measure(ws, made, stage.id)
    record = ws.store.record(entry.key)
    origin = _origin(ws, tags, stage, entry, made, concerned, record, commit, prefix)
    verdicts = _gates(ws, concerned)
    outside = tuple(p for p in _paths(ws, concerned) if not tags.git("ls-files", "--", p).strip())
    metrics: Json = {f"{stage.id}.{o}": dict(fields) for o, fields in entry.metrics.items()}
    for gate in verdicts:
        for id in next(g for g in ws.pipeline.gates if g.name == gate.name).stages:
            other = ws.lock.stage(id)
            metrics |= {f"{id}.{o}": dict(f) for o, f in other.metrics.items()} if other else {}
    return Found(stage, entry, made, measured, origin, verdicts, metrics, record, outside)


# --- is it what the commit says?


def _clean(tags: Tags) -> None:
    changed = tags.git("status", "--porcelain", "--untracked-files=no").splitlines()
    if changed:
        more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        raise Failure(
            "files here are not as the commit has them: " + ", ".join(c[3:] for c in changed[:_SHOWN]) + more,
            help="commit or undo the change: a release is of a commit",
        )


def _locked(ws: Workspace, tags: Tags, commit: str, prefix: str) -> None:
    there = tags.content(commit, prefix + NAME)
    if there is None:
        raise Failure(f"the commit has no `{prefix}{NAME}`", help=f"`mlpipec run`, then commit `{NAME}`")
    text = there.decode("utf-8", "replace")
    if LockFile.parse(text, f"{NAME} of the commit").entries != LockFile.read(ws.root).entries:
        raise Failure(f"`{NAME}` is not as the commit has it", help=f"commit `{NAME}`")


def _fresh(ws: Workspace, stages: set[str], data: Iterable[str]) -> None:
    wanted = {*stages, *(f"data {name}" for name in data)}
    problems = {name: words for name, words in verify(ws).items() if name in wanted}
    if problems:
        name, words = next(iter(problems.items()))
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise Failure(
            f"`{NAME}` does not belong to the commit's files: {name}: {words}{more}",
            help=f"`mlpipec run` brings it up to date; commit `{NAME}`, then release",
        )


def _measure(ws: Workspace, made: OutputRecord, stage: str) -> Measured:
    path = ws.root / made.path
    if path.exists():
        found = files.measure(path, made.path)
        if found.whole != made.hash:
            raise Failure(
                f"`{made.path}` is not what `{NAME}` says", help=f"`mlpipec run '{stage}'` puts it back"
            )
        return found
    ws.prepare()
    with tempfile.TemporaryDirectory(dir=ws.state) as folder:
        target = Path(folder, "output")
        try:
            there = ws.store.restore(replace(made, path=target.name), target)
        except OSError as e:
            raise Failure(f"cannot take `{made.path}` from the cache: {e.strerror}") from None
        if not there:
            raise Failure(
                f"`{made.path}` is not here, and not in the cache",
                help=f"`mlpipec run '{stage}'` makes it, or fetches it from the remote",
            )
        found = files.measure(target, made.path)
    if found.whole != made.hash:
        raise Failure(f"the cache's `{made.path}` is damaged", help="`mlpipec cache verify` clears that up")
    return found


def _paths(ws: Workspace, stages: Iterable[ir.Stage]) -> list[str]:
    """The files that stages read by path; git may or may not have them."""
    read = []
    for source in (s for stage in stages for i in stage.inputs for s in i.sources):
        if isinstance(source, ir.PathRef):
            read.append(source.path)
        elif isinstance(source, ir.DataRef) and source.data not in ws.pinned:
            read.append(ws.data[source.data])
    return list(dict.fromkeys(read))


# --- where it comes from


def _origin(
    ws: Workspace,
    tags: Tags,
    stage: ir.Stage,
    entry: StageEntry,
    made: OutputRecord,
    concerned: Iterable[ir.Stage],
    record: Record | None,
    commit: str,
    prefix: str,
) -> Origin:
    steps = list(concerned)
    others = [o for o in entry.outputs if o.name != made.name]
    byproducts: list[Json] = [{"name": o.path, "digest": {"blake3": o.hash}} for o in others]
    if record is not None and record.log:
        byproducts.append({"name": "log", "digest": {"blake3": record.log}})
    return Origin(
        pipeline=ws.pipeline.name,
        folder=prefix.rstrip("/"),
        file=ws.pipeline.file,
        stage=stage.id,
        output=made.name,
        whole=made.hash,
        key=entry.key,
        commit=commit,
        repository=_address(tags),
        params={name: _plain(value) for name, value in sorted(entry.params.items())},
        materials=(
            *_data(ws, steps),
            *_upstream(ws, stage, steps),
            *_environments(ws, steps),
            *_files(ws, steps),
        ),
        byproducts=tuple(byproducts),
        tool=(record.tool if record else "") or __version__,
        started=_time(record.started) if record and record.started else "",
        finished=_time(record.started + record.seconds) if record and record.started else "",
    )


def _data(ws: Workspace, stages: list[ir.Stage]) -> list[Json]:
    """The pinned data, with what its source says of the version."""
    found = []
    for name, data in sorted(pins.used(ws, stages).items()):
        pin = pins.current(ws, data)
        if pin is None:
            continue
        row: Json = {"name": f"data {name}", "digest": {"blake3": pin.hash}}
        address = next((str(v) for k, v in data.args if k in ("url", "name", "path")), "")
        if address:
            row["uri"] = re.sub(r"(://)[^/@]*@", r"\1", address).partition("?")[0]
        row["annotations"] = {"source": data.source, **dict(pin.version)}
        found.append(row)
    return found


def _upstream(ws: Workspace, stage: ir.Stage, stages: list[ir.Stage]) -> list[Json]:
    """The results of the stages before it."""
    rows: list[Json] = []
    for before in (s for s in stages if s.id != stage.id):
        entry = ws.lock.stage(before.id)
        outputs = entry.outputs if entry else ()
        rows += [{"name": f"{before.id}.{o.name}", "digest": {"blake3": o.hash}} for o in outputs]
    return rows


def _environments(ws: Workspace, stages: list[ir.Stage]) -> list[Json]:
    """The environments, by the hash of what the lock says of each; an image by its digest, too."""
    rows = []
    for name in sorted({s.env for s in stages if s.env}):
        lines = [
            f"{kind} {title} {sorted(entry.items())}"
            for (kind, title), entry in sorted(ws.lock.entries.items(), key=lambda e: e[0])
            if (kind, title) == ("env", name) or (kind == "package" and title.startswith(f"{name}."))
        ]
        row: Json = {"name": f"env {name}", "digest": {"blake3": hash_bytes("\n".join(lines).encode())}}
        image = ws.envs[name].image or ""
        if "@sha256:" in image:
            row |= {"uri": f"docker://{image}", "digest": {"sha256": image.rpartition(":")[2]}}
        rows.append(row)
    return rows


def _files(ws: Workspace, stages: list[ir.Stage]) -> list[Json]:
    """The files of the project that are read by path."""
    rows = []
    for path in _paths(ws, stages):
        seen = ws.checkout.look(path)
        if seen is not None and seen.hash:
            rows.append({"name": path, "digest": {"blake3": seen.hash}})
    return rows


def _address(tags: Tags) -> str:
    """Where the repository is, without what only some may know; "" where it has no address that others can
    reach."""
    try:
        url = tags.git("remote", "get-url", "origin").strip()
    except Failure:
        return ""
    if re.match(r"(https?|ssh|git)://", url):
        return re.sub(r"(://)[^/@]*@", r"\1", url)
    short = re.fullmatch(r"[\w.-]+@([\w.-]+):(.+)", url)
    return f"ssh://{short[1]}/{short[2]}" if short else ""


# --- gates


def _gates(ws: Workspace, stages: Iterable[ir.Stage]) -> tuple[GateResult, ...]:
    """The gates over this output: those that read a stage before it, itself, or one that reads it."""
    ids = {s.id for s in stages}
    found = []
    for gate in ws.pipeline.gates:
        needed = {s.id for s in targets.closure(ws.pipeline, gate.stages)}
        if needed & ids or not gate.stages:
            found.append(gates.check(ws, gate))
    return tuple(found)


def _plain(value: ir.Value) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _time(seconds: float) -> str:
    when = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")
