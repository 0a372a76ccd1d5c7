"""A project under random edits, beside a model that says what each of its outputs must be.

After any series of edits, damage to the state folder and runs, a run gives what a run of a clean copy would
give, `status`, `run --dry` and `run` agree, and no command runs again whose result is in the cache.

`MLPIPEC_TEST_EXAMPLES` sets the number of series (`make torture`).
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from mlflowc.cli import cli
from tests.conftest import EXAMPLES

# More than 64 KiB, so that the cache links it where it cannot clone it.
_LARGE = 70_000

_PIPELINE = """\
mlpipe 1

pipeline model

params "params.yaml"

stage {a} {{
  in  raw = "raw.txt"
  out rows: file = "{a_path}"
  run = "{{ echo {a_tag}; cat {{{{raw}}}}; head -c {large} /dev/zero; }} > {{{{rows}}}}"
}}

stage {b} {{
  in    rows = {a}.rows
  param p.x
  out   folder: dir = "out/folder"
  run   = \"\"\"
  mkdir -p {{{{folder}}}}/empty {{{{folder}}}}/deep
  {{ cat {{{{rows}}}}; echo {{{{params.p.x}}}}; }} > {{{{folder}}}}/deep/file
  echo {b_tag} > {{{{folder}}}}/tool
  chmod +x {{{{folder}}}}/tool
  ln -s deep/file {{{{folder}}}}/link
  \"\"\"
}}

stage {c} {{
  in  src: dir = "src"
  out listing: file = "{c_path}"
  run = "bash tools/list.sh {{{{src}}}} > {{{{listing}}}}"
}}

