"""What a project has already: scripts with the files they read and write, parameters, an environment.

Found in the text of the scripts; nothing is run. A starter has to be right rather than complete: what is not
certain is left to the user.
"""

from __future__ import annotations

import ast
import contextlib
import posixpath
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

# Roles in the order in which they depend on each other, with the names that their scripts usually have.
_ROLES = (
    ("load", "download", "fetch", "ingest", "get_data", "make_dataset"),
    ("prepare", "prepare_data", "preprocess", "preprocessing", "process", "clean", "split"),
    ("features", "featurize", "featurization", "build_features", "make_features"),
    ("train", "train_model", "training", "fit"),
    ("evaluate", "evaluate_model", "eval", "evaluation", "validate", "score"),
)
_FOLDERS = ("", "src", "scripts", "code", "pipeline", "pipelines", "stages")
_SKIPPED = frozenset(
    ["tests", "test", "docs", "node_modules", "venv", "env", "build", "dist", "site-packages"]
)
_READERS = frozenset(
    """read_csv read_table read_parquet read_json read_excel read_feather read_pickle loadtxt genfromtxt load
    imread read_text read_bytes scan_csv scan_parquet""".split()  # noqa: SIM905
)
_WRITERS = frozenset(
    """to_csv to_parquet to_json to_pickle to_feather to_excel savefig save savez savez_compressed savetxt
    save_model write_csv write_parquet write_json imsave imwrite dump write_text write_bytes""".split()  # noqa: SIM905
)
_PARAM_FILES = ("params.yaml", "params.yml", "params.toml", "params.json")


@dataclass(slots=True)
class Script:
    """A script that looks like a stage. Paths are those that it names itself; `needs` are the arguments
    that it cannot do without."""

    name: str
    path: str
    command: str
    reads: list[str] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    needs: list[str] = field(default_factory=list)
    params: bool = False


class Environment(NamedTuple):
    """An environment: the field that names its file (`requirements`, `lock`), the file, Python's version."""

    kind: str
    file: str
    python: str


class Project(NamedTuple):
    """What was found. `params` is the parameter file, `groups` its top-level names (with `.*` for groups)."""

    scripts: tuple[Script, ...]
    environment: Environment | None
    params: str | None
    groups: tuple[str, ...]
    branch: str
    notes: tuple[str, ...] = ()


def look(root: Path) -> Project:
    """Looks at the project in `root`."""
    params = next((name for name in _PARAM_FILES if (root / name).is_file()), None)
    groups = _groups(root / params) if params else ()
    notes = []
    if params and not groups:
        notes.append(f"`{params}` holds no parameters that can be used, so it was left out")
        params = None
    environment = _environment(root)
    if environment is None and (root / "poetry.lock").is_file():
        notes.append("for an environment, `poetry export -o requirements.txt` writes a file that `env` takes")
    scripts = tuple(_scripts(root, "python" if environment else "python3", params))
    return Project(scripts, environment, params, groups, _branch(root), tuple(notes))


def identifier(text: str, fallback: str) -> str:
    """`text` as a name of the language."""
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    return name if re.match(r"[a-z]", name) else fallback


# --- scripts


def _scripts(root: Path, python: str, params: str | None) -> Iterator[Script]:
    for role in _ROLES:
        places = (p for name in role for p in _places(root, name))
        found, tree = next(((p, t) for p in places if (t := _program(root / p)) is not None), (None, None))
        if found is None or tree is None:
            continue
        name = identifier(posixpath.splitext(posixpath.basename(found))[0], role[0])
        uses = Uses(tree)
        yield Script(
            name,
            found,
            _command(root, found, python, tree),
            [p for p in uses.reads if p != params],
            uses.writes,
            uses.needs,
            params is not None and params in uses.reads,
        )


