"""mlpipec's remotes beside DVC's and the server's own client, on one S3 server, in one run on one machine.

    python bench/remotes.py                               100,000 files of 1 kB, and one file of 1 GB
    python bench/remotes.py --files 10000 --bytes 1000 --large 200 --without dvc

Many small files: `cache push` and `cache pull` of one folder, beside `dvc push` and `dvc pull` of the same
folder, and beside one file of the same size through the same client and through the AWS command line. One
large file: beside these two. The server is SeaweedFS on loopback; peers have an environment of their own
below `.cache/bench`.
Seconds by the clock, and in brackets those of processor time: on a busy machine these say more.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import uv

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from tests.support.servers import S3, s3_server  # noqa: E402

MLPIPEC = Path(sys.executable).with_name("mlpipec")
PEERS = CHECKOUT / ".cache" / "bench" / "remotes"
REQUIREMENTS = {"dvc": ["dvc==3.67.1", "dvc-s3==3.3.0"], "aws": ["awscli==1.46.3"]}
PIPELINE = """\
mlpipe 1
pipeline bench
cache {{ remote = "s3://bucket/{name}", write = all }}
stage make {{
  out data: {kind} = "{path}"
  run = "python3 ../make.py {{{{data}}}} {files} {size}"
}}
"""
MAKE = """\
import pathlib, random, sys
path, files, size = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
rng = random.Random(1)
if files == 1:
    with path.open("wb") as f:
        for _ in range(size // 1_000_000):
            f.write(rng.randbytes(1_000_000))
else:
    for n in range(files):
        folder = path / f"{n % 100:02}"
        if n < 100:
            folder.mkdir(parents=True)
        (folder / f"{n:06}.bin").write_bytes(rng.randbytes(size))
"""


class Taken(NamedTuple):
    """Seconds by the clock, and of processor time of the programs that were called."""

    clock: float
    processor: float


@dataclass(frozen=True, slots=True)
class Figure:
    """What a push and a pull took."""

    name: str
    push: Taken
    pull: Taken


def timed(work: Callable[[], object]) -> Taken:
    """What it takes. The server's own work is not in it: the server has not ended."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    work()
    clock, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Taken(clock, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def call(command: list[str | Path], folder: Path, env: dict[str, str]) -> None:
    """Runs a command that must succeed."""
    done = subprocess.run(
        command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}")


def mlpipec(work: Path, env: dict[str, str], files: int, size: int) -> Figure:
    """One stage's result, pushed and pulled into an empty cache."""
    name = f"{files}x{size}"
    folder = work / f"mlpipec-{name}"
    folder.mkdir()
    (work / "make.py").write_text(MAKE)
    kind, path = ("file", "data.bin") if files == 1 else ("dir", "data/")
    text = PIPELINE.format(name=name, kind=kind, path=path, files=files, size=size)
    (folder / "pipeline.mlpipe").write_text(text)
    call([MLPIPEC, "run", "--no-remote"], folder, env)
    push = timed(lambda: call([MLPIPEC, "cache", "push"], folder, env))
    before = _listing(folder)
    shutil.rmtree(folder / ".mlpipe")
    shutil.rmtree(folder / "data", ignore_errors=True)
    (folder / "data.bin").unlink(missing_ok=True)
    pull = timed(lambda: call([MLPIPEC, "cache", "pull"], folder, env))
    call([MLPIPEC, "run", "--no-remote"], folder, env)
    assert _listing(folder) == before, "what came back is not what was sent"
    _remove(folder)
    return Figure("mlpipec", push, pull)


def dvc(work: Path, env: dict[str, str], files: int, size: int, server: S3) -> Figure:
    """The same folder, tracked by DVC."""
    bin = peer("dvc")
    folder = work / f"dvc-{files}x{size}"
    folder.mkdir()
    env = {**env, "DVC_NO_ANALYTICS": "1", "PATH": f"{bin}:{env['PATH']}"}
    path = "data.bin" if files == 1 else "data"
    (folder / path).mkdir() if files > 1 else None
    shutil.rmtree(folder / path, ignore_errors=True)
    call([sys.executable, work / "make.py", path, str(files), str(size)], folder, env)
    call(["git", "init", "-q"], folder, env)
    call([bin / "dvc", "init", "-q"], folder, env)
    call([bin / "dvc", "remote", "add", "-d", "s3", f"s3://bucket/dvc-{files}x{size}"], folder, env)
    call([bin / "dvc", "remote", "modify", "s3", "endpointurl", server.endpoint], folder, env)
    call([bin / "dvc", "add", "-q", path], folder, env)
    push = timed(lambda: call([bin / "dvc", "push", "-q"], folder, env))
    _remove(folder / ".dvc" / "cache")
    _remove(folder / path)
    pull = timed(lambda: call([bin / "dvc", "fetch", "-q"], folder, env))
    _remove(folder)
    return Figure("dvc (push, fetch)", push, pull)


def aws(work: Path, env: dict[str, str], size: int) -> Figure:
    """One file through the AWS command line."""
    bin = peer("aws")
    call([sys.executable, work / "make.py", "one.bin", "1", str(size)], work, env)
    push = timed(
        lambda: call([bin / "aws", "s3", "cp", "--quiet", "one.bin", "s3://bucket/aws.bin"], work, env)
    )
    pull = timed(
        lambda: call([bin / "aws", "s3", "cp", "--quiet", "s3://bucket/aws.bin", "two.bin"], work, env)
    )
    (work / "one.bin").unlink()
    (work / "two.bin").unlink()
    return Figure("aws s3 cp", push, pull)


def obstore_client(work: Path, env: dict[str, str], size: int) -> Figure:
    """One file through the bare client that mlpipec uses, without hashing."""
    call([sys.executable, work / "make.py", "one.bin", "1", str(size)], work, env)
    start = (
        "import obstore, sys; from obstore.store import S3Store; from pathlib import Path\n"
        "s = S3Store('bucket', client_options={'allow_http': True})\n"
    )
    up = start + "obstore.put(s, 'bare.bin', Path('one.bin'), chunk_size=16 << 20, max_concurrency=4)"
    down = start + (
        "f = open('two.bin', 'wb')\n"
        "for c in obstore.get(s, 'bare.bin').stream(min_chunk_size=1 << 20): f.write(c)"
    )
    push = timed(lambda: call([sys.executable, "-c", up], work, env))
    pull = timed(lambda: call([sys.executable, "-c", down], work, env))
    (work / "one.bin").unlink()
    (work / "two.bin").unlink()
    return Figure("bare client", push, pull)


def peer(name: str) -> Path:
    """The `bin` folder of a peer's environment, made when it is not there."""
    venv = PEERS / name
    stamp = venv / "installed"
    wanted = "\n".join(REQUIREMENTS[name])
    if not stamp.exists() or stamp.read_text() != wanted:
        tool = uv.find_uv_bin()
        subprocess.run([tool, "venv", "-q", "--clear", "--python", sys.executable, venv], check=True)
        install = [tool, "pip", "install", "-q", "--python", venv / "bin" / "python", *REQUIREMENTS[name]]
        subprocess.run(install, check=True)
        stamp.write_text(wanted)
    return venv / "bin"


def _listing(folder: Path) -> list[tuple[str, int]]:
    return sorted(
        (p.relative_to(folder).as_posix(), p.stat().st_size) for p in folder.glob("data*/**/*") if p.is_file()
    )


def _remove(path: Path) -> None:
    if path.is_file():
        path.unlink()
    elif path.exists():
        subprocess.run(["rm", "-rf", str(path)], check=True)


def show(title: str, figures: list[Figure]) -> None:
    """A table of seconds by the clock (and of processor time), with ratios to mlpipec."""
    base = figures[0]
    print(f"\n{title}\n\n| | push | pull | push, mlpipec is | pull, mlpipec is |\n|---|---|---|---|---|")
    for f in figures:
        taken = [f"{t.clock:.2f} s ({t.processor:.2f})" for t in (f.push, f.pull)]
        ratios = [_ratio(f.push, base.push), _ratio(f.pull, base.pull)] if f is not base else ["", ""]
        print(f"| {' | '.join([f.name, *taken, *ratios])} |", flush=True)


def _ratio(other: Taken, own: Taken) -> str:
    return f"{other.clock / own.clock:.2f}× ({other.processor / own.processor:.2f}×)"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--files", type=int, default=100_000, help="how many small files")
    parser.add_argument("--bytes", type=int, default=1000, help="bytes of each")
    parser.add_argument("--large", type=int, default=1000, help="MB of the large file")
    parser.add_argument("--without", nargs="*", default=[], choices=["dvc", "aws", "small", "large"])
    args = parser.parse_args()
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    random.seed(1)
    # Ended from outside, it still ends its server.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="bench-remotes-") as folder:
        work = Path(folder)
        with s3_server(work / "server") as server:
            env = {**os.environ, **server.env(), "MLPIPEC_CACHE_DIR": str(work / "envs")}
            total = args.files * args.bytes
            if "small" not in args.without:
                figures = [mlpipec(work, env, args.files, args.bytes)]
                figures.append(obstore_client(work, env, total))
                if "aws" not in args.without:
                    figures.append(aws(work, env, total))
                if "dvc" not in args.without:
                    figures.append(dvc(work, env, args.files, args.bytes, server))
                show(
                    f"{args.files:,} files of {args.bytes:,} bytes (bare client, aws: one of {total:,})",
                    figures,
                )
            if "large" not in args.without:
                size = args.large * 1_000_000
                figures = [mlpipec(work, env, 1, size), obstore_client(work, env, size)]
                if "aws" not in args.without:
                    figures.append(aws(work, env, size))
                if "dvc" not in args.without:
                    figures.append(dvc(work, env, 1, size, server))
                show(f"one file of {args.large:,} MB", figures)


if __name__ == "__main__":
    main()
