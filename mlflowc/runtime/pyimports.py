"""What a Python file or a notebook brings in, found in its text: never imported, never run.

The result is a list of facts, plain JSON, so that it can be kept by the file's content. What the facts
mean in a project, with its folders and its search path, `mlflowc.runtime.closure` works out.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterator
from typing import TypeAlias

# ["import", "a.b"]                      import a.b, import_module("a.b")
# ["main", "a.b"]                        "-m", "a.b" in a list of words, run_module("a.b")
# ["from", level, "a.b", ["x", "*"]]     from ..a.b import x, *
# ["under", level, "a.b"]                import_module(f"a.b.{name}"): any module below a.b
# ["path", "file"|"cwd", "../lib", first] sys.path.insert(0, ...), from the file or the working folder
# ["all", ["x"]]                         __all__ of a package, for `import *`
# ["file", "tools/x.py"]                 a literal that may name a script
# ["shell", "python x.py"]               a command line
Fact: TypeAlias = list[object]

_SCRIPT = re.compile(r"[^\n\0]{1,300}\.(?:py|ipynb|sh|bash)")
_MODULE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_FOLDER = re.compile(r"[\w.][\w./-]*")
_LONGEST_NAME = 100
_STARTS_PROCESS = re.compile(
    r"os\.(?:system|popen)|subprocess\.(?:run|call|check_call|check_output|Popen|getoutput|getstatusoutput)"
)
_SAME_PATH = re.compile(r"str|(?:os\.)?fspath|(?:os\.path\.)?(?:abspath|realpath|normpath|expanduser)")
_UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)


def facts(source: bytes) -> list[Fact]:
    """The facts of a Python file; none for one that is not Python (its bytes count all the same)."""
    tree = parsed(source)
    return [] if tree is None else _unique(_Facts(tree).collect())


# What reading a notebook can raise where the file is JSON of another shape, or none.
_NO_NOTEBOOK = (ValueError, TypeError, AttributeError, LookupError, RecursionError)


def notebook_facts(source: bytes) -> list[Fact]:
    """The facts of a notebook's code cells, with what `!command` and `%run file` start."""
    try:
        code = "\n".join(_code_cells(source))
    except _NO_NOTEBOOK:
        return []
    found: list[Fact] = []
    lines = []
    for line in code.split("\n"):
        bare = line.lstrip()
        if bare.startswith(("!", "%sx ", "%%bash", "%%sh", "%%script")):
            found.append(["shell", bare.lstrip("!%").removeprefix("sx ")])
        elif match := re.match(r"%run\s+(?:-[a-z]+\s+)*(.+)", bare):
            found.append(["shell", "python " + match[1]])
        if bare.startswith(("!", "%", "?")):
            # Keeps the block that the line stands in whole.
            lines.append(line[: len(line) - len(bare)] + "pass")
        else:
            lines.append(line)
    return _unique([*found, *facts("\n".join(lines).encode())])


def normalised(source: bytes) -> bytes:
    """The syntax tree as bytes: the same for sources that differ in comments and formatting only.

    Docstrings are kept, since programs read them (`argparse`, `__doc__`). The same on every supported
    Python. A source that does not parse is returned as it is.
    """
    tree = parsed(source)
    if tree is None:
        return source
    try:
        return "".join(_dump(tree)).encode("utf-8", "surrogatepass")
    except RecursionError:
        return source


def normalised_notebook(source: bytes) -> bytes:
    """A notebook's code cells only: outputs, counters, Markdown and metadata do not count."""
    try:
        return json.dumps(_code_cells(source)).encode()
    except _NO_NOTEBOOK:
        return source


def parsed(source: bytes) -> ast.Module | None:
    """The syntax tree; None for what is no Python. Says nothing of what else is odd about it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except _UNREADABLE:
        return None


def _code_cells(source: bytes) -> list[str]:
    cells = json.loads(source)["cells"]
    texts = [cell["source"] for cell in cells if cell.get("cell_type") == "code"]
    return ["".join(text) for text in texts]


def _dump(node: object) -> Iterator[str]:
    # Not `ast.dump`: what it prints for empty fields changed between Python versions, and keys must not.
    if isinstance(node, ast.AST):
        yield type(node).__name__ + "("
        for name in node._fields:
            value = getattr(node, name, None)
            if value is None and not (name == "value" and isinstance(node, ast.Constant)):
                continue
            if name in ("ctx", "type_comment", "kind", "type_ignores") or value == []:
                continue
            if isinstance(node, ast.JoinedStr) and isinstance(value, list):
                # Python 3.12 leaves an empty text behind a nested format; the others do not.
                value = [v for v in value if _text(v) != ""]
            yield name + "="
            yield from _dump(value)
            yield ","
        yield ")"
    elif isinstance(node, list):
        yield "["
        for item in node:
            yield from _dump(item)
            yield ","
        yield "]"
    elif isinstance(node, int) and not isinstance(node, bool):
        yield hex(node)  # the decimal form of a huge one is refused by Python
    else:
        yield ascii(node)  # what `repr` escapes changes with Python's tables of characters


def _unique(found: list[Fact]) -> list[Fact]:
    seen: dict[str, Fact] = {json.dumps(fact): fact for fact in found}
    return list(seen.values())


def _dotted(node: ast.expr) -> str:
    """`a.b.c` for names and attributes, else an empty string."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([node.id, *reversed(parts)])


