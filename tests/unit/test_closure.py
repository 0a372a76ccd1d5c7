"""`code = auto`: the files that decide what a command does, and no others."""

# ruff: noqa: E501 - a case reads best on one line.

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflowc.ir.model import FileType, Keep, Output, Place, Stage
from mlflowc.runtime.closure import Scanner, code_files, normalised, normalised_file
from mlflowc.runtime.shell import UNKNOWN, invocations

STAGE = Stage("s", "s", Place("pipeline.mlpipe", 1, 1))


def project(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return root


def notebook(*cells: str) -> str:
    return json.dumps(
        {"cells": [{"cell_type": "markdown", "source": "import nothing"}]
         + [{"cell_type": "code", "source": c.splitlines(keepends=True), "outputs": []} for c in cells]}
    )  # fmt: skip


# What the case shows: (command, files, what counts). A file whose name ends in `_not.py` must never count.
CASES: dict[str, tuple[str, dict[str, str], set[str]]] = {
    "a script and a module beside it": (
        "python src/train.py --out x",
        {"src/train.py": "import helper", "src/helper.py": "", "src/other_not.py": ""},
        {"src/train.py", "src/helper.py"},
    ),
    "the script's folder comes before the project's": (
        "python src/train.py",
        {"src/train.py": "import helper", "src/helper.py": "", "helper.py": "import also_not", "also_not.py": ""},
        {"src/train.py", "src/helper.py"},
    ),
    "transitively, and in a circle": (
        "python a.py",
        {"a.py": "import b", "b.py": "from c import x", "c.py": "import a"},
        {"a.py", "b.py", "c.py"},
    ),
    "python options, of which some take a value": (
        "python3.11 -u -W error -X dev -O a.py",
        {"a.py": "import b", "b.py": "", "error": "", "dev": ""},
        {"a.py", "b.py"},
    ),
    "a module whose name is computed: every text of the file that names one": (
        "python a.py",
        {"a.py": "import importlib\nfor n in ['b', 'pkg.c']:\n    importlib.import_module(n)", "b.py": "", "pkg/c.py": "", "d_not.py": ""},
        {"a.py", "b.py", "pkg/c.py"},
    ),
    "a module whose name comes by way of a function": (
        "python a.py",
        {"a.py": "import importlib\ndef get(n): return importlib.import_module(n)\nget('b')", "b.py": ""},
        {"a.py", "b.py"},
    ),
    "folders of the search path in a loop": (
        "python src/a.py",
        {"src/a.py": "import sys\nfor d in ('lib', 'more'):\n    sys.path.append(d)\nimport b", "lib/b.py": "", "src/b_not.py": ""},
        {"src/a.py", "lib/b.py"},
    ),
    "scripts that match a pattern": (
        "for f in src/step_*.py; do python $f; done; python src/[x]?.py",
        {"src/step_1.py": "import b", "src/step_2.py": "", "src/b.py": "", "src/xy.py": "", "src/other_not.py": ""},
        {"src/step_1.py", "src/step_2.py", "src/b.py", "src/xy.py"},
    ),
    "the working folder by its variable": (
        "cd sub; export PYTHONPATH=$PWD/lib:$(pwd)/more; python $PWD/a.py",
        {"sub/a.py": "import b, c", "sub/lib/b.py": "", "sub/more/c.py": "", "lib/b.py": "import d_not", "d_not.py": ""},
        {"sub/a.py", "sub/lib/b.py", "sub/more/c.py"},
    ),
    "variables before the command": (
        "OMP_NUM_THREADS=1 CUDA_VISIBLE_DEVICES='' python3 a.py",
        {"a.py": ""},
        {"a.py"},
    ),
    "a chain": (
        "python a.py && python b.py || python c.py; python d.py | python e.py & python f.py",
        {f"{x}.py": "" for x in "abcdefg"},
        {f"{x}.py" for x in "abcdef"},
    ),
    "lines, continuations and comments": (
        "python \\\n  a.py\n# python b_not.py\necho '# no comment' && python c.py # python b_not.py",
        {"a.py": "", "b_not.py": "", "c.py": ""},
        {"a.py", "c.py"},
    ),
    "uv run, with and without python": (
        "uv run python a.py; uv run --with x b.py; uv run -m pkg.c",
        {"a.py": "", "b.py": "", "pkg/__init__.py": "", "pkg/c.py": ""},
        {"a.py", "b.py", "pkg/__init__.py", "pkg/c.py"},
    ),
    "launchers": (
        "timeout 60 nice -n 5 torchrun --nproc-per-node=2 a.py && accelerate launch -m pkg.b",
        {"a.py": "", "pkg/b.py": "import c", "c.py": ""},
        {"a.py", "pkg/b.py", "c.py"},
    ),
    "a module by -m, its packages, its __main__": (
        "python -m pkg.sub && python -m pkg.mod",
        {"pkg/__init__.py": "import top", "pkg/sub/__init__.py": "", "pkg/sub/__main__.py": "from . import x",
         "pkg/sub/x.py": "", "pkg/mod.py": "", "pkg/other_not.py": "", "top.py": "", "pkg/__main__.py": ""},
        {"pkg/__init__.py", "pkg/sub/__init__.py", "pkg/sub/__main__.py", "pkg/sub/x.py", "pkg/mod.py", "top.py"},
    ),
    "importing a package does not run its __main__": (
        "python a.py",
        {"a.py": "import pkg", "pkg/__init__.py": "", "pkg/__main__.py": "import b_not", "b_not.py": ""},
        {"a.py", "pkg/__init__.py"},
    ),
    "-m searches the working folder": (
        "cd work && python -m tool",
        {"work/tool.py": "import near", "work/near.py": "", "near.py": ""},
        {"work/tool.py", "work/near.py"},
    ),
    "-m after a module that runs another": (
        "python -m cProfile -m tool; coverage run b.py; python -m torch.distributed.run --nproc 2 c.py",
        {"tool.py": "", "b.py": "", "c.py": ""},
        {"tool.py", "b.py", "c.py"},
    ),
    "flags run together": ("python -um tool && python -Bc 'import b'", {"tool.py": "", "b.py": ""}, {"tool.py", "b.py"}),
    "a folder with __main__": (
        "python app",
        {"app/__main__.py": "import inner", "app/inner.py": ""},
        {"app/__main__.py", "app/inner.py"},
    ),
    "relative imports": (
        "python -m pkg.a.one",
        {"pkg/__init__.py": "", "pkg/a/__init__.py": "", "pkg/a/one.py": "from . import two\nfrom ..b import three\n"
         "from .. import four\nfrom ..b.five import f", "pkg/a/two.py": "", "pkg/b/__init__.py": "",
         "pkg/b/three.py": "", "pkg/four.py": "", "pkg/b/five.py": "", "pkg/six_not.py": ""},
        {"pkg/__init__.py", "pkg/a/__init__.py", "pkg/a/one.py", "pkg/a/two.py", "pkg/b/__init__.py",
         "pkg/b/three.py", "pkg/four.py", "pkg/b/five.py"},
    ),
    "packages above count, their neighbours do not": (
        "python a.py",
        {"a.py": "import pkg.sub.mod as m", "pkg/__init__.py": "from pkg.near import x", "pkg/near.py": "",
         "pkg/sub/__init__.py": "", "pkg/sub/mod.py": "", "pkg/sub/other_not.py": ""},
        {"a.py", "pkg/__init__.py", "pkg/near.py", "pkg/sub/__init__.py", "pkg/sub/mod.py"},
    ),
    "from package import submodule": (
        "python a.py",
        {"a.py": "from pkg import sub, name", "pkg/__init__.py": "name = 1", "pkg/sub.py": "", "pkg/x_not.py": ""},
        {"a.py", "pkg/__init__.py", "pkg/sub.py"},
    ),
    "import * with __all__": (
        "python a.py",
        {"a.py": "from pkg import *", "pkg/__init__.py": "__all__ = ['one']\n__all__ += ['two']", "pkg/one.py": "",
         "pkg/two.py": "", "pkg/three_not.py": ""},
        {"a.py", "pkg/__init__.py", "pkg/one.py", "pkg/two.py"},
    ),
    "namespace packages, in portions": (
        "PYTHONPATH=lib1:lib2 python a.py",
        {"a.py": "import ns.one\nfrom ns import two\nfrom ns.deep import three", "lib1/ns/one.py": "",
         "lib2/ns/two.py": "", "lib2/ns/deep/three.py": "", "lib2/ns/four_not.py": ""},
        {"a.py", "lib1/ns/one.py", "lib2/ns/two.py", "lib2/ns/deep/three.py"},
    ),
    "a regular package wins over a namespace portion before it": (
        "PYTHONPATH=lib1:lib2 python a.py",
        {"a.py": "import pkg.m", "lib1/pkg/m_not.py": "", "lib1/pkg/m.py": "", "lib2/pkg/__init__.py": "",
         "lib2/pkg/m.py": ""},
        {"a.py", "lib2/pkg/__init__.py", "lib2/pkg/m.py"},
    ),
    "a package wins over a module beside it": (
        "python a.py",
        {"a.py": "import x", "x/__init__.py": "", "x.py": ""},
        {"a.py", "x/__init__.py"},
    ),
    "import_module of a literal": (
        "python a.py",
        {"a.py": """
            import importlib
            from importlib import import_module
            NAME = "five"
            importlib.import_module("one")
            import_module("pkg.two")
            __import__("three")
            import_module(".four", package="pkg")
            import_module(NAME)
            """, "one.py": "", "pkg/__init__.py": "", "pkg/two.py": "", "three.py": "", "pkg/four.py": "", "five.py": ""},
        {"a.py", "one.py", "pkg/__init__.py", "pkg/two.py", "three.py", "pkg/four.py", "five.py"},
    ),
    "import_module of a computed name: all it may be": (
        "python a.py --model b",
        {"a.py": "import importlib\nimportlib.import_module(f'models.{name}')\n__import__('losses.' + name)",
         "models/__init__.py": "", "models/b.py": "import c", "models/deep/d.py": "", "c.py": "", "losses/e.py": ""},
        {"a.py", "models/__init__.py", "models/b.py", "models/deep/d.py", "c.py", "losses/e.py"},
    ),
    "a package that loads all its modules": (
        "python a.py",
        {"a.py": "import plugins", "plugins/__init__.py": """
            import pkgutil, importlib
            for m in pkgutil.iter_modules(__path__):
                importlib.import_module(f"{__name__}.{m.name}")
            """, "plugins/one.py": "", "plugins/two.py": ""},
        {"a.py", "plugins/__init__.py", "plugins/one.py", "plugins/two.py"},
    ),
    "conditional imports, in functions and in try": (
        "python a.py",
        {"a.py": """
            import sys
            if sys.version_info > (3, 99):
                import one
            try:
                import two
            except ImportError:
                import three
            def f():
                class C:
                    from four import x
            """, "one.py": "", "two.py": "", "three.py": "", "four.py": ""},
        {"a.py", "one.py", "two.py", "three.py", "four.py"},
    ),
    "imports for the type checker never run": (
        "python a.py",
        {"a.py": "import typing\nif typing.TYPE_CHECKING:\n    import t_not\nelse:\n    import b", "t_not.py": "", "b.py": ""},
        {"a.py", "b.py"},
    ),
    "sys.path with literals": (
        "python a/a.py",
        {"a/a.py": "import sys\nsys.path.insert(0, 'lib')\nsys.path.append('more')\nsys.path += ['most']\n"
         "sys.path.extend(['x', 'y'])\nimport h, m, n, o", "lib/h.py": "", "more/m.py": "", "most/n.py": "",
         "a/h.py": "import x_not", "x_not.py": "", "y/o.py": ""},
        {"a/a.py", "lib/h.py", "more/m.py", "most/n.py", "y/o.py"},
    ),
    "sys.path from __file__": (
        "python jobs/deep/a.py",
        {"jobs/deep/a.py": """
            import os, sys
            from pathlib import Path
            ROOT = Path(__file__).resolve().parents[2]
            sys.path.insert(0, str(ROOT / "lib"))
            sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "near"))
            sys.path.append(f"{Path(__file__).parent}/sub")
            sys.path.append(os.path.dirname(__file__) + "/add")
            import one, two, three, four
            """, "lib/one.py": "", "jobs/near/two.py": "", "jobs/deep/sub/three.py": "", "jobs/deep/add/four.py": ""},
        {"jobs/deep/a.py", "lib/one.py", "jobs/near/two.py", "jobs/deep/sub/three.py", "jobs/deep/add/four.py"},
    ),
    "a module that changes the path for others": (
        "python a.py",
        {"a.py": "import setup_path, far", "setup_path.py": "import sys; sys.path.insert(0, 'lib')", "lib/far.py": ""},
        {"a.py", "setup_path.py", "lib/far.py"},
    ),
    "src layout": (
        "python scripts/a.py && python -m pkg.b",
        {"scripts/a.py": "from pkg import c", "src/pkg/__init__.py": "", "src/pkg/b.py": "", "src/pkg/c.py": ""},
        {"scripts/a.py", "src/pkg/__init__.py", "src/pkg/b.py", "src/pkg/c.py"},
    ),
    "the layout of pyproject.toml": (
        "python scripts/a.py",
        {"scripts/a.py": "import pkg", "python/pkg/__init__.py": "",
         "pyproject.toml": '[tool.setuptools.packages.find]\nwhere = ["python"]'},
        {"scripts/a.py", "python/pkg/__init__.py"},
    ),
    "a console script": (
        "train-it --epochs 3",
        {"src/pkg/cli.py": "from . import x", "src/pkg/__init__.py": "", "src/pkg/x.py": "",
         "pyproject.toml": '[project.scripts]\ntrain-it = "pkg.cli:main"'},
        {"src/pkg/cli.py", "src/pkg/__init__.py", "src/pkg/x.py"},
    ),
    "a shell script, its variables and arguments": (
        "bash -e scripts/all.sh train data",
        {"scripts/all.sh": """
            set -euo pipefail
            DIR="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
            SRC=src
            python "$SRC/$1.py" > out.py
            python ${DIR}/near.py
            for s in load eval; do python "src/$s.py"; done
            python ${MODEL:-src/default.py}
            source scripts/env.sh
            """, "scripts/env.sh": "", "scripts/near.py": "import beside", "scripts/beside.py": "",
         "src/train.py": "import h", "src/h.py": "", "src/load.py": "", "src/eval.py": "", "src/default.py": "",
         "src/data.py": "", "out.py": "", "src/x_not.py": ""},
        {"scripts/all.sh", "scripts/env.sh", "scripts/near.py", "scripts/beside.py", "src/train.py", "src/h.py",
         "src/load.py", "src/eval.py", "src/default.py"},
    ),
    "a script that goes to its own folder": (
        "./scripts/go",
        {"scripts/go": "#!/usr/bin/env bash\ncd \"$(dirname \"$0\")\"\npython near.py", "scripts/near.py": ""},
        {"scripts/go", "scripts/near.py"},
    ),
    "a program by its first line": (
        "bin/go && bin/data",
        {"bin/go": "#!/usr/bin/env python3\nimport near", "bin/near.py": "", "bin/data": "a,b"},
        {"bin/go", "bin/near.py", "bin/data"},
    ),
    "subshells keep their folder to themselves": (
        "(cd sub && python a.py); python b.py; x=$(cd sub; python c.py)",
        {"sub/a.py": "", "a.py": "", "b.py": "", "sub/b.py": "", "sub/c.py": ""},
        {"sub/a.py", "b.py", "sub/c.py"},
    ),
    "code in the command": (
        "python -c 'import one; from pkg import two' && python - <<EOF\nimport three\nEOF\npython < four.py",
        {"one.py": "", "pkg/__init__.py": "", "pkg/two.py": "", "three.py": "", "four.py": ""},
        {"one.py", "pkg/__init__.py", "pkg/two.py", "three.py", "four.py"},
    ),
    "notebooks": (
        "jupyter nbconvert --to notebook --execute nb/a.ipynb && papermill nb/b.ipynb out/b.ipynb -p x 1",
        {"nb/a.ipynb": notebook("%matplotlib inline\nimport beside\n", "!python tools/t.py\n%run tools/u.py --x\nif 1:\n    !ls"),
         "nb/beside.py": "", "nb/b.ipynb": notebook("from top import x"), "top.py": "", "tools/t.py": "",
         "tools/u.py": "", "nothing.py": ""},
        {"nb/a.ipynb", "nb/beside.py", "nb/b.ipynb", "top.py", "tools/t.py", "tools/u.py"},
    ),
    "tests by pytest": (
        "python -m pytest -q tests/api tests/test_one.py::test_x --color=no",
        {"tests/api/test_a.py": "from shop import cart", "tests/api/deep/test_b.py": "", "tests/api/data.json": "",
         "tests/api/__pycache__/x.py": "", "tests/conftest.py": "import fixtures", "conftest.py": "",
         "tests/fixtures.py": "", "tests/test_one.py": "", "tests/test_two.py": "", "src/shop/__init__.py": "",
         "src/shop/cart.py": "", "src/shop/other.py": "", "pytest.ini": "", "pyproject.toml": "[project]\nname='x'"},
        {"tests/api/test_a.py", "tests/api/deep/test_b.py", "tests/conftest.py", "conftest.py", "tests/fixtures.py",
         "tests/test_one.py", "src/shop/__init__.py", "src/shop/cart.py", "pytest.ini", "pyproject.toml"},
    ),
    "tests by pytest, wherever they are": (
        "pytest",
        {"a/test_a.py": "import b", "a/b.py": "", "a/c_test.py": "", "a/d.py": "", ".venv/test_x.py": ""},
        {"a/test_a.py", "a/b.py", "a/c_test.py"},
    ),
    "a file that is no notebook": ("papermill a.ipynb b.ipynb", {"a.ipynb": "{}"}, {"a.ipynb"}),
    "processes that Python starts": (
        "python a.py",
        {"a.py": """
            import os, runpy, subprocess, sys
            subprocess.run([sys.executable, "tools/one.py"])
            subprocess.run([sys.executable, "-m", "pkg.two"])
            subprocess.run("python tools/three.py && bash go.sh", shell=True)
            runpy.run_path("tools/four.py")
            os.system("python -m five")
            """, "tools/one.py": "import beside", "tools/beside.py": "", "pkg/two.py": "", "tools/three.py": "",
         "tools/four.py": "", "five.py": "", "go.sh": "python six.py", "six.py": ""},
        {"a.py", "tools/one.py", "tools/beside.py", "pkg/two.py", "tools/three.py", "tools/four.py", "five.py", "go.sh",
         "six.py"},
    ),
    "a syntax error does not hide the file": (
        "python a.py",
        {"a.py": "import b", "b.py": "def (:\nimport c_not", "c_not.py": ""},
        {"a.py", "b.py"},
    ),
    "another encoding": (
        "python a.py",
        {"a.py": "# -*- coding: latin-1 -*-\nimport b", "b.py": "\0", "c_not.py": ""},
        {"a.py", "b.py"},
    ),
    "src as a package": (
        "python -m src.a && python src/b.py",
        {"src/a.py": "from src import c", "src/b.py": "from src.d import e", "src/c.py": "", "src/d.py": ""},
        {"src/a.py", "src/b.py", "src/c.py", "src/d.py"},
    ),
    "PYTHONPATH in front of what it was": (
        'export PYTHONPATH="lib:${PYTHONPATH:-}"; python a.py',
        {"a.py": "import b", "lib/b.py": ""},
        {"a.py", "lib/b.py"},
    ),
    "modules that are not here": ("python a.py", {"a.py": "import os, numpy.linalg, sklearn"}, {"a.py"}),
    "nothing of the project": ("echo hello > x.txt; curl -s file.py | wc -l", {"a.py": "", "pkg/b.py": ""}, set()),
    "a name with a space": ("python 'my train.py'", {"my train.py": "import b", "b.py": ""}, {"my train.py", "b.py"}),
    "other languages count as the file": ("Rscript fit.R && julia x.jl", {"fit.R": "", "x.jl": ""}, {"fit.R", "x.jl"}),
    "a compiled module": (
        "python a.py",
        {"a.py": "import fast", "fast.cpython-311-x86_64-linux-gnu.so": "", "faster.so": ""},
        {"a.py", "fast.cpython-311-x86_64-linux-gnu.so"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_finds(name: str, tmp_path: Path) -> None:
    command, files, expected = CASES[name]
    assert set(code_files(project(tmp_path, files), STAGE, command)) == expected


def test_answer_is_sorted_and_each_file_once(tmp_path: Path) -> None:
    project(tmp_path, {"z.py": "import a, m", "a.py": "import m", "m.py": ""})
    assert code_files(tmp_path, STAGE, ["python z.py", "python a.py"]) == ("a.py", "m.py", "z.py")


def test_never_leaves_the_project(tmp_path: Path) -> None:
    project(tmp_path, {"outside.py": "", "up/outside.py": "", "p/a.py": """
        import sys
        sys.path.insert(0, "..")
        sys.path.insert(0, "/")
        from ... import x
        import outside
        open("../outside.py")
        """})  # fmt: skip
    command = f"PYTHONPATH=..:/tmp python a.py && python ../outside.py && cd .. && python outside.py; python {tmp_path}/outside.py"
    assert code_files(tmp_path / "p", STAGE, command) == ("a.py",)


def test_absolute_paths_into_the_project_count(tmp_path: Path) -> None:
    project(tmp_path, {"a.py": f"import sys; sys.path.append('{tmp_path}/lib'); import b", "lib/b.py": ""})
    assert code_files(tmp_path, STAGE, f"python {tmp_path}/a.py") == ("a.py", "lib/b.py")


def test_stage_folder_is_where_commands_start(tmp_path: Path) -> None:
    project(
        tmp_path, {"sub/a.py": "import sys; sys.path.append('lib'); import b", "sub/lib/b.py": "", "a.py": ""}
    )
    stage = Stage("s", "s", Place("f", 1, 1), dir="sub")
    assert code_files(tmp_path, stage, "python a.py") == ("sub/a.py", "sub/lib/b.py")


def test_each_command_starts_anew(tmp_path: Path) -> None:
    project(tmp_path, {"sub/a.py": "", "a.py": "", "sub/b.py": "", "b.py": ""})
    assert code_files(tmp_path, STAGE, ["cd sub && python a.py", "python b.py"]) == ("b.py", "sub/a.py")


def test_search_path_of_the_environment(tmp_path: Path) -> None:
    project(tmp_path, {"a.py": "import one, two", "lib/one.py": "", "editable/two.py": ""})
    found = code_files(
        tmp_path, STAGE, "python a.py", variables={"PYTHONPATH": "lib"}, python_path=["editable"]
    )
    assert found == ("a.py", "editable/two.py", "lib/one.py")


def test_what_stages_write_is_never_code(tmp_path: Path) -> None:
    project(
        tmp_path,
        {"a.py": "import gen.made, own_out, kept", "gen/made.py": "", "own_out.py": "", "kept.py": ""},
    )
    stage = Stage(
        "s", "s", Place("f", 1, 1),
        outputs=(Output("o", FileType("file"), "own_out.py"),), keeps=(Keep("k", "kept.py"),),
    )  # fmt: skip
    assert code_files(tmp_path, stage, "python a.py && python gen/made.py", produced=["gen"]) == ("a.py",)


def test_a_new_file_that_shadows_is_seen(tmp_path: Path) -> None:
    project(tmp_path, {"src/a.py": "import h", "h.py": ""})
    assert code_files(tmp_path, STAGE, "python src/a.py") == ("h.py", "src/a.py")
    project(tmp_path, {"src/h.py": ""})
    assert code_files(tmp_path, STAGE, "python src/a.py") == ("src/a.py", "src/h.py")


def test_kept_facts_spare_parsing_and_follow_content(tmp_path: Path) -> None:
    project(tmp_path, {"a.py": "import b", "b.py": "import c", "c.py": "", "d.py": ""})
    kept: dict[str, list[list[object]]] = {}
    assert code_files(tmp_path, STAGE, "python a.py", facts=kept) == ("a.py", "b.py", "c.py")
    kept = json.loads(json.dumps(kept))
    digests = {key.split(":")[1]: key for key in kept}
    assert all(len(d) == 64 for d in digests)

    # With the content's hash known from elsewhere, no file is opened.
    names = {
        p: next(k for k, v in kept.items() if v == f)
        for p, f in [("a.py", [["import", "b"]]), ("b.py", [["import", "c"]])]
    }
    hashes = {p: k.split(":")[1] for p, k in names.items()}
    hashes["c.py"] = next(k.split(":")[1] for k, v in kept.items() if v == [])
    scanner = Scanner(tmp_path, facts=kept, digest=hashes.__getitem__)
    scanner.tree.read = lambda path: pytest.fail(f"opened {path}")  # type: ignore[method-assign]
    assert scanner.files(STAGE, "python a.py") == ("a.py", "b.py", "c.py")

    project(tmp_path, {"b.py": "import d"})
    assert code_files(tmp_path, STAGE, "python a.py", facts=kept) == ("a.py", "b.py", "d.py")


def test_a_large_folder_of_data_is_not_listed(tmp_path: Path) -> None:
    project(tmp_path, {"a.py": "import b", "b.py": "", "data/x/1.csv": ""})
    scanner = Scanner(tmp_path)
    real = scanner.tree.entries

    def entries(folder: str) -> dict[str, bool]:
        assert not folder.startswith("data"), folder
        return real(folder)

    scanner.tree.entries = entries  # type: ignore[method-assign]
    assert scanner.files(STAGE, "python a.py data/x/1.csv --more data/x") == ("a.py", "b.py")


def test_links_into_a_circle_end(tmp_path: Path) -> None:
    project(tmp_path, {"a.py": "import importlib; importlib.import_module(f'models.{x}')", "models/b.py": ""})
    (tmp_path / "models/up").symlink_to("..")
    assert code_files(tmp_path, STAGE, "python a.py") == ("a.py", "models/b.py")


# --- normalised ---


@pytest.mark.parametrize(
    "same",
    [
        "x = {'a': 1, 'b': [2, 3]}\nif x:\n    print('hi')\n",
        "# a comment\nx = {\n  \"a\": 1,\n  'b': [2, 3,],\n}\n\n\nif (x):  # why\n\tprint( 'hi' )\n",
        "x = {'a': 1, 'b': [0x2, 3]}; \nif x: print(u'hi')",
    ],
)  # fmt: skip
def test_formatting_does_not_count(same: str) -> None:
    assert normalised(same.encode()) == normalised(b"x = {'a': 1, 'b': [2, 3]}\nif x:\n    print('hi')\n")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1", "x = 2"), ("x = 1", "x = 1.0"), ("x = 1", "x = True"), ("x = None", "x"), ("x = None", "x = ..."),
        ("x = 'a'", "x = b'a'"), ("f(a, b)", "f(b, a)"), ("a + b", "a - b"), ("return_ = a", "return_ = -a"),
        ('"""doc"""', '"""dok"""'), ("def f(x=None): pass", "def f(x): pass"), ("f'{a}'", "f'{a!r}'"),
        ("import a", "import a as b"), ("from . import a", "from .. import a"), ("x: int = 1", "x = 1"),
        ("async def f(): pass", "def f(): pass"), ("{**a}", "{a: 1}"), ("lambda *a: 1", "lambda a: 1"),
    ],
)  # fmt: skip
def test_meaning_counts(one: str, other: str) -> None:
    assert normalised(one.encode()) != normalised(other.encode())


def test_normal_form_is_the_same_on_every_python() -> None:
    """Keys are shared between machines, so this text must not depend on the interpreter."""
    assert normalised(b"def f(a, *, b=None):\n    return a + 1\n") == (
        b"Module(body=[FunctionDef(name='f',args=arguments(args=[arg(arg='a',),],kwonlyargs=[arg(arg='b',),],"
        b"kw_defaults=[Constant(value=None,),],),body=[Return(value=BinOp(left=Name(id='a',),op=Add(),"
        b"right=Constant(value=0x1,),),),],),],)"
    )


@pytest.mark.parametrize("source", [b"def (:", b"\xff\xfe", b"x = 1\0", b"(" * 5000, b"-" * 100_000 + b"1"])
def test_what_does_not_parse_stays_as_it_is(source: bytes) -> None:
    assert normalised(source) == source


def test_normalised_by_kind() -> None:
    first, second = json.loads(notebook("x = 1")), json.loads(notebook("x = 1"))
    second["cells"][1]["outputs"] = [{"text": "1"}]
    assert normalised_file("a.ipynb", json.dumps(first).encode()) == normalised_file(
        "a.ipynb", json.dumps(second).encode()
    )
    assert normalised_file("a.ipynb", notebook("x = 2").encode()) != normalised_file(
        "a.ipynb", notebook("x = 1").encode()
    )
    assert normalised_file("a.sh", b"a # b") == b"a # b"
    assert normalised_file("a.py", b"a # b") == normalised_file("a.py", b"a")


# --- shell ---


def words(text: str) -> list[tuple[str, ...]]:
    return [i.words for i in invocations(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a 'b c' \"d $X e\" f\\ g", [("a", "b c", f"d {UNKNOWN} e", "f g")]),
        ("X=1; a $X ${X} '$X' \"$X\"", [("a", "1", "1", "$X", "1")]),
        ("a 2>&1 >out <in &>all b", [("a", "in", "b")]),
        ("a <<< word b", [("a", "word", "b")]),
        ("a $(b c) `d`", [("b", "c"), ("d",), ("a", UNKNOWN, UNKNOWN)]),
        ("a $((1 + 2)) b", [("a", UNKNOWN, "b")]),
        ("if a; then b; else c; fi; while d; do e; done", [("a",), ("b",), ("c",), ("d",), ("e",)]),
        ("f() { a; }; f", [("f",), ("a",), ("f",)]),
        ("a <(b) >(c)", [("b",), ("c",), ("a",)]),
        ("case $1 in x) a;; y) b;; esac", [(UNKNOWN, "in", "x"), ("a",), ("y",), ("b",)]),
        ("a \"", [("a", "")]), ("a 'b", [("a", "b")]), ("a $(b", [("b",), ("a", UNKNOWN)]), ("a ${b", [("a", UNKNOWN)]),
        ("cat <<'A' <<-B; z\n$x\nA\n\ty\n\tB\nb", [("cat",), ("z",), ("b",)]),
    ],
)  # fmt: skip
def test_shell_words(text: str, expected: list[tuple[str, ...]]) -> None:
    assert words(text) == expected


def test_here_documents_belong_to_their_command() -> None:
    first, second = invocations("python - <<EOF && b\nimport a\nEOF\n")
    assert (first.stdin, second.stdin) == ("import a", None)


@given(st.text(alphabet="ab '\"$(){}<>&|;\\\n`#=-./\0", max_size=60))
def test_any_text_is_read_to_its_end(text: str) -> None:
    for call in invocations(text):
        assert call.words