stage {d} {{
  in  folder  = {b}.folder
  in  listing = {c}.listing
  in  parts   = glob("parts/*.txt")
  out all: file = "all.txt"
  run = "cat {{{{folder}}}}/link {{{{folder}}}}/tool {{{{listing}}}} {{{{parts}}}} > {{{{all}}}}"
}}
"""
_LIST = """\
. tools/lib.sh
cd "$1"
find . -type f | sort | while read -r f; do echo "$f $([ -x "$f" ] && echo x)"; cat "$f"; done
find . -type l | sort | while read -r f; do echo "$f $(readlink "$f")"; cat "$f"; done
find . -type d -empty | sort
head
"""

_SMALL = st.sampled_from(["one\n", "two\n", "six\n", "three\n", ""])
_NAMES = st.sampled_from(["x", "y", "sub/x", "sub/y", "deep/er/x"])


@dataclass
class _World:
    """What the project is made of, beside the files in its folder."""

    names: dict[str, str]
    a_path: str = "out/rows.bin"
    c_path: str = "out/listing.txt"
    a_tag: str = "A"
    b_tag: str = "B"

    def pipeline(self) -> str:
        paths = {"a_path": self.a_path, "c_path": self.c_path, "a_tag": self.a_tag, "b_tag": self.b_tag}
        return _PIPELINE.format(**self.names, **paths, large=_LARGE)


class ProjectMachine(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="mlpipec-model-"))
        self.world = _World({n: n for n in "abcd"})
        self.params = 1
        self.lib = "lib"
        # Everything that decides a stage's result -> it ran, and the cache has not been damaged since.
        self.made: set[tuple[object, ...]] = set()

    def teardown(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)

    # --- the project

    def write(self, path: str, data: str | bytes) -> None:
        full = self.root / path
        full.parent.mkdir(parents=True, exist_ok=True)
        if full.is_symlink() or full.exists():
            full.unlink()
        full.write_bytes(data if isinstance(data, bytes) else data.encode())

    def write_all(self) -> None:
        self.write("pipeline.mlpipe", self.world.pipeline())
        self.write("params.yaml", f"p:\n  x: {self.params}\n")
        self.write("tools/lib.sh", f"head() {{ echo {self.lib}; }}\n")

    @initialize()
    def begin(self) -> None:
        self.write_all()
        self.write("tools/list.sh", _LIST)
        self.write("raw.txt", "raw\n")
        self.write("src/x", "one\n")
        self.write("parts/1.txt", "part\n")
        self.check()

    # --- edits of what is written by people

    @rule(text=_SMALL, keep_stat=st.booleans())
    def edit_raw(self, text: str, keep_stat: bool) -> None:
        path = self.root / "raw.txt"
        before = path.stat()
        with path.open("r+b") as file:
            file.write(text.encode())
            file.truncate()
        if keep_stat:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    @rule(text=_SMALL)
    def replace_raw_with_an_old_file(self, text: str) -> None:
        """As `cp -p` or a checkout of another tool: the time goes backwards."""
        self.write("new", text)
        os.utime(self.root / "new", ns=(1_000_000_000, 1_000_000_000))
        (self.root / "new").replace(self.root / "raw.txt")

    @rule()
    def touch_everything(self) -> None:
        for folder in ("src", "parts", "tools"):
            for path in (self.root / folder).rglob("*"):
                if path.is_file():
                    path.touch()

    @rule(value=st.sampled_from([1, 2]))
    def set_parameter(self, value: int) -> None:
        self.params = value
        self.write_all()

    @rule(text=st.sampled_from(["lib", "bil"]))
    def edit_helper(self, text: str) -> None:
        self.lib = text
        self.write_all()

    @rule(name=_NAMES, text=_SMALL, executable=st.booleans())
    def write_source(self, name: str, text: str, executable: bool) -> None:
        path = self.root / "src" / name
        if path.is_dir() or any(p.is_file() for p in path.parents):
            return
        self.write(f"src/{name}", text)
        path.chmod(0o755 if executable else 0o644)

    @rule(name=_NAMES)
    def remove_source(self, name: str) -> None:
        """The folder stays, perhaps empty."""
        path = self.root / "src" / name
        if path.exists():
            path.unlink()

    @rule(name=st.sampled_from(["link", "sub/link"]), leads=st.sampled_from(["x", "../raw.txt", "nowhere"]))
    def link_in_source(self, name: str, leads: str) -> None:
        path = self.root / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if (path.parent / leads).is_file():
            path.symlink_to(leads)

    @rule(name=st.sampled_from(["1", "2", "3"]), text=_SMALL)
    def write_part(self, name: str, text: str) -> None:
        self.write(f"parts/{name}.txt", text)

    @rule(name=st.sampled_from(["2", "3"]))
    def remove_part(self, name: str) -> None:
        (self.root / f"parts/{name}.txt").unlink(missing_ok=True)

    @rule(stage=st.sampled_from("abcd"), name=st.sampled_from(["", "_new", "_other"]))
    def rename(self, stage: str, name: str) -> None:
        self.world.names[stage] = stage + name
        self.write_all()

    @rule()
    def swap_outputs(self) -> None:
        self.world.a_path, self.world.c_path = self.world.c_path, self.world.a_path
        self.write_all()

    @rule(tag=st.sampled_from(["A", "Z"]))
    def edit_command(self, tag: str) -> None:
        self.world.a_tag = tag
        self.write_all()

    # --- outputs

    def outputs(self) -> list[Path]:
        named = [self.world.a_path, self.world.c_path, "all.txt", "out/folder"]
        return [self.root / p for p in [*named, "out/folder/deep/file", "out/folder/link", "out/folder/tool"]]

    @rule(which=st.integers(0, 6), how=st.sampled_from(["remove", "folder", "link", "mode", "extra"]))
    def spoil_output(self, which: int, how: str) -> None:
        path = self.outputs()[which]
        if how == "mode":
            if path.is_file() and not path.is_symlink():
                path.chmod(path.stat().st_mode ^ 0o100)
        elif how == "extra":
            if path.is_dir():
                (path / "extra").write_text("x")
        elif path.parent.is_dir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            if how == "folder":
                path.mkdir()
            elif how == "link":
                path.symlink_to(self.root / "raw.txt")

    @rule(which=st.integers(0, 6))
    def write_into_output(self, which: int) -> None:
        """In place and of the same size, read-only or not: through a hard link the cache has it as well."""
        path = self.outputs()[which]
        if path.is_file() and path.stat().st_size:
            before = path.stat()
            path.chmod(0o644)
            with path.open("r+b") as file:
                file.write(b"#")
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
            path.chmod(before.st_mode)
            self.forget_made()

    def forget_made(self) -> None:
        self.made.clear()

    @rule()
    def remove_outputs(self) -> None:
        shutil.rmtree(self.root / "out", ignore_errors=True)
        (self.root / "all.txt").unlink(missing_ok=True)

    # --- the state

    @rule(name=st.sampled_from(["index.db", "state", "compiled", "tmp", "locks", "aside"]))
    def lose_state(self, name: str) -> None:
        """What can be found out again."""
        path = self.root / ".mlpipe" / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{path}{suffix}").unlink(missing_ok=True)

    @rule()
    def lose_lock(self) -> None:
        (self.root / "mlpipe.lock").unlink(missing_ok=True)

    @rule(kind=st.sampled_from(["objects", "trees", "records"]), n=st.integers(0, 30), how=st.integers(0, 4))
    def spoil_cache(self, kind: str, n: int, how: int) -> None:
        files = sorted((self.root / ".mlpipe/cache" / kind).glob("??/*"))
        if not files:
            return
        path, other = files[n % len(files)], files[(n + 1) % len(files)]
        self.forget_made()
        data = path.read_bytes() if path.is_file() else b""
        if path.is_dir():
            return
        if how == 0:
            path.unlink()
        elif how == 1:
            path.chmod(0o644)
            with path.open("r+b") as file:
                file.truncate(len(data) // 2)
        elif how == 2 and data:
            path.chmod(0o644)
            with path.open("r+b") as file:
                file.seek(n % len(data))
                file.write(bytes([data[n % len(data)] ^ 1]))
        elif how == 3:
            spare = path.with_name("swap")
            path.rename(spare)
            other.rename(path) if other != path else spare.rename(path)
            if spare.exists():
                spare.rename(other)
        else:
            path.unlink()
            path.mkdir()

    # --- runs

    def call(self, *arguments: str) -> Any:
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()) as err:
            code = cli.main(
                [arguments[0], "-f", str(self.root / "pipeline.mlpipe"), *arguments[1:]],
                standalone_mode=False,
            )
        assert not code, (arguments, code, out.getvalue(), err.getvalue())
        return json.loads(out.getvalue()) if "--json" in arguments else out.getvalue()

    def causes(self) -> dict[str, tuple[object, ...]]:
        """All that decides each stage's result, as the model has it."""
        world = self.world
        a = ("a", world.a_path, world.a_tag, self.read("raw.txt"))
        b = ("b", world.a_path, world.b_tag, self.params, a[2:])
        # Links that lead out count by what they lead to.
        src = tuple(
            (str(p.relative_to(self.root)), p.is_symlink() and p.readlink(), p.is_file() and p.read_bytes(),
             not p.is_symlink() and p.stat().st_mode & 0o100)
            for p in sorted((self.root / "src").rglob("*"))
            if not p.is_dir() or not any(p.iterdir())
        )  # fmt: skip
        c = ("c", world.c_path, self.lib, src)
        parts = tuple((p.name, p.read_bytes()) for p in sorted((self.root / "parts").glob("*.txt")))
        d = ("d", world.c_path, b[1:], c[1:], parts)
        return {world.names[n]: cause for n, cause in zip("abcd", (a, b, c, d), strict=True)}

    def read(self, path: str) -> bytes:
        return (self.root / path).read_bytes()

    def expected(self) -> dict[str, bytes]:
        """What the outputs must hold."""
        world = self.world
        rows = f"{world.a_tag}\n".encode() + self.read("raw.txt") + b"\0" * _LARGE
        file = rows + f"{self.params}\n".encode()
        tool = f"{world.b_tag}\n".encode()
        listing = b""
        names = {p: f"./{p.relative_to(self.root / 'src')}" for p in (self.root / "src").rglob("*")}
        places = sorted(names, key=lambda p: names[p])
        for p in places:
            if p.is_file() and not p.is_symlink():
                x = "x" if p.stat().st_mode & 0o100 else ""
                listing += f"{names[p]} {x}\n".encode() + p.read_bytes()
        for p in places:
            if p.is_symlink():
                listing += f"{names[p]} {p.readlink()}\n".encode() + p.read_bytes()
        for p in places:
            if p.is_dir() and not any(p.iterdir()):
                listing += f"{names[p]}\n".encode()
        if not any((self.root / "src").iterdir()):
            listing += b".\n"
        listing += f"{self.lib}\n".encode()
        parts = b"".join(p.read_bytes() for p in sorted((self.root / "parts").glob("*.txt")))
        return {
            world.a_path: rows,
            world.c_path: listing,
            "out/folder/deep/file": file,
            "out/folder/tool": tool,
            "all.txt": file + tool + listing + parts,
        }

    def dangling(self) -> bool:
        return any(p.is_symlink() and not p.is_file() for p in (self.root / "src").rglob("*"))

    def drop_dangling(self) -> None:
        for p in list((self.root / "src").rglob("*")):
            if p.is_symlink() and not p.is_file():
                p.unlink()

    @rule(quick=st.booleans())
    def check(self, quick: bool = False) -> None:
        """The heart of it: everything agrees, and the outputs are right."""
        self.drop_dangling()
        if quick:
            self.call("run")
            self.right()
            self.made |= set(self.causes().values())
            return
        said = self.call("status", "--json")
        dry = self.call("run", "--dry", "--json")
        assert said["stages"] == (dry["stages"] if isinstance(dry, dict) else dry)
        actions = {s["stage"]: s["action"] for s in said["stages"]}
        done = {s["stage"]: s["outcome"] for s in self.call("run", "--json")["stages"]}
        fits = {"keep": "kept", "restore": "restored", "run": "ran"}
        for stage, action in actions.items():
            assert action == "wait" or done[stage] == fits[action], (stage, action, done[stage])
        causes = self.causes()
        for stage, outcome in done.items():
            assert not (outcome == "ran" and causes[stage] in self.made), f"{stage} ran again"
        self.made |= set(causes.values())
        self.right()
        assert self.call("status", "--json")["idle"]
        assert "nothing to do" in self.call("run")

    @rule(stage=st.sampled_from("abcd"))
    def run_one(self, stage: str) -> None:
        self.drop_dangling()
        self.call("run", self.world.names[stage])

    @rule(stage=st.sampled_from("abcd"))
    def force_one(self, stage: str) -> None:
        self.drop_dangling()
        self.call("run", "--force", self.world.names[stage])

    def right(self) -> None:
        for path, data in self.expected().items():
            full = self.root / path
            assert not full.is_symlink(), path
            assert full.read_bytes() == data, path
        folder = self.root / "out/folder"
        assert sorted(str(p.relative_to(folder)) for p in folder.rglob("*")) == [
            "deep", "deep/file", "empty", "link", "tool",
        ]  # fmt: skip
        assert (folder / "link").readlink() == Path("deep/file")
        assert (folder / "tool").stat().st_mode & 0o100
        assert not (folder / "deep/file").stat().st_mode & 0o100


TestProject = ProjectMachine.TestCase
TestProject.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
