"""The project in the file system: finds the pipeline file, compiles it, and keeps the compiled form.

What is compiled once is read back until something that it was made of changes: the texts of the pipeline's
files and of its parameter files, whether paths that it names exist, the tool's version, the overrides. The
fast path imports neither the parser nor anything else that is heavy.
"""

from __future__ import annotations

import glob
import marshal
import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from blake3 import blake3

from mlflowc import __version__, plainfile
from mlflowc.errors import Failure
from mlflowc.garbage import no_collecting

if TYPE_CHECKING:
    from mlflowc.compile import Compiled
    from mlflowc.ir import model as ir
    from mlflowc.resolve.loader import Unreadable

DEFAULT = "pipeline.mlpipe"
STATE = ".mlpipe"
# A pipeline of 10,000 stages has about 3 MB.
LARGEST = 32 * 1024 * 1024
SHOWN = 20  # findings, by commands other than `check`
_KEPT = 16  # compiled forms in the cache: one for each file and set of overrides
_NONE: Mapping[str, str] = MappingProxyType({})


class Project(NamedTuple):
    """A compiled pipeline and its folder, which all its paths are relative to."""

    root: Path
    pipeline: ir.Pipeline


def load(file: str | None = None, *, overrides: Mapping[str, str] = _NONE) -> Project:
    """The project of `file`, or of the pipeline file in the current folder, with `--set` overrides.

    Prints errors, and the warnings of what was newly compiled, to stderr. Raises Failure where there is no
    such file, where it has errors, or where an override does not fit.
    """
    root, name = locate(file)
    text = _text(root, name)
    cached = root / STATE / "compiled" / _cache_name(name, overrides)
    pipeline = _fresh(cached, root, text)
    if pipeline is None:
        # Until the compiler's trees are gone again: see there.
        with no_collecting():
            pipeline = _compile_and_keep(root, name, text, overrides, cached)
    return Project(root, pipeline)


def _compile_and_keep(
    root: Path, name: str, text: str, overrides: Mapping[str, str], cached: Path
) -> ir.Pipeline:
    compiled = _compile(root, name, text, overrides)
    if compiled.diagnostics:
        _print(compiled)
    if compiled.pipeline is None:
        raise Failure(f"`{name}` does not compile", help="`mlpipec explain CODE` says more of a message")
    _keep(cached, compiled, text)
    return compiled.pipeline


def repository_root(root: Path) -> Path:
    """The folder with `.git` above (or at) `root`; `root` itself outside of a repository."""
    for folder in (root, *root.parents):
        if (folder / ".git").exists():
            return folder
    return root


def fingerprint(file: str | None = None, *, overrides: Mapping[str, str] = _NONE) -> tuple[Path, str] | None:
    """The project folder and a name for what `load` would give, where that needs no compiling; else None.

    Equal names mean equal pipelines. It reads the compiled form and does not unpack it. Raises as `load`
    does.
    """
    root, name = locate(file)
    cached = root / STATE / "compiled" / _cache_name(name, overrides)
    data = _current(cached, root, _text(root, name))
    return None if data is None else (root, f"{cached.name} {blake3(data).hexdigest()}")


def clean(file: str | None = None, *, overrides: Mapping[str, str] = _NONE) -> ir.Pipeline | None:
    """The pipeline, where `load` compiled it without a single finding and all is as it was; else None.

    Findings depend on nothing but what the pipeline depends on. Raises Failure where there is no such file.
    """
    root, name = locate(file)
    text = read_text(root / name)
    if not isinstance(text, str):
        return None
    return _fresh(root / STATE / "compiled" / _cache_name(name, overrides), root, text, clean=True)


def compile_file(file: str | None = None, *, overrides: Mapping[str, str] = _NONE) -> Compiled:
    """Compiles anew, prints nothing, and gives all there is: for `check` and editors.

    Text that is none, and an empty file, are findings as others are. Raises Failure where there is no such
    file, or where an override does not fit.
    """
    root, name = locate(file)
    text = read_text(root / name)
    if isinstance(text, str):
        return _compile(root, name, text, overrides)
    if text.offset is None:
        raise Failure(f"`{name}` cannot be read: {text.reason}")
    return _no_text(name, (root / name).read_bytes(), text)


