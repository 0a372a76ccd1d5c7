"""What a code file counts as in a key with `code_key = "ast"`."""

from __future__ import annotations

from mlflowc import plainfile
from mlflowc.runtime import closure
from mlflowc.runtime.checkout import Seen
from mlflowc.runtime.hashing import hash_bytes
from mlflowc.runtime.workspace import Workspace

# Counts the ways of normalising: what was kept by another one is not believed.
_FORMAT = 1


def code_hash(ws: Workspace, seen: Seen) -> str:
    """The hash of a Python file's syntax tree or a notebook's code cells: comments and layout do not count.
    Of its bytes, if it has none. Worked out once for a content.
    """
    name = f"ast {_FORMAT} {seen.path.rpartition('.')[2]}:{seen.hash}"
    known = ws.index.facts.get(name)
    if isinstance(known, str):
        return known
    try:
        source = plainfile.read(ws.root / seen.path)
    except OSError:
        return seen.hash
    tree = closure.normalised_file(seen.path, source)
    found = seen.hash if tree == source else "ast " + hash_bytes(tree)
    # What was read may be what an editor wrote since it was hashed.
    if hash_bytes(source) == seen.hash:
        ws.index.facts[name] = found
    return found
