"""What keeps the code readable and quick to start: layers, no cycles, small modules, a light fast path."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import networkx
import pytest

from tests.conftest import CHECKOUT

PYPROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
PACKAGES: list[str] = PYPROJECT["tool"]["setuptools"]["packages"]
ROOTS: dict[str, str] = PYPROJECT["tool"]["setuptools"]["package-dir"]

# Too heavy for a command that has nothing to do.
HEAVY = {"lark", "jinja2", "markdown_it", "yaml", "duckdb", "pyarrow", "obstore", "paramiko", "vl_convert"}

MODULE_LINES = 500
FUNCTION_LINES = 60  # without the docstring
# Longer for a reason.
LONG_MODULES = {
    "mlflowc.ir.model": "one small value type after another; splitting it would scatter the contract"
}


def folder_of(package: str) -> Path:
    """Where the source of a package is: three of them are top-level folders."""
    root = max((name for name in ROOTS if f"{package}.".startswith(f"{name}.")), key=len)
    return CHECKOUT / ROOTS[root] / Path(*package.removeprefix(root).strip(".").split("."))


def modules() -> Iterator[tuple[str, Path]]:
    """All modules of the package by their installed names."""
    for package in PACKAGES:
        for path in sorted(folder_of(package).glob("*.py")):
            yield package if path.stem == "__init__" else f"{package}.{path.stem}", path


MODULES = dict(modules())


def imports(module: str, path: Path) -> Iterator[str]:
    """The modules of this project that `module` imports anywhere, also inside functions."""
    package = module if path.stem == "__init__" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*up, base] if base else up)
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            found = name if name in MODULES else name.rpartition(".")[0]
            if found in MODULES and found != module:
                yield found


def test_layers_hold() -> None:
    command = [sys.executable, "tests/support/layers.py", "layers"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_module_imports_itself_in_a_circle() -> None:
    graph: networkx.DiGraph[str] = networkx.DiGraph()
    for module, path in MODULES.items():
        graph.add_edges_from((module, other) for other in imports(module, path))
    cycles = [sorted(group) for group in networkx.strongly_connected_components(graph) if len(group) > 1]
    assert cycles == []
    assert graph.number_of_edges() > len(MODULES), "the imports were not found"


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    first = function.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


@pytest.mark.parametrize("module", MODULES)
def test_modules_and_functions_are_small(module: str) -> None:
    text = MODULES[module].read_text()
    assert len(text.splitlines()) < MODULE_LINES or module in LONG_MODULES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert length(node) <= FUNCTION_LINES, f"{node.name} is too long"


def test_every_package_on_disk_is_listed() -> None:
    """An unlisted subpackage would silently be absent from the wheel."""
    found = set()
    for root, folder in ROOTS.items():
        for path in (CHECKOUT / folder).rglob("*.py"):
            parts = path.parent.relative_to(CHECKOUT / folder).parts
            found.add(".".join([root, *parts]))
    assert sorted(found) == sorted(PACKAGES)
    assert sorted(PACKAGES) == PACKAGES


def test_public_modules_say_what_they_are() -> None:
    silent = [
        module for module, path in MODULES.items() if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def loaded(cwd: Path, *arguments: str) -> set[str]:
    """The modules that are loaded when `mlpipec ARGUMENTS` ends, which must end well."""
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print(*sys.modules, file=open('modules.txt', 'w')))\n"
        "from mlflowc.__main__ import main\n"
        f"sys.argv = ['mlpipec', *{arguments!r}]\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return set((cwd / "modules.txt").read_text().split())


PIPELINE = """\
mlpipe 1

pipeline small

stage hello {
  out greeting: text = "greeting.txt"
  run = "echo hello > {{greeting}}"
}

stage shout {
  in  greeting = hello.greeting
  out loud: text = "loud.txt"
  run = "tr a-z A-Z < {{greeting}} > {{loud}}"
}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "small.mlpipe").write_text(PIPELINE)
    return tmp_path


def test_nothing_to_do_loads_nothing_heavy(project: Path) -> None:
    loaded(project, "run")
    assert (project / "loud.txt").read_text() == "HELLO\n"
    assert loaded(project, "run") & HEAVY == set()


def test_exec_on_a_hit_loads_nothing_heavy(project: Path) -> None:
    loaded(project, "run")
    assert loaded(project, "exec", "hello") & HEAVY == set()


# Each takes about as long as all that a hit needs of ours.
SLOW = {"click", "concurrent.futures", "dataclasses", "inspect", "logging", "platform", "mlflowc.cli"}


def test_exec_with_nothing_but_a_bundle_loads_nothing_slow(project: Path) -> None:
    (project / "small.mlpipe").write_text(PIPELINE + "\non push { run = [shout] }\n")
    loaded(project, "exec", "shout", "--on", "push")
    loaded(project, "exec", "shout", "--on", "push")
    shutil.rmtree(project / ".mlpipe" / "states")
    shutil.rmtree(project / ".mlpipe" / "cache")
    for name in (".mlpipe/index.db", "mlpipe.lock", "greeting.txt", "loud.txt"):
        (project / name).unlink()
    modules = loaded(project, "exec", "shout", "--on", "push")
    assert (project / "loud.txt").read_text() == "HELLO\n"
    assert modules & (HEAVY | SLOW) == set()
    assert "mlflowc.runtime.bundle" in modules


def test_version_and_help_load_nothing_heavy(project: Path) -> None:
    assert loaded(project, "--version") & HEAVY == set()
    assert loaded(project, "--help") & HEAVY == set()
