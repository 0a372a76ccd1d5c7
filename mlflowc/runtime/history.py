"""Results of another time as values: of a run of this project (`@12`), of a revision, of a key, or of now."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mlflowc.errors import Failure
from mlflowc.ir.model import Value
from mlflowc.runtime import baseline, gitcalls, records
from mlflowc.runtime.gitcalls import GitError
from mlflowc.runtime.index import Run
from mlflowc.runtime.lockfile import NAME, LockFile, StageEntry
from mlflowc.runtime.records import Made, Metrics, OutputRecord, Record
from mlflowc.runtime.workspace import Workspace

NOW = "now"
_RUN = re.compile(r"@(-?\d+)")
_KEY = re.compile(r"[0-9a-f]{6,64}")


@dataclass(frozen=True, slots=True)
class Result:
    """A stage's result. `components` are those of its key, None where its record is not in this cache."""

    key: str
    outputs: Mapping[str, OutputRecord]
    metrics: Metrics
    params: Mapping[str, Value]
    components: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """The results of a moment, by stage. `packages` are pins by `env.package`, None where not known.

    `title` says which moment that was. `notes` are sentences about what is not known of it. `whole`: a stage
    that is not in it was not there then.
    """

    title: str
    stages: Mapping[str, Result]
    packages: Mapping[str, str] | None = None
    notes: tuple[str, ...] = field(default=())
    whole: bool = True


def moment(ws: Workspace, name: str) -> Moment:
    """What `name` means: `now`, `@N` (the state after run N; `@-1` the one before the latest), a revision of
    Git, or the first digits of a key. Raises `Failure` for anything else.
    """
    if name == NOW:
        return _of_lock(ws, "now", ws.lock)
    if match := _RUN.fullmatch(name):
        return _of_run(ws, int(match[1]))
    commit = baseline.resolve(ws.root, name + "^{commit}")
    if commit.hash is not None:
        return _of_commit(ws, name, commit.hash)
    runs = ws.index.keys(name) if _KEY.fullmatch(name) else []
    if len({r.key for r in runs}) > 1:
        raise Failure(
            f"the key `{name}` is not complete enough: {len(runs)} begin so",
            help=", ".join(f"{r.key[:16]} ({r.stage})" for r in runs[:5]),
            code=2,
        )
    if runs:
        return _of_key(ws, runs[0])
    raise Failure(
        f"`{name}` is neither a run, nor a revision of Git, nor a key",
        help="runs are written as in @12, see `mlpipec log`; or name a branch, a tag, a commit",
        code=2,
    )


def is_moment(ws: Workspace, name: str) -> bool:
    """Whether `moment` would find something."""
    try:
        moment(ws, name)
    except Failure:
        return False
    return True


def _of_lock(ws: Workspace, title: str, lock: LockFile) -> Moment:
    stages = {name: _of_entry(ws, entry) for name, entry in lock.stages().items()}
    packages = {
        # A package of conda is an address that ends in its name, version and build.
        name: ", ".join(entry.get("pins", ())) or posixpath.basename(str(entry.get("url", "")))
        for (kind, name), entry in lock.entries.items()
        if kind == "package"
    }
    return Moment(title, stages, packages)


def _of_entry(ws: Workspace, entry: StageEntry) -> Result:
    record = ws.store.record(entry.key)
    outputs = {o.name: o for o in entry.outputs}
    return Result(entry.key, outputs, entry.metrics, entry.params, record.components if record else None)


def _of_commit(ws: Workspace, name: str, commit: str) -> Moment:
    short = commit[:9]
    title = f"{name} ({short})" if name != short else short
    try:
        text = gitcalls.lock_at(ws.root, commit)
    except GitError as e:
        raise Failure(str(e)) from None
    if text is None:
        return Moment(title, {}, None, (f"{short} has no {NAME}: nothing is known of its results",), False)
    return _of_lock(ws, title, LockFile.parse(text, f"{NAME} at {short}"))


def _of_run(ws: Workspace, number: int) -> Moment:
    last = ws.index.last_run()
    if last is None:
        raise Failure("nothing ran here yet, so there is no run to compare", code=2)
    run = number if number > 0 else last + number
    if not 0 < run <= last:
        raise Failure(f"there is no run @{number}", help=f"the runs here are @1 to @{last}", code=2)
    known = [r for r in ws.index.as_of(run) if r.stage in ws.stages or r.run == run]
    stages: dict[str, Result] = {}
    lost: list[str] = []
    notes: list[str] = []
    for r in known:
        record, made = ws.store.record(r.key), records.made(r.made)
        if made is not None:
            # Another run may have left its own outputs under the same key.
            stages[r.stage] = _of_made(r.key, made, record)
            gone = [o for o in made.outputs if not ws.store.has_output(o)]
            if record is not None and gone and record.outputs != made.outputs:
                files = ", ".join(f"`{o.path}`" for o in gone[:3]) + (", …" if gone[3:] else "")
                notes.append(f"@{run}: the content of {files} is not kept: `{r.stage}` came out differently")
        elif record is not None:
            stages[r.stage] = _of_record(record)
        else:
            lost.append(r.stage)
    if lost:
        notes.append(f"@{run}: the results of {_names(lost)} are not in this cache any more")
    strangers = [s for s in ws.stages if s not in {r.stage for r in known}]
    if strangers:
        notes.append(f"@{run}: {_names(strangers)} had no result here yet")
    return Moment(f"run @{run}", stages, None, tuple(notes), whole=False)


def _of_key(ws: Workspace, run: Run) -> Moment:
    record = ws.store.record(run.key)
    if record is None:
        raise Failure(f"the result of {run.stage} with the key {run.key[:12]} is not in this cache any more")
    return Moment(f"{run.stage} {run.key[:12]}", {run.stage: _of_record(record)}, None, (), whole=False)


def _of_made(key: str, made: Made, record: Record | None) -> Result:
    outputs = {o.name: o for o in made.outputs}
    return Result(key, outputs, made.metrics, made.params, record.components if record else None)


def _of_record(record: Record) -> Result:
    outputs = {o.name: o for o in record.outputs}
    return Result(record.key, outputs, record.metrics, record.params, record.components)


def _names(stages: list[str]) -> str:
    shown = ", ".join(f"`{s}`" for s in stages[:3])
    return shown + (f" and {len(stages) - 3} more" if len(stages) > 3 else "")