def compile_with(
    texts: Mapping[str, str], file: str | None = None, *, overrides: Mapping[str, str] = _NONE
) -> Compiled:
    """What would come of compiling if the files named in `texts`, relative to the project, had these texts.

    Raises as `compile_file`.
    """
    root, name = locate(file)
    text = texts.get(name) or _text(root, name)
    return _compile(root, name, text, overrides, texts)


def _no_text(name: str, data: bytes, found: Unreadable) -> Compiled:
    """What there is to say of a file that holds bytes which are no text, shown where they stand."""
    import dataclasses

    from mlflowc.compile import Compiled
    from mlflowc.diagnostic import Diagnostic
    from mlflowc.resolve.loader import Asked
    from mlflowc.span import Source, Span
    from mlflowc.syntax import checks, decode

    told = decode.decode(name, data)
    source = Source(name, data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace"))
    at = source.text.find("\0" if isinstance(told, Source) else "\ufffd")
    span = Span(name, max(at, 0), max(at, 0) + 1)
    if isinstance(told, Source):  # UTF-8, with null bytes
        told = Diagnostic.of(checks.NOT_UTF8, f"`{name}` cannot be read: {found.reason}", span)
    return Compiled(None, None, (dataclasses.replace(told, span=span),), {name: source}, Asked({}, {}, {}))


# --- finding -----------------------------------------------------------------------------------


def locate(file: str | None) -> tuple[Path, str]:
    """The project folder, and the name of the pipeline file in it. Raises Failure where it cannot be told."""
    if file is not None:
        path = Path(file)
        if path.is_dir():
            return _in_folder(path.resolve(), file)
        if not path.exists():
            raise Failure(f"there is no file `{file}`", help=_others(path.parent), code=2)
        return path.parent.resolve(), path.name
    return _in_folder(Path.cwd(), "this folder")


def _in_folder(folder: Path, words: str) -> tuple[Path, str]:
    if (folder / DEFAULT).is_file():
        return folder, DEFAULT
    try:
        with os.scandir(folder):
            found = _pipelines(folder)
    except OSError as e:
        raise Failure(f"`{folder}` cannot be read: {e.strerror}") from None
    if len(found) == 1:
        return folder, found[0]
    if found:
        raise Failure(
            f"{words} has several pipeline files: {', '.join(found)}", help=f"name one: -f {found[0]}", code=2
        )
    above = next((p for p in folder.parents if _is_project(p)), None)
    help = "`mlpipec init` writes one"
    if above:
        import shlex  # only for this message

        help = f"there is one in `{above}`: mlpipec -C {shlex.quote(str(above))} …"
    raise Failure(f"{words} has no pipeline file", help=help, code=2)


def _pipelines(folder: Path) -> list[str]:
    """The pipeline files of a folder; none where it cannot be read. The cache `.mlpipe/` is a folder."""
    try:
        return sorted(e.name for e in os.scandir(folder) if e.name.endswith(".mlpipe") and e.is_file())
    except OSError:
        return []


def _is_project(folder: Path) -> bool:
    found = _pipelines(folder)
    # Any other file of that ending may lie anywhere; one that was compiled has its cache beside it.
    return DEFAULT in found or (bool(found) and (folder / STATE).is_dir())


def _others(folder: Path) -> str:
    found = _pipelines(folder)
    return f"there is {', '.join(found[:5])}" if found else "`mlpipec init` writes one"


def _text(root: Path, name: str) -> str:
    text = read_text(root / name)
    if not isinstance(text, str):
        help = "the pipeline file is text in UTF-8" if "UTF-8" in text.reason else ""
        raise Failure(f"`{name}` cannot be read: {text.reason}", help=help)
    if not text or text.isspace():
        raise Failure(
            f"`{name}` is empty", help="`mlpipec init` writes a starter; a file begins with `mlpipe 1`"
        )
    return text


def read_text(path: Path) -> str | Unreadable:
    """The text of a file, or why there is none."""
    try:
        with os.fdopen(plainfile.opened(path), "rb") as stream:
            data = stream.read(LARGEST + 1)
    except OSError as e:
        return _unreadable(_reason(e))
    if len(data) > LARGEST:
        return _unreadable(f"it is larger than {LARGEST // 1024**2} MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        return _unreadable(f"it is not UTF-8: byte 0x{data[e.start]:02x} in line {line}", e.start)
    at = text.find("\0")
    return text if at < 0 else _unreadable("it holds null bytes: it is no text", at)


def _unreadable(reason: str, offset: int | None = None) -> Unreadable:
    from mlflowc.resolve.loader import Unreadable  # not on the fast path

    return Unreadable(reason, offset)


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, IsADirectoryError):
        return "it is a folder"
    if isinstance(error, PermissionError):
        return "permission is denied"
    return (error.strerror or str(error)).lower()


# --- compiling ---------------------------------------------------------------------------------


class Disk:
    """The loader of a real project folder; what is in `texts` has that text instead."""

    def __init__(self, root: Path, texts: Mapping[str, str] = _NONE) -> None:
        self._root = root
        self._prefix = os.fspath(root)
        self._texts = texts

    def read(self, path: str) -> str | Unreadable:
        """See `mlflowc.resolve.loader.Loader`."""
        if path in self._texts:
            return self._texts[path]
        return read_text(self._root / path)

    def kind(self, path: str) -> str:
        """See `mlflowc.resolve.loader.Loader`."""
        return kind_of(os.path.join(self._prefix, path))  # noqa: PTH118 - many of them, and Path is slow

    def glob(self, pattern: str) -> tuple[str, ...]:
        """See `mlflowc.resolve.loader.Loader`. Hidden files match only a pattern that says so."""
        found = glob.glob(pattern, root_dir=self._prefix, recursive=True)  # noqa: PTH207 - hidden files
        return tuple(sorted(p.replace(os.sep, "/") for p in found if self.kind(p) == "file"))

    def stdlib(self, name: str) -> str | None:
        """See `mlflowc.resolve.loader.Loader`."""
        from mlflowc import resources

        return resources.stdlib(name)

    def stdlib_asset(self, name: str) -> bytes | None:
        """See `mlflowc.resolve.loader.Loader`."""
        from mlflowc import resources

        return resources.stdlib_asset(name)

    def stdlib_names(self) -> tuple[str, ...]:
        """See `mlflowc.resolve.loader.Loader`."""
        from mlflowc import resources

        return resources.stdlib_names()


def kind_of(path: str) -> str:
    """`file`, `dir`, or `missing`; symbolic links are followed. What is neither a file nor a folder counts as
    a file: who reads it says what it is."""
    try:
        return "dir" if stat.S_ISDIR(os.stat(path).st_mode) else "file"  # noqa: PTH116
    except (OSError, ValueError):
        return "missing"


def _compile(
    root: Path, name: str, text: str, overrides: Mapping[str, str], texts: Mapping[str, str] = _NONE
) -> Compiled:
    from mlflowc.compile import compile_text  # lark and yaml: not on the fast path

    with no_collecting():
        return compile_text(name, text, Disk(root, texts), overrides)


def _print(compiled: Compiled) -> None:
    from mlflowc import terminal
    from mlflowc.diagnostic import Severity
    from mlflowc.render import order, text

    found = order.in_order(compiled.diagnostics, tuple(compiled.sources))
    # Whoever runs a pipeline wants to see it run: its errors, or the first of many warnings.
    errors = [d for d in found if d.severity is Severity.ERROR]
    shown = (errors or found)[:SHOWN]
    print(
        text.render(shown, compiled.sources, stream=sys.stderr, width=terminal.width()),
        end="",
        file=sys.stderr,
    )
    if len(shown) < len(found):
        print(f"and {len(found) - len(shown):,} more: `mlpipec check` shows all", file=sys.stderr)


# --- the compiled form, kept -------------------------------------------------------------------


def _cache_name(name: str, overrides: Mapping[str, str]) -> str:
    # Not marshal: what it writes depends on how often an object is referred to.
    key = repr([name, sorted(overrides.items()), __version__, sys.version_info[:3], _own_sources()])
    return blake3(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _own_sources() -> list[tuple[str, int]]:
    """In a checkout of this program its own sources count, too: its version says nothing there."""
    package = Path(__file__).parent
    if not (package.parent / "pyproject.toml").is_file():
        return []
    folders = [package / f for f in (".", "check", "check/rules", "ir", "resolve", "syntax")]
    folders += [package.parent / "grammar", package.parent / "stdlib"]
    return sorted(
        (e.path, e.stat().st_mtime_ns) for f in folders if f.is_dir() for e in os.scandir(f) if e.is_file()
    )


def _digest(text: str) -> str:
    return blake3(text.encode("utf-8", "surrogatepass")).hexdigest()


def _fresh(cached: Path, root: Path, text: str, *, clean: bool = False) -> ir.Pipeline | None:
    """The kept pipeline, if all that it was made of is as it was; with `clean`, if nothing was found, too."""
    packed = _current(cached, root, text, clean=clean)
    if packed is None:
        return None
    from mlflowc.ir import codec  # its dataclasses take longer to make than a fingerprint

    try:
        return codec.unpack(packed)
    except (ValueError, EOFError, TypeError, KeyError):
        return None


def _current(cached: Path, root: Path, text: str, *, clean: bool = False) -> bytes | None:
    """The packed pipeline, if all that it was made of is as it was."""
    try:
        # Views: the compiled form of a large pipeline is not copied more often than it has to be.
        content = memoryview(plainfile.read(cached))
        # A flipped bit would be another command.
        if blake3(content[32:]).digest() != content[:32]:
            return None
        asked, packed = marshal.loads(content[32:])
        if clean and not asked["clean"]:
            return None
        if asked["main"] != _digest(text) or not _same(asked, root) or not isinstance(packed, bytes):
            return None
        return packed
    except (OSError, ValueError, EOFError, TypeError, KeyError):
        return None  # there is none, or it is damaged: compiling makes a new one


def _same(asked: Mapping[str, Any], root: Path) -> bool:
    prefix = os.fspath(root)
    for path, digest in asked["texts"].items():
        text = read_text(root / path)
        if (_digest(text) if isinstance(text, str) else None) != digest:
            return False
    if any(kind_of(os.path.join(prefix, p)) != kind for p, kind in asked["kinds"].items()):  # noqa: PTH118
        return False
    return all(_any(prefix, pattern) == some for pattern, some in asked["globs"].items())


def _any(prefix: str, pattern: str) -> bool:
    """Whether some file matches: all that a pipeline without errors depends on."""
    return any(
        kind_of(os.path.join(prefix, p)) == "file"  # noqa: PTH118
        for p in glob.iglob(pattern, root_dir=prefix, recursive=True)  # noqa: PTH207
    )


def _keep(cached: Path, compiled: Compiled, text: str) -> None:
    """Writes the compiled form for the next time. A folder that cannot be written only costs time."""
    assert compiled.pipeline is not None
    from mlflowc.ir import codec

    data = marshal.dumps((_questions(compiled, text), codec.pack(compiled.pipeline)))
    folder = cached.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        ignore = folder.parent / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
        temporary = folder / f".new-{os.getpid()}-{cached.name}"
        try:
            temporary.write_bytes(blake3(data).digest() + data)
            temporary.replace(cached)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _prune(folder)
    except OSError:
        return


def _questions(compiled: Compiled, text: str) -> dict[str, Any]:
    asked = compiled.asked
    return {
        "clean": not compiled.diagnostics,
        "main": _digest(text),
        "texts": {p: None if t is None else _digest(t) for p, t in asked.texts.items()},
        "kinds": dict(asked.kinds),
        "globs": {p: bool(found) for p, found in asked.globs.items()},
    }


def _prune(folder: Path) -> None:
    kept = sorted((e.stat().st_mtime_ns, e.path) for e in os.scandir(folder) if not e.name.startswith("."))
    for _, path in kept[:-_KEPT]:
        Path(path).unlink(missing_ok=True)
