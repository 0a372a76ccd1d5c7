"""A small project in a git repository, and `mlpipec` as a person calls it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MLPIPEC = Path(sys.executable).with_name("mlpipec")

PIPELINE = """\
mlpipe 1

pipeline demo

params "params.yaml"

runner gpu {
  gpu       = gpu(1)
  timeout   = 2h
  github    = ["self-hosted", "gpu"]
  gitlab    = ["gpu"]
  bitbucket = ["self.hosted", "gpu"]
}

stage load {
  in  source = "source.txt"
  out raw = "out/raw.txt"
  run = "cp {{source}} {{raw}}; echo WORKING load"
}

stage prepare {
  in  raw = load.raw
  out clean = "out/clean.txt"
  out folder: dir = "out/folder/"
  run = \"\"\"
  sort {{raw}} > {{clean}}
  mkdir -p {{folder}}/deep
  cp {{clean}} {{folder}}/deep/
  echo WORKING prepare
  \"\"\"
}

stage train {
  in     data = prepare.clean
  param  train.epochs
  out    model = "out/model.txt"
  runner = gpu
  run    = "wc -l < {{data}} > {{model}}; echo {{params.train.epochs}} >> {{model}}; echo WORKING train"
}

stage evaluate {
  in  model = train.model
  in  test  = prepare.folder
  out scores: metrics { accuracy: float } = "out/scores.json"
  run = \"\"\"
  ls {{test}}/deep
  echo '{"accuracy": 0.'$(tail -n1 {{model}})'}' > {{scores}}
  echo WORKING evaluate
  \"\"\"
}

gate quality { require evaluate.scores.accuracy >= 0.5 else "too low" }

report review {
  metrics evaluate.scores vs "main"
  params vs "main"
}

action publish {
  in train.model
  secrets = [TOKEN]
  approve = "production"
  run     = "test -n \\"$TOKEN\\"; echo \\"PUBLISHING with $TOKEN\\"; cat {{model}} > published.txt"
}

on pull_request { with { train.epochs = 7 }, run = [quality, review] }
on push("main") { run = [quality, publish] }
on schedule("17 3 * * *") { run = [train] }
on manual { input train.epochs: int = 6, run = [quality] }
"""

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def worked(self) -> list[str]:
        """The stages whose command really ran."""
        return re.findall(r"WORKING (\w+)", self.out)


@dataclass(frozen=True, slots=True)
class Checkout:
    """A clone of the project, in which commands run."""

    path: Path

    def mlpipec(self, *arguments: str, code: int | None = 0, **variables: str) -> Done:
        """Runs the command; `code` is how it must end (None: however)."""
        environment = {k: v for k, v in os.environ.items() if k != "GITHUB_STEP_SUMMARY"}
        done = subprocess.run(
            [str(MLPIPEC), *arguments],
            cwd=self.path,
            env={**environment, **variables},
            capture_output=True,
            text=True,
        )
        said = Done(done.returncode, _COLOUR.sub("", done.stdout), _COLOUR.sub("", done.stderr))
        assert code is None or said.code == code, f"{arguments}: {said.code}\n{said.out}\n{said.err}"
        assert "Traceback" not in said.err
        return said

    def write(self, files: Mapping[str, str]) -> None:
        """Writes files, making their folders."""
        for name, text in files.items():
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_text(text)

    def read(self, name: str) -> str:
        """The text of a file."""
        return (self.path / name).read_text()

    def replace(self, name: str, before: str, after: str) -> None:
        """Changes a file."""
        text = self.read(name)
        assert before in text
        self.write({name: text.replace(before, after)})

    def git(self, *arguments: str) -> str:
        """Runs git."""
        return subprocess.run(
            ["git", *arguments], cwd=self.path, check=True, capture_output=True, text=True
        ).stdout

    def commit(self) -> None:
        """Commits everything."""
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "x")

    def clone(self, path: Path) -> Checkout:
        """A fresh checkout of what is committed: another machine."""
        subprocess.run(["git", "clone", "-q", str(self.path), str(path)], check=True)
        compiled = self.path / ".mlpipe/compiled"
        if compiled.is_dir():
            # Only to be quick: what was compiled is taken again where the same text is compiled.
            shutil.copytree(compiled, path / ".mlpipe/compiled")
        return Checkout(path)

    def take(self, other: Checkout, *jobs: str) -> None:
        """Gets bundles that the machine of another job left."""
        (self.path / "mlpipe-bundles").mkdir(exist_ok=True)
        for job in jobs:
            shutil.copy(other.path / f"mlpipe-bundles/{job}.tar", self.path / "mlpipe-bundles")


def new(path: Path, pipeline: str = PIPELINE) -> Checkout:
    """The project in a new repository."""
    path.mkdir(parents=True)
    made = Checkout(path)
    made.write(
        {
            "pipeline.mlpipe": pipeline,
            "params.yaml": "train:\n  epochs: 8\n",
            "source.txt": "b\na\n",
            ".gitignore": "out/\npublished.txt\n",
        }
    )
    made.git("init", "-q", "-b", "main")
    made.commit()
    return made