def _program(path: Path) -> ast.Module | None:
    """A script that does something when it is run; None for a module that only defines what others import."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    return None if all(_defines(statement) for statement in tree.body) else tree


def _defines(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    definitions = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return isinstance(statement, (*definitions, ast.Assign, ast.AnnAssign))


def _places(root: Path, name: str) -> Iterator[str]:
    for folder in _FOLDERS:
        path = posixpath.join(folder, name + ".py")
        if (root / path).is_file():
            yield path
    # Names that need quotes are left to the user.
    for folder in ("", "src"):
        for inner in sorted((root / folder).glob(f"*/{name}.py")) + sorted(
            (root / folder).glob(f"*/*/{name}.py")
        ):
            path = inner.relative_to(root).as_posix()
            parts = path.split("/")[:-1]
            if _is_local(path) and not any(p.startswith(".") or p in _SKIPPED for p in parts):
                yield path


def _command(root: Path, path: str, python: str, tree: ast.Module) -> str:
    if not any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(tree)):
        return f"{python} {path}"
    # With relative imports it is part of a package, and runs as a module of it.
    start = "src/" if path.startswith("src/") and not (root / "src/__init__.py").exists() else ""
    module = path.removeprefix(start).removesuffix(".py").replace("/", ".")
    return f"{'PYTHONPATH=src ' if start else ''}{python} -m {module}"


class Uses:
    """Paths that a script names where it reads and writes, and arguments that it demands."""

    def __init__(self, tree: ast.Module) -> None:
        self.reads: list[str] = []
        self.writes: list[str] = []
        self.needs: list[str] = []
        self._names: dict[str, ast.expr] = {}
        for node in ast.walk(tree):
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self._names.setdefault(name, value)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                self._call(node)
        self.writes = [p for p in dict.fromkeys(self.writes) if _is_local(p)]
        self.reads = [p for p in dict.fromkeys(self.reads) if _is_local(p) and p not in self.writes]

    def _call(self, node: ast.Call) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        arguments = [self._path(a) for a in node.args]
        if isinstance(node.func, ast.Attribute) and (own := self._path(node.func.value)):
            # `Path("x").write_text(...)`: the path stands before the method.
            arguments.insert(0, own)
        paths = [a for a in arguments if a and "." in posixpath.basename(a)]
        if name == "open":
            mode = next((a for a in arguments[1:] if a and re.fullmatch(r"[rwaxbt+]+", a)), "r")
            for keyword in node.keywords:
                if keyword.arg == "mode":
                    mode = self._path(keyword.value) or "w"
            (self.writes if re.search(r"[wax+]", mode) else self.reads).extend(paths[:1])
        elif name in _WRITERS:
            self.writes.extend(paths[:1])
        elif name in _READERS:
            self.reads.extend(paths[:1])
        elif name == "add_argument":
            self._argument(node)

    def _argument(self, node: ast.Call) -> None:
        names = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        given = {k.arg: k.value for k in node.keywords}
        required = given.get("required")
        many = given.get("nargs")
        positional = bool(names) and not names[0].startswith("-")
        optional = "default" in given or (isinstance(many, ast.Constant) and many.value in ("?", "*"))
        if (positional and not optional) or (isinstance(required, ast.Constant) and required.value is True):
            self.needs.append(next((n for n in names if n.startswith("--")), names[0] if names else "?"))

    def _path(self, node: ast.expr, depth: int = 0) -> str | None:
        match node:
            case _ if depth > 10:
                return None
            case ast.Constant(value=str(text)):
                return text
            case ast.Name(id=name) if name in self._names:
                return self._path(self._names[name], depth + 1)
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                return self._joined([left, right], depth)
            case ast.Call(func=ast.Name(id="Path") | ast.Attribute(attr="Path" | "join"), args=args) if args:
                return self._joined(args, depth)
        return None

    def _joined(self, nodes: list[ast.expr], depth: int) -> str | None:
        parts = [self._path(n, depth + 1) for n in nodes]
        return None if None in parts else posixpath.join(*(p or "" for p in parts))


def _is_local(path: str) -> bool:
    # Spaces and placeholders: rather a text, or a name made at run time.
    return (
        bool(re.fullmatch(r"[\w.-]+(?:/[\w.-]+)*", path))
        and not path.startswith(("../", "/"))
        and ".." not in path
    )


# --- environment, parameters, branch


def _environment(root: Path) -> Environment | None:
    content = {}
    with contextlib.suppress(OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        content = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    project = content.get("project", {})
    python = _python(root, str(project.get("requires-python", "")))
    if (root / "uv.lock").is_file() and content:
        return Environment("lock", "uv.lock", python)
    if (root / "requirements.txt").is_file():
        return Environment("requirements", "requirements.txt", python)
    if project.get("dependencies"):
        return Environment("requirements", "pyproject.toml", python)
    return None


def _python(root: Path, demanded: str) -> str:
    try:
        pinned = re.match(r"3\.\d+", (root / ".python-version").read_text("utf-8").strip())
        if pinned:
            return pinned[0]
    except (OSError, UnicodeDecodeError):
        pass
    own = sys.version_info[1]
    least = re.search(r"(?:>=|~=|==)\s*3\.(\d+)", demanded)
    below = re.search(r"<\s*3\.(\d+)", demanded)
    minor = max(own, int(least[1])) if least else own
    if "==" in demanded and least:
        minor = int(least[1])
    return f"3.{min(minor, int(below[1]) - 1) if below else minor}"


def _groups(path: Path) -> tuple[str, ...]:
    import json

    import yaml

    try:
        text = path.read_text("utf-8")
        if path.suffix == ".toml":
            content: object = tomllib.loads(text)
        else:
            content = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError):
        return ()
    if not isinstance(content, dict):
        return ()
    usable = {k: v for k, v in content.items() if isinstance(k, str) and re.fullmatch(r"[a-z][a-z0-9_]*", k)}
    return tuple(f"{name}.*" if isinstance(value, dict) else name for name, value in usable.items())


def _branch(root: Path) -> str:
    for folder in (root, *root.parents):
        try:
            head = (folder / ".git/HEAD").read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        return "master" if head.strip() == "ref: refs/heads/master" else "main"
    return "main"
