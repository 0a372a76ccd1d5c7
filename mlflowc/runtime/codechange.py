"""What in a code file is other than when a result was made: its functions and classes, by name.

A record has a file's hash, not its text. The text is asked of git: at the commit that the result was made at,
and at HEAD. Only one of that hash is believed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlflowc import plainfile
from mlflowc.runtime import closure, gitcalls, pyimports
from mlflowc.runtime.explain import Change
from mlflowc.runtime.gitcalls import GitError
from mlflowc.runtime.hashing import hash_bytes

# So many names are told in a line.
_NAMES = 4
_OUTSIDE = "what is outside of functions"
# A record may come from anywhere, and git takes other words as options.
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


def text(root: Path, change: Change, commit: str | None) -> str:
    """The change in words, down to functions where that can be told; `commit` is that of the result before.

    `root` is the project's folder.
    """
    kind, _, path = change.component.partition(":")
    if kind != "code" or not change.before or not change.now or not path.endswith((".py", ".pyw")):
        return change.text
    before = _earlier(root, path, change.before, commit)
    try:
        if before is None:
            return change.text
        was, now = pyimports.parsed(before), pyimports.parsed(plainfile.read(root / path))
        if was is None or now is None:
            return change.text
        changed = list(_changed(was, now))
    except (OSError, RecursionError):
        return change.text
    if not changed:
        return f"{change.text}: comments and layout alone"
    more = f" and {len(changed) - _NAMES} more" if changed[_NAMES:] else ""
    return f"{change.text}: {', '.join(changed[:_NAMES])}{more}"


def _earlier(root: Path, path: str, digest: str, commit: str | None) -> bytes | None:
    """The text that the component `digest` stands for."""
    known = [commit] if commit and _COMMIT.fullmatch(commit) else []
    for revision in (*known, "HEAD"):
        try:
            found = gitcalls.printed(root, "show", f"{revision}:./{path}")
        except GitError:
            return None
        if found is None:
            continue
        by_tree = digest.startswith("ast ")
        of = closure.normalised_file(path, found) if by_tree else found
        if hash_bytes(of) == digest.removeprefix("ast "):
            return found
    return None


def _changed(before: ast.Module, now: ast.Module) -> Iterator[str]:
    mine, other = dict(_parts(before.body, "")), dict(_parts(now.body, ""))
    for name in sorted({*mine, *other}, key=lambda n: (n == _OUTSIDE, n)):
        if name not in other:
            yield f"{name} is gone"
        elif name not in mine:
            yield f"{name} is new"
        elif mine[name] != other[name]:
            yield name


def _parts(body: Sequence[ast.stmt], within: str) -> Iterator[tuple[str, str]]:
    """Functions, methods, classes without their methods, and the rest: a name for readers, and the syntax."""
    rest: list[str] = []
    seen: dict[str, list[str]] = {}
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            seen.setdefault(f"function `{within}{statement.name}`", []).append(ast.dump(statement))
        elif isinstance(statement, ast.ClassDef):
            yield from _parts(statement.body, f"{within}{statement.name}.")
            head = [ast.dump(n) for n in (*statement.bases, *statement.keywords, *statement.decorator_list)]
            seen.setdefault(f"class `{within}{statement.name}`", []).append(" ".join(head))
        else:
            rest.append(ast.dump(statement))
    # Of two of one name, which some branch chooses, either may be meant.
    yield from ((name, "\n".join(dumps)) for name, dumps in seen.items())
    outside = f"what class `{within[:-1]}` sets" if within else _OUTSIDE
    yield outside, "\n".join(rest)
