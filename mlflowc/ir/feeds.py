"""What can be said of a data source without asking it: pure functions of its declaration.

Planning, checking and lowering use these; the clients that ask and fetch are in `mlflowc.sources`.
"""

from __future__ import annotations

import posixpath
import re
from urllib.parse import unquote, urlsplit

from mlflowc.ir.model import Data, Value

FOLDER = ".mlpipe/data"
_ODD = re.compile(r"[^\w.@+=,-]+")
_ENV = "env:"
# Arguments that say how to get at the data, and not which data it is.
ACCESS = frozenset({"secrets", "auth", "token", "anonymous", "key", "known_hosts"})


def is_pinned(data: Data) -> bool:
    """Whether its data is pinned in `mlpipe.lock`; files of the repository are what they are."""
    return data.source != "path"


def standing(data: Data) -> str:
    """Where the data stands in the project, relative to its folder: what a stage reads."""
    args = dict(data.args)
    path = str(args.get("path", ""))
    if data.source == "path":
        return path
    if data.source == "dvc" and "rev" not in args:
        return str(args.get("out") or path.removesuffix(".dvc"))
    return f"{FOLDER}/{data.name}/{_basename(data, args)}"


def is_ours(path: str) -> bool:
    """Whether the tool owns what is at a path where data stands, and may replace it unasked."""
    return path.startswith(FOLDER + "/")


def deciding(data: Data) -> tuple[str, ...]:
    """Files of the repository, beside the declaration, that decide which data it is: when one changes, a pin
    no longer counts. Such as the `.dvc` file, or the text of a query.
    """
    args = dict(data.args)
    if data.source == "dvc" and "rev" not in args:
        return (str(args["path"]),)
    if data.source == "sql" and str(args["query"]).endswith(".sql"):
        return (str(args["query"]),)
    return ()


def secrets(data: Data) -> tuple[str, ...]:
    """The names of the environment variables that hold what must stay secret: those of `secrets = […]`, and
    of every argument `"env:NAME"`. Sorted.
    """
    found: set[str] = set()
    for name, value in data.args:
        if name == "secrets" and isinstance(value, tuple):
            found.update(str(v) for v in value)
        elif isinstance(value, str) and value.startswith(_ENV):
            found.add(value.removeprefix(_ENV))
    return tuple(sorted(found))


# How an address of `url` may begin.
SCHEMES = ("https", "http", "s3", "gs", "az", "ssh", "file")
BEGINNINGS = "a url begins with " + ", ".join(f"`{s}:`" for s in SCHEMES)


def extras(data: Data) -> tuple[str, ...]:
    """The optional dependencies of this tool that fetching it may take."""
    args = dict(data.args)
    # An artifact that is deployed is at an address, or where the commit of its tag has it: also in DVC.
    address = args["url"] if data.source == "url" else args["name"] if data.source == "deployed" else ""
    scheme, _, rest = str(address).partition(":")
    if data.source == "url" or rest.startswith("//"):
        return () if scheme in ("http", "https", "file") else ("remote",)
    if data.source == "sql":
        where = str(args["connection"])
        # What a variable holds is not known here.
        client = where.startswith((_ENV, "postgres:", "postgresql:", "postgresql+", "postgres+"))
        return (
            *(("data",) if args.get("format") in ("parquet", "arrow") else ()),
            *(("sql",) if client else ()),
        )
    return ("remote",) if data.source in ("dvc", "registry", "deployed") else ()


def variable(value: Value) -> str | None:
    """`NAME` of an argument `"env:NAME"`; None for any other."""
    return value.removeprefix(_ENV) if isinstance(value, str) and value.startswith(_ENV) else None


def _basename(data: Data, args: dict[str, Value]) -> str:
    if data.source == "sql":
        return f"{data.name}.{args.get('format', 'csv')}"
    address = str(args.get("url") or (args.get("name") if data.source == "deployed" else None) or "")
    # `file:../x.csv` has no `//`, and `git@host:owner/name` is no URL.
    in_address = urlsplit(address).path if "://" in address or address.startswith("file:") else ""
    said = str(args.get("out") or args.get("path") or in_address or data.name)
    if data.source == "dvc":
        said = said.removesuffix(".dvc")
    name = _ODD.sub("_", posixpath.basename(unquote(said).rstrip("/")))
    return name if name.strip(".") else data.name
