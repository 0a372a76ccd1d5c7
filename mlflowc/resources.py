"""The only reader of the data that ships in `grammar/` and `stdlib/`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


def grammar() -> str:
    """The text of the lark grammar."""
    return (_files("mlflowc.grammar") / "mlpipe.lark").read_text("utf-8")


def stdlib(name: str) -> str | None:
    """The text of the standard library's file `name` (`std/notebook` is `notebook`), or None."""
    path = _files("mlflowc.stdlib") / f"{name}.mlpipe"
    return path.read_text("utf-8") if path.is_file() else None


def stdlib_asset(name: str) -> bytes | None:
    """The bytes of a file that ships beside the standard library's components (`drift.py`), or None."""
    path = _files("mlflowc.stdlib") / name
    return path.read_bytes() if "/" not in name and path.is_file() else None


def stdlib_names() -> tuple[str, ...]:
    """The names of the standard library's files, sorted, as `use "std/..."` writes them."""
    entries = _files("mlflowc.stdlib").iterdir()
    return tuple(
        sorted(f"std/{e.name.removesuffix('.mlpipe')}" for e in entries if e.name.endswith(".mlpipe"))
    )


def _files(package: str) -> Traversable:
    # Brings `tempfile` and more along, and most calls read nothing.
    from importlib.resources import files

    return files(package)
