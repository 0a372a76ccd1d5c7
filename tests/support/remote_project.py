"""A project with small and large files, for tests of remotes: which stages ran shows in a file beside it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.support.project import MLPIPEC

PIPELINE = """\
mlpipe 1
pipeline shared
CACHE
data raw: file = "raw.txt"

stage load {
  in  raw
  out rows: file = "out/rows.txt"
  out big: file = "out/big.bin"
  run = \"\"\"
  echo load >> ../ran-$(basename $PWD).txt
  cat {{raw}} > {{rows}}
  head -c 1500000 /dev/zero | tr '\\\\0' x > {{big}}
  \"\"\"
}

stage split {
  in  rows = load.rows
  out parts: dir = "out/parts/"
  run = \"\"\"
  echo split >> ../ran-$(basename $PWD).txt
  mkdir -p {{parts}}/deep/empty
  for i in $(seq 40); do echo "part $i" > {{parts}}/deep/$i.txt; done
  cat {{rows}} > {{parts}}/rows.txt
  printf '#!/bin/sh\\\\n' > {{parts}}/tool.sh
  chmod +x {{parts}}/tool.sh
  ln -s rows.txt {{parts}}/link
  \"\"\"
}

stage score {
  in  parts = split.parts
  out scores: metrics { n: int } = "out/scores.json"
  run = \"\"\"
  echo score >> ../ran-$(basename $PWD).txt
  echo '{"n": '$(ls {{parts}}/deep | wc -l)'}' > {{scores}}
  \"\"\"
}

gate enough { require score.scores.n >= 10 }
on pull_request { run = [enough] }
"""


_AT_ONCE = """
from mlflowc.sources import retry
retry.LONGEST = 0.0
from mlflowc.__main__ import main
main()
"""


@dataclass
class Checkout:
    """One clone of the project on one machine. `env` are variables of its commands."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)
    program: tuple[str, ...] = (str(MLPIPEC),)

    def hasty(self) -> Checkout:
        """The same, whose `mlpipec` asks a source again at once."""
        return replace(self, program=(sys.executable, "-c", _AT_ONCE))

    def make(self, cache: str = "", raw: str = "a\nb\n") -> Checkout:
        """Writes the project's files."""
        self.root.mkdir(parents=True, exist_ok=True)
        text = PIPELINE.replace("CACHE", cache)
        (self.root / "pipeline.mlpipe").write_text(text)
        (self.root / "raw.txt").write_text(raw)
        return self

    def __call__(self, *args: str, code: int = 0, env: Mapping[str, str] | None = None) -> str:
        """What `mlpipec ARGS` prints, both streams; it must end with `code`."""
        variables = {**os.environ, **self.env, **(env or {})}
        done = subprocess.run(
            [*self.program, *args],
            cwd=self.root,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
        )
        assert done.returncode == code, f"{' '.join(args)}: exit {done.returncode}\n{done.stdout}"
        assert "Traceback" not in done.stdout, done.stdout
        return done.stdout

    @property
    def ran(self) -> list[str]:
        """The stages whose commands ran since this was last asked."""
        log = self.root.with_name(f"ran-{self.root.name}.txt")
        found = log.read_text().split() if log.exists() else []
        log.unlink(missing_ok=True)
        return found

    def forget(self) -> None:
        """As a fresh clone: without cache and outputs."""
        for folder in (".mlpipe", "out", "mlpipe-bundles"):
            shutil.rmtree(self.root / folder, ignore_errors=True)

    def outputs(self) -> dict[str, str]:
        """Everything below `out`: names to contents, link targets and exec bits."""
        found = {}
        for path in sorted((self.root / "out").rglob("*")):
            name = path.relative_to(self.root).as_posix()
            if path.is_symlink():
                found[name] = f"-> {path.readlink()}"
            elif path.is_dir():
                found[name] = "dir"
            else:
                executable = "x" if path.stat().st_mode & 0o100 else "-"
                found[name] = executable + path.read_text()
        return found


def results(text: str) -> int:
    """How many results a line says were pushed."""
    match = re.search(r"(\d+) results? pushed", text)
    return int(match[1]) if match else 0