def _text(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


class _Facts:
    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.found: list[Fact] = []
        # Names bound once to an expression: `ROOT = Path(__file__).parent` is used in the lines below it.
        self.names: dict[str, ast.expr] = {}
        # Whether it imports modules, or adds folders to the search path, that only running would tell.
        self.any_module = False
        self.any_folder = False

    def collect(self) -> list[Fact]:
        nodes = list(_walk(self.tree))
        for node in nodes:
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self.names.setdefault(name, value)
        for node in nodes:
            self._node(node)
        if self.any_module or self.any_folder:
            self._literals(nodes)
        return self.found

    def _literals(self, nodes: list[ast.AST]) -> None:
        """What is imported, or where it is looked for, is computed: any text of the file may be a part."""
        for text in (t for n in nodes if isinstance(n, ast.Constant) and (t := _text(n))):
            if self.any_module and len(text) < _LONGEST_NAME and _MODULE.fullmatch(text):
                self.found.append(["import", text])
            if self.any_folder and len(text) < _LONGEST_NAME and _FOLDER.fullmatch(text):
                self.found += [["path", "cwd", text, False], ["path", "file", f"./../{text}", False]]

    def _node(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            self.found += [["import", alias.name] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            self.found.append(["from", node.level, node.module or "", [alias.name for alias in node.names]])
        elif isinstance(node, ast.Call):
            self._call(node)
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, str) and _SCRIPT.fullmatch(node.value):
                self.found.append(["file", node.value])
        elif isinstance(node, ast.List | ast.Tuple):
            for flag, value in zip(node.elts, node.elts[1:], strict=False):
                name = _text(value)
                if _text(flag) == "-m" and name and _MODULE.fullmatch(name):
                    self.found.append(["main", name])
        elif isinstance(node, ast.Assign | ast.AugAssign):
            self._assign(node)

    def _assign(self, node: ast.Assign | ast.AugAssign) -> None:
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        name = _dotted(target) if isinstance(target, ast.Name | ast.Attribute) else ""
        if isinstance(target, ast.Subscript):
            name = _dotted(target.value)
        if name == "sys.path":
            for part in ast.walk(node.value):
                if isinstance(part, ast.List):
                    for element in part.elts:
                        self._search(element, first=isinstance(node, ast.Assign))
        elif name == "__all__" and isinstance(node.value, ast.List | ast.Tuple):
            self.found.append(["all", [t for e in node.value.elts if (t := _text(e))]])

    def _call(self, node: ast.Call) -> None:
        name = _dotted(node.func)
        if name in ("sys.path.insert", "sys.path.append", "site.addsitedir") and node.args:
            self._search(node.args[-1], first=name == "sys.path.insert")
        elif name == "sys.path.extend" and node.args and isinstance(node.args[0], ast.List | ast.Tuple):
            for element in node.args[0].elts:
                self._search(element, first=False)
        elif name.rsplit(".", 1)[-1] in ("import_module", "__import__", "run_module") and node.args:
            self._dynamic(node)
        elif name in ("pkgutil.iter_modules", "pkgutil.walk_packages", "iter_modules", "walk_packages"):
            self.found.append(["under", 1, ""])
        elif _STARTS_PROCESS.fullmatch(name) and node.args and (text := _text(node.args[0])):
            self.found.append(["shell", text])

    def _dynamic(self, node: ast.Call) -> None:
        """`import_module("a.b")`, and what stands before the first unknown part of a computed name."""
        argument = self._resolved(node.args[0])
        text = _text(argument)
        below = False
        if text is None:
            if isinstance(argument, ast.JoinedStr) and argument.values:
                text = _text(argument.values[0])
                if text is None and isinstance(argument.values[0], ast.FormattedValue):
                    text = self._own_package(argument.values)
            elif isinstance(argument, ast.BinOp) and isinstance(argument.op, ast.Add):
                text = _text(argument.left)
            if not text or "." not in text:
                self.any_module = True
                return
            text, below = text[: text.rindex(".") + 1], True
        level = len(text) - len(text.lstrip("."))
        module = text.strip(".")
        if below:
            self.found.append(["under", level, module])
            return
        anchors = [*node.args[1:2], *(k.value for k in node.keywords if k.arg == "package")]
        package = _text(anchors[0]) if anchors else None
        if level and package:
            base = package.split(".")
            module = ".".join([*base[: len(base) - level + 1], *([module] if module else [])])
            level = 0
        if level:
            head, _, last = module.rpartition(".")
            self.found.append(["from", level, head, [last] if last else []])
        elif _MODULE.fullmatch(module):
            self.found.append(["main" if _dotted(node.func).endswith("run_module") else "import", module])

    @staticmethod
    def _own_package(values: list[ast.expr]) -> str | None:
        """`f"{__package__}.plugins.{name}"` starts at the file's own package."""
        first = values[0]
        if isinstance(first, ast.FormattedValue) and _dotted(first.value) in ("__package__", "__name__"):
            return "." + (_text(values[1]) or ".").lstrip(".") if len(values) > 1 else None
        return None

    def _search(self, node: ast.expr, first: bool) -> None:
        path = self._path(node)
        if path is not None:
            self.found.append(["path", path[0], path[1], first])
        else:
            self.any_folder = True

    def _resolved(self, node: ast.expr) -> ast.expr:
        for _ in range(8):
            if not (isinstance(node, ast.Name) and node.id in self.names):
                return node
            node = self.names[node.id]
        return node

    def _path(self, node: ast.expr, depth: int = 0) -> tuple[str, str] | None:
        """A path expression as (what it starts from, the rest); `__file__` is ("file", "."), so that its
        folder is ("file", "./..")."""
        if depth > 30:
            return None
        node = self._resolved(node)
        name = _dotted(node)
        if name == "__file__":
            return ("file", ".")
        if (text := _text(node)) is not None:
            return ("cwd", text or ".")
        if name in ("os.pardir", "os.path.pardir"):
            return ("cwd", "..")
        if name in ("os.curdir", "os.path.curdir"):
            return ("cwd", ".")
        if isinstance(node, ast.Attribute) and node.attr == "parent":
            return self._joined(self._path(node.value, depth + 1), "..")
        match node:
            case ast.Subscript(
                value=ast.Attribute(attr="parents", value=base), slice=ast.Constant(value=int(n))
            ):
                return self._joined(self._path(base, depth + 1), "/".join([".."] * (min(n, 50) + 1)))
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div | ast.Add):
            left, right = self._path(node.left, depth + 1), self._path(node.right, depth + 1)
            return self._joined(left, right[1]) if right and right[0] == "cwd" else None
        if isinstance(node, ast.JoinedStr):
            return self._formatted(node, depth)
        return self._path_call(node, depth) if isinstance(node, ast.Call) else None

    def _formatted(self, node: ast.JoinedStr, depth: int) -> tuple[str, str] | None:
        whole: tuple[str, str] | None = None
        for value in node.values:
            part = self._path(value.value if isinstance(value, ast.FormattedValue) else value, depth + 1)
            if part is None:
                return None
            whole = part if whole is None else (whole[0], whole[1] + "/" + part[1])
        return whole

    def _path_call(self, node: ast.Call, depth: int) -> tuple[str, str] | None:
        name = _dotted(node.func)
        if name in ("os.getcwd", "getcwd", "Path.cwd", "pathlib.Path.cwd"):
            return ("cwd", ".")
        if isinstance(node.func, ast.Attribute) and node.func.attr in (
            "resolve", "absolute", "as_posix", "expanduser", "joinpath",
        ):  # fmt: skip
            return self._join_all([node.func.value, *node.args], depth)
        if not node.args:
            return None
        if name in ("os.path.dirname", "dirname", "path.dirname"):
            return self._joined(self._path(node.args[0], depth + 1), "..")
        if _SAME_PATH.fullmatch(name):
            return self._path(node.args[0], depth + 1)
        if name.rsplit(".", 1)[-1] in ("join", "Path", "PurePath", "PosixPath"):
            return self._join_all(node.args, depth)
        return None

    def _join_all(self, nodes: list[ast.expr], depth: int) -> tuple[str, str] | None:
        whole = self._path(nodes[0], depth + 1)
        for node in nodes[1:]:
            part = self._path(node, depth + 1)
            if part is None or part[0] != "cwd":
                return None
            whole = self._joined(whole, part[1])
        return whole

    @staticmethod
    def _joined(path: tuple[str, str] | None, rest: str) -> tuple[str, str] | None:
        return None if path is None else (path[0], f"{path[1]}/{rest.lstrip('/')}")


def _walk(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes in the order of the source, but the bodies of `if TYPE_CHECKING:`, which never run."""
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        yield node
        if isinstance(node, ast.If) and _dotted(node.test).rsplit(".", 1)[-1] == "TYPE_CHECKING":
            todo += reversed(node.orelse)
        else:
            todo += reversed(list(ast.iter_child_nodes(node)))
