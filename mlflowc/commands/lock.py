"""`mlpipec lock`: settles `mlpipe.lock` where two branches met."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import click

from mlflowc import project
from mlflowc.commands.options import file_option
from mlflowc.errors import Failure
from mlflowc.runtime import gitcalls, lockmerge
from mlflowc.runtime.gitcalls import GitError
from mlflowc.runtime.lockfile import NAME, LockFile
from mlflowc.runtime.lockmerge import Merged, Settled
from mlflowc.runtime.ports import LocalFileSystem
from mlflowc.runtime.progress import count

DRIVER = "mlpipe-lock"
_ATTRIBUTE = f"{NAME} merge={DRIVER}"
_SHOWN = 20


@click.command("lock")
@click.option("--resolve", is_flag=True, help="Settle the conflicts that a merge left in the lock.")
@click.option(
    "--merge",
    "versions",
    nargs=3,
    type=click.Path(path_type=Path),
    metavar="BASE OURS THEIRS",
    help="Merge three versions into OURS, for git; conflicts are settled.",
)
@click.option(
    "--install-merge-driver", "install", is_flag=True, help="Have git merge the lock so, in this clone."
)
@file_option
def command(resolve: bool, versions: tuple[Path, Path, Path] | None, install: bool, file: str | None) -> int:
    """Say what is in mlpipe.lock, or settle it where two branches met.

    An entry that one side changed is taken. Where both changed it, --resolve takes the one that belongs to
    the files here; where neither does, or that is not known, ours, and the next run brings it up to date.
    """
    if resolve + install + (versions is not None) > 1:
        raise click.UsageError("--resolve, --merge and --install-merge-driver exclude one another")
    if versions is not None:
        return _merge(*versions)
    root, name = project.locate(file)
    if install:
        return _install(root)
    if resolve:
        return _resolve(root, name)
    kinds = Counter(kind for kind, _ in LockFile.read(root).entries)
    if not kinds:
        print(f"there is no {NAME} yet: `mlpipec run` writes it")
        return 0
    words = {"stage": "stage", "env": "environment", "package": "package"}
    print(f"{NAME}: {', '.join(count(n, words.get(kind, kind)) for kind, n in sorted(kinds.items()))}")
    return 0


# --- in git's hands


def _merge(base: Path, ours: Path, theirs: Path) -> int:
    try:
        before, mine, other = (LockFile.parse(_text(p), f"{NAME} ({p.name})") for p in (base, ours, theirs))
    except Failure:
        # Not ours to mend: as git would have done it, with markers.
        subprocess.run(
            [
                "git",
                "merge-file",
                "-L",
                "ours",
                "-L",
                "base",
                "-L",
                "theirs",
                str(ours),
                str(base),
                str(theirs),
            ],
            stderr=subprocess.DEVNULL,
        )
        raise
    merged = lockmerge.merge(before, mine, other)
    try:
        ours.write_bytes(merged.lock.render().encode())
    except OSError as e:
        raise Failure(f"cannot write `{ours}`: {e.strerror}") from e
    _say(merged.settled, sys.stderr.isatty())
    return 0


def _install(root: Path) -> int:
    if _git(root, "rev-parse", "--is-inside-work-tree") is None:
        raise Failure("this is no git repository", help="`git init` makes one")
    # On PATH when git runs, or by its place.
    program = "mlpipec" if shutil.which("mlpipec") else shlex.quote(os.path.abspath(sys.argv[0]))  # noqa: PTH100
    settings = {"name": "mlpipec: entry by entry", "driver": f"{program} lock --merge %O %A %B"}
    for key, value in settings.items():
        if _git(root, "config", f"merge.{DRIVER}.{key}", value) is None:
            raise Failure("git did not take the setting", help="is `.git/config` writable?")
    attributes = root / ".gitattributes"
    try:
        text = attributes.read_text("utf-8") if attributes.exists() else ""
        added = _ATTRIBUTE not in text.splitlines()
        if added:
            text += "\n" if text and not text.endswith("\n") else ""
            attributes.write_text(f"{text}{_ATTRIBUTE}\n", "utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise Failure(f"cannot write `.gitattributes`: {e}") from e
    print(f"git merges {NAME} entry by entry in this clone")
    if added:
        print("commit `.gitattributes`; in every other clone run `mlpipec lock --install-merge-driver`, too")
    return 0


# --- by hand


def _resolve(root: Path, name: str) -> int:
    found = _conflict(root)
    if found is None:
        print(f"nothing to settle: {NAME} has no conflicts")
        return 0
    base, ours, theirs = found
    # First by rule alone, so that the project can be opened; then with what it knows.
    fs = LocalFileSystem()
    merged = lockmerge.merge(base, ours, theirs)
    merged.lock.write(root, fs)
    if merged.settled:
        merged = _judged(root, name, base, ours, theirs, merged)
        merged.lock.write(root, fs)
    _say(merged.settled, True)
    print(f"{NAME} is settled; `git add {NAME}`, then `mlpipec run` brings it up to date")
    return 0


def _conflict(root: Path) -> tuple[LockFile, LockFile, LockFile] | None:
    """The three locks: from git's index in the midst of a merge, else from markers in the file."""
    if _git(root, "ls-files", "--unmerged", "--", NAME):
        texts = [_git(root, "show", f":{stage}:./{NAME}") or "" for stage in (1, 2, 3)]
        names = [f"{NAME} ({side})" for side in ("base", "ours", "theirs")]
    else:
        split = lockmerge.sides(_text(root / NAME))
        if split is None:
            LockFile.read(root)
            return None
        texts, names = list(split), [NAME] * 3
    base, ours, theirs = (LockFile.parse(text, name) for text, name in zip(texts, names, strict=True))
    return base, ours, theirs


def _judged(
    root: Path, name: str, base: LockFile, ours: LockFile, theirs: LockFile, by_rule: Merged
) -> Merged:
    # The compiler and the planner: only where there is something to decide.
    from mlflowc.runtime import lockjudge
    from mlflowc.runtime.workspace import open_workspace

    try:
        loaded = project.load(str(root / name))
        ws = open_workspace(loaded.root, loaded.pipeline)
    except Failure as e:
        print(f"by rule alone, for the pipeline cannot be read yet: {e.message}")
        return by_rule
    try:
        return lockmerge.merge(base, ours, theirs, lockjudge.judge(ws, base, ours, theirs))
    finally:
        ws.close()


# --- words


def _say(settled: tuple[Settled, ...], all_of_them: bool) -> None:
    def line(s: Settled) -> str:
        what = f"{s.kind} {s.name}"
        why = "it belongs to the files here" if s.known else "by rule; a run brings it up to date"
        return f"{what}: {'removed, as in ' if s.gone else ''}{s.side} ({why})"

    shown = settled if all_of_them else settled[:_SHOWN]
    for s in shown:
        print(f"{NAME}: both changed {line(s)}", file=sys.stderr)
    if len(shown) < len(settled):
        print(f"{NAME}: and {len(settled) - len(shown)} more", file=sys.stderr)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as e:
        raise Failure(f"cannot read `{path}`: {e}") from e


def _git(root: Path, *arguments: str) -> str | None:
    """What git prints; None when it fails, or is not there."""
    with contextlib.suppress(GitError):
        return gitcalls.said(root, *arguments)
    return None
