"""`code = auto`: which files of the project decide what a stage's command does.

The command is read as shell, the scripts and modules that it starts are found, and from there every local
module that they import, transitively. Nothing is run and nothing is imported. In doubt a file counts: one
too many costs a rerun when it changes, one too few makes a stale result.

How a name becomes a file follows Python: the folder of the script (for `-m`, the working folder) comes
first, then PYTHONPATH, then what `sys.path.append` adds; `sys.path.insert(0, ...)` goes before all. Behind
those stand the places that an editable install makes importable: the project folder, `src/`, and what
`pyproject.toml` names. In each folder a package with `__init__` wins over a module, and folders without
`__init__` are portions of a namespace package. Names found nowhere are somebody else's and do not count:
they belong to the environment.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from mlflowc.ir.model import Stage
from mlflowc.runtime.folders import Tree, below, clean, inside
from mlflowc.runtime.imports import NAME, FactCache, Facts, Program
from mlflowc.runtime.shell import UNKNOWN, Invocation, invocations

_PYTHON = re.compile(r"(?:python|pypy|ipython)(?:\d+(?:\.\d+)?t?)?")
_SHELLS = frozenset(["bash", "sh", "dash", "zsh", "ksh", "source", "."])
_SCRIPTS = (".py", ".pyw", ".ipynb", ".sh", ".bash", ".R", ".r", ".jl", ".pl", ".rb", ".js", ".ts", ".lua")
# Counts the ways of reading a file: facts that were kept by another one are not asked again.
_READING = 2
_PATTERN = re.compile(r"[*?\[]")
_TEST = re.compile(r"test_.*\.py|.*_test\.py|conftest\.py")
_PYTEST_SETTINGS = ("pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg")
_TAKES_VALUE = frozenset(["-W", "-X", "--check-hash-based-pycs"])


def code_files(
    root: Path,
    stage: Stage,
    command_text: str | Sequence[str],
    *,
    produced: Iterable[str] = (),
    variables: Mapping[str, str] | None = None,
    python_path: Sequence[str] = (),
    facts: FactCache | None = None,
    digest: Callable[[str], str] | None = None,
) -> tuple[str, ...]:
    """The files that `stage`'s command runs and imports: sorted POSIX paths below `root`, relative to it.

    Convenience for one stage; see `Scanner` for the arguments and for many stages.
    """
    scanner = Scanner(root, produced=produced, facts=facts, digest=digest)
    return scanner.files(stage, command_text, variables=variables, python_path=python_path)


class Scanner:
    """Finds the code of many stages of one project, reading each folder and each file once.

    `produced` are the paths that stages write (files or folders): what is below one is an input or nothing,
    never code, so that the answer does not depend on what ran before. `facts` is a cache that the caller
    may keep between runs; `digest` gives the content hash of a project-relative path (a stat index makes
    it cheap), and without it the file is read. A scanner sees the project as it was when it first looked.
    """

    def __init__(
        self,
        root: Path,
        *,
        produced: Iterable[str] = (),
        facts: FactCache | None = None,
        digest: Callable[[str], str] | None = None,
    ) -> None:
        self.tree = Tree(root, produced)
        self._cache: FactCache = {} if facts is None else facts
        self._digest = digest
        self._facts: dict[tuple[str, str], Facts] = {}
        self._found: dict[tuple[object, ...], tuple[str, ...]] = {}
        # By what was asked and which paths the stage itself writes: stages often share a script.
        self.programs: dict[tuple[object, frozenset[str]], Program] = {}
        self._scripts: dict[str, str] | None = None
        self._places: tuple[str, ...] = ()

    def files(
        self,
        stage: Stage,
        command_text: str | Sequence[str],
        *,
        variables: Mapping[str, str] | None = None,
        python_path: Sequence[str] = (),
    ) -> tuple[str, ...]:
        """The code of `stage`. `command_text` are its commands with placeholders filled in (several are run
        one by one in `stage.dir`); `variables` those of its environment, PYTHONPATH among them;
        `python_path` more project-relative folders to import from (editable requirements).
        """
        texts = (command_text,) if isinstance(command_text, str) else tuple(command_text)
        own = tuple(o.path for o in stage.outputs) + tuple(k.path for k in stage.keeps)
        known = tuple(sorted((variables or {}).items()))
        question = (texts, stage.dir, own, known, tuple(python_path))
        if question not in self._found:
            walk = _Walk(self, own, tuple(python_path))
            for text in texts:
                folder = clean(stage.dir or "")
                variables_now = {"PWD": (str(self.tree.root / folder),), **{k: (v,) for k, v in known}}
                walk.shell(text, folder, variables_now)
            self._found[question] = tuple(sorted(walk.files))
        return self._found[question]

    def facts(self, path: str, kind: str) -> Facts:
        """What the file brings in; `kind` is `python`, `notebook` or `project` (a pyproject.toml)."""
        known = self._facts.get((path, kind))
        if known is not None:
            return known
        source: bytes | None = None
        if self._digest is None:
            import blake3

            source = self.tree.read(path)
            name = blake3.blake3(source).hexdigest()
        else:
            name = self._digest(path)
        key = f"{kind} {_READING}:{name}"
        found = self._cache.get(key)
        if found is None:
            found = _read(kind, self.tree.read(path) if source is None else source)
            self._cache[key] = found
        self._facts[(path, kind)] = found
        return found

    def project(self) -> tuple[dict[str, str], tuple[str, ...]]:
        """Console scripts (name -> module) and the folders that an editable install makes importable."""
        if self._scripts is None:
            scripts: dict[str, str] = {}
            places = ["", "src"]
            known = self.tree.is_file("pyproject.toml")
            for fact in self.facts("pyproject.toml", "project") if known else []:
                if fact[0] == "script":
                    scripts[str(fact[1])] = str(fact[2])
                else:
                    places.append(clean(str(fact[1])))
            self._scripts = scripts
            self._places = tuple(dict.fromkeys(p for p in places if inside(p)))
        return self._scripts, self._places


def _read(kind: str, source: bytes) -> Facts:
    # Parsing is needed for files that were never seen before; a run with nothing to do imports no `ast`.
    if kind == "project":
        from mlflowc.runtime.pyproject import project_facts

        return project_facts(source)
    from mlflowc.runtime import pyimports

    return pyimports.notebook_facts(source) if kind == "notebook" else pyimports.facts(source)


def normalised(source: bytes) -> bytes:
    """Python source as `code_key = "ast"` hashes it: comments and formatting do not count, docstrings do."""
    from mlflowc.runtime import pyimports

    return pyimports.normalised(source)


def normalised_file(path: str, source: bytes) -> bytes:
    """The bytes of a code file that `code_key = "ast"` hashes: the syntax of Python files, the code cells of
    notebooks, and every other file as it is."""
    from mlflowc.runtime import pyimports

    if path.endswith((".py", ".pyw")):
        return pyimports.normalised(source)
    return pyimports.normalised_notebook(source) if path.endswith(".ipynb") else source


class _Walk:
    """One stage's search. `files` grows until nothing new is found."""

    def __init__(self, scanner: Scanner, own: Iterable[str], python_path: tuple[str, ...]) -> None:
        self.scanner, self.tree = scanner, scanner.tree
        self.own = frozenset(p for p in map(clean, own) if not scanner.tree.is_produced(p))
        self.python_path = python_path
        self.files: set[str] = set()
        self._seen: set[tuple[object, ...]] = set()

    # --- commands ---

    def shell(self, text: str, folder: str, variables: Mapping[str, tuple[str, ...]]) -> None:
        """Adds what the script `text` starts, run in `folder`."""
        question = ("shell", text, folder, tuple(sorted(variables.items())))
        if question not in self._seen:
            self._seen.add(question)
            for call in invocations(text, folder, variables):
                self._command(call)

    def _command(self, call: Invocation) -> None:
        call = call._replace(folder=self.tree.relative(call.folder))
        call = call._replace(words=tuple(w for word in call.words for w in self._matches(call, word)))
        words = call.words
        for at, word in enumerate(words):
            name = word.rpartition("/")[2]
            if _PYTHON.fullmatch(name):
                self._python_options(call, at + 1)
            elif name in _SHELLS and (at == 0 or name not in ("source", ".")):
                self._shell_options(call, at + 1)
            elif name == "pytest":
                self._pytest(call, words[at + 1 :])
            elif word in ("-m", "--module") and at + 1 < len(words):
                self._module(call, words[at + 1])
            self._word(call, word, words[at + 1 :])
            if "=" in word:
                self._word(call, word.partition("=")[2], words[at + 1 :])
        self._console_script(call)

    def _matches(self, call: Invocation, word: str) -> list[str]:
        """The scripts that a pattern such as `src/step_*.py` stands for; else the word."""
        folder, _, pattern = word.rpartition("/")
        if not _PATTERN.search(pattern) or _PATTERN.search(folder) or not pattern.endswith(_SCRIPTS):
            return [word]
        place = self._local(call, folder or ".")
        names = [] if place is None else sorted(fnmatch.filter(self.tree.entries(place), pattern))
        return [posixpath.join(folder, n) for n in names if not n.startswith(".")] or [word]

    def _python_options(self, call: Invocation, at: int) -> None:
        """Reads what follows `python`: its options, then a module, a text, standard input or a script."""
        words = call.words
        while at < len(words):
            word = words[at]
            if word in _TAKES_VALUE:
                at += 2
            elif re.fullmatch(r"-[A-Za-z]*c", word) and at + 1 < len(words):
                self._source(call, words[at + 1])
                return
            elif re.fullmatch(r"-[A-Za-z]*m", word) and at + 1 < len(words):
                self._module(call, words[at + 1])
                return
            elif word == "-":
                break
            elif word.startswith("-"):
                at += 1
            else:
                path = self._local(call, word)
                if path is not None and self.tree.is_folder(path):
                    self._script(call, posixpath.join(path, "__main__.py"))
                elif path is not None:
                    self._script(call, path)
                return
        if call.stdin is not None:
            self._source(call, call.stdin)

    def _pytest(self, call: Invocation, words: Sequence[str]) -> None:
        """The test modules below the named folders, what they import, `conftest.py` and the configuration."""
        paths = [self._local(call, w.partition("::")[0]) for w in words if not w.startswith("-")]
        named = [p for p in paths if p is not None and (self.tree.is_folder(p) or self.tree.is_file(p))]
        for place in named or [call.folder]:
            above = place if self.tree.is_folder(place) else posixpath.dirname(place)
            while above:
                above = posixpath.dirname(above)
                if "conftest.py" in self.tree.entries(above):
                    self._script(call, posixpath.join(above, "conftest.py"))
            tests = self.tree.below(place) if self.tree.is_folder(place) else [place]
            for path in tests:
                if path.endswith(".py") and (named or _TEST.fullmatch(posixpath.basename(path))):
                    self._script(call, path)
        for name in _PYTEST_SETTINGS:
            path = posixpath.join(call.folder, name)
            if name in self.tree.entries(call.folder) and self._may_count(path):
                self.files.add(path)

    def _shell_options(self, call: Invocation, at: int) -> None:
        words = call.words
        for n in range(at, len(words)):
            if re.fullmatch(r"-[a-z]*c", words[n]) and n + 1 < len(words):
                self.shell(words[n + 1], call.folder, call.variables)
                return
            if not words[n].startswith(("-", "+")):
                path = self._local(call, words[n])
                if path is not None:
                    self._shell_file(call, path, words[n + 1 :])
                return
        if call.stdin is not None:
            self.shell(call.stdin, call.folder, call.variables)

    def _word(self, call: Invocation, word: str, after: Sequence[str]) -> None:
        """A word that names a script counts wherever it stands: launchers (`torchrun`) are many."""
        if not word.endswith(_SCRIPTS) and "/" not in word:
            return
        first = word == call.words[0]
        path = self._local(call, word)
        if path is None or not self._may_count(path):
            return
        if not first and not word.endswith(_SCRIPTS) and not self.tree.is_program(path):
            return  # a data file; after `timeout 60` or `nice` a program may stand anywhere
        if path.endswith((".sh", ".bash")):
            self._shell_file(call, path, after)
        elif path.endswith((".py", ".pyw", ".ipynb")):
            self._script(call, path)
        else:
            self._by_first_line(call, path, after)

    def _by_first_line(self, call: Invocation, path: str, after: Sequence[str]) -> None:
        self.files.add(path)
        line = self.tree.read(path)[:200].partition(b"\n")[0].decode("utf-8", "replace")
        if line.startswith("#!"):
            if re.search(r"[/ ](?:ba|da|z|k)?sh\b", line):
                self._shell_file(call, path, after)
            elif "python" in line:
                self._script(call, path)

    def _shell_file(self, call: Invocation, path: str, arguments: Sequence[str]) -> None:
        if not self._may_count(path):
            return
        self.files.add(path)
        places = {str(n): (word,) for n, word in enumerate(arguments, 1)}
        variables = {
            **call.variables,
            **places,
            "0": (path,),
            "@": tuple(arguments),
            "*": tuple(arguments),
            "@dirname": (str(self.tree.root / posixpath.dirname(path)),),
        }
        self.shell(self.tree.read(path).decode("utf-8", "replace"), call.folder, variables)

    def _console_script(self, call: Invocation) -> None:
        """`my-train --x` where pyproject.toml says `my-train = "pkg.cli:main"`."""
        scripts, _ = self.scanner.project()
        for word in call.words if scripts else ():
            if word in scripts:
                self._python(call, "import", scripts[word], self._paths(call, call.folder))

    # --- what Python starts ---

    def _local(self, call: Invocation, word: str) -> str | None:
        """The project-relative path of a word, or None where it is outside or cannot be known."""
        if not word or UNKNOWN in word or "\n" in word:
            return None
        path = self.tree.relative(posixpath.join(call.folder, word))
        return path if inside(path) else None

    def _relative(self, path: str) -> str:
        """A path, absolute perhaps, as seen from the project folder."""
        root = str(self.tree.root)
        if path == root or path.startswith(root.rstrip("/") + "/"):
            path = path[len(root) :].lstrip("/")
        return clean(path)

    def _may_count(self, path: str) -> bool:
        return self.tree.is_file(path) and not below(path, self.own)

    def _paths(self, call: Invocation, first: str) -> list[str]:
        from_env = [p for value in call.variables.get("PYTHONPATH", ()) for p in value.split(":")]
        paths = [self._local(call, p) for p in from_env if p]
        return [first, *(p for p in paths if p is not None), *self.python_path]

    def _script(self, call: Invocation, path: str) -> None:
        if not self._may_count(path):
            return
        places = [posixpath.dirname(path)]
        if path.endswith(".ipynb"):
            places.append(call.folder)  # papermill's kernel starts there, nbconvert's beside the notebook
        self._python(call, "script", path, [*places, *self._paths(call, places[0])])

    def _module(self, call: Invocation, name: str) -> None:
        if NAME.fullmatch(name):
            self._python(call, "main", name, self._paths(call, call.folder))

    def _source(self, call: Invocation, text: str) -> None:
        self._python(call, "text", text, self._paths(call, call.folder))

    def _python(self, call: Invocation, kind: str, what: str, paths: list[str]) -> None:
        question = (kind, what, tuple(paths), call.folder)
        if question in self._seen:
            return
        self._seen.add(question)
        program = self.scanner.programs.get((question, self.own))
        if program is None:
            program = Program(
                self.tree,
                paths=tuple(dict.fromkeys(paths)),
                places=self.scanner.project()[1],
                folder=call.folder,
                may_count=self._may_count,
                facts=self.scanner.facts,
            )
            program.start(kind, what)
            self.scanner.programs[question, self.own] = program
        self.files |= program.files
        folders = [call.folder, posixpath.dirname(what)] if what.endswith(".ipynb") else [call.folder]
        for folder in folders:
            for text in sorted(program.commands):
                self.shell(text, folder, call.variables)
        for path in sorted(program.scripts):
            if path.endswith((".sh", ".bash")):
                self._shell_file(call, path, ())
            else:
                self._script(call, path)
