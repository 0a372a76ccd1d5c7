"""The parser's table, kept between runs: making it from the grammar takes ten times as long as reading it.

The file lies in the user's cache folder under a name made of everything that it depends on. Whatever is wrong
with it (no home, a read-only disk, a file cut off or not ours), the table is made anew and nothing is said.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lark
from lark import Lark

from mlflowc import plainfile

# What a file says beside the table; not part of it: code of ours, given again when it is read.
_CODE = ("transformer", "postlex", "lexer_callbacks", "edit_terminals")
_FORMAT = 1


class _Plain(pickle.Unpickler):
    """Reads numbers, texts and containers; a file that wants anything imported is refused."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        raise pickle.UnpicklingError(f"{module_name}.{global_name} is no part of a table")


def load(grammar: str, make: Callable[[], Lark], **code: Any) -> Lark:
    """The parser of `grammar`: the kept table with `code` (options of lark that are code), or by `make`."""
    path = _path(grammar)
    if path is None:
        return make()
    try:
        with os.fdopen(plainfile.opened(path), "rb") as file:
            kept: Lark = Lark.__new__(Lark)._load(_Plain(file).load(), **code)
            return kept
    except Exception:
        # Any broken file ends here, and it can be broken in any way; a grammar that is wrong fails in `make`.
        made = make()
        _keep(path, made)
        return made


def _path(grammar: str) -> Path | None:
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        folder = (Path(base) if base.startswith("/") else Path.home() / ".cache") / "mlpipec"
    except RuntimeError:  # no home
        return None
    depends = f"{_FORMAT} {lark.__version__} {sys.version_info[:2]}\n{grammar}"
    return folder / f"grammar-{hashlib.sha256(depends.encode()).hexdigest()[:32]}.pickle"


def _keep(path: Path, made: Lark) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix="grammar-")
        try:
            with os.fdopen(handle, "wb") as file:
                made.save(file, exclude_options=_CODE)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError:
        return
