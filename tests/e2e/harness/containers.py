"""Local containers with images made from Debian's own packages: no image registry is asked.

`service()` gives a Docker-compatible API (podman); `provide()` makes one image and gives it every name that
a generated file or an executor asks for. Image and store live in `.cache/containers` of the checkout, apart
from the user's own podman, and are kept between runs (about 90 s the first time).

Needs root and Debian's `podman runc netavark aardvark-dns iptables debootstrap`.

Traps:

- crun fails where cgroups are mounted read-only: runc and cgroupfs it is;
- a sandbox's root may lack CAP_SYS_RESOURCE, so that limits cannot be raised above the inherited ones;
- with an old CNI folder about, podman takes CNI and then misses its plugins: netavark is named;
- Debian 12 has Node 18, node24 actions want 24: the one of the tools is copied in, and so is uv;
- a machine behind a proxy has a certificate authority of its own: its bundle is copied in;
- a job with `services:` cannot reach servers on the machine's loopback interface.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.e2e.harness.tools import CHECKOUT, Tools

CACHE = Path(os.environ.get("MLPIPEC_TEST_CONTAINERS") or CHECKOUT / ".cache" / "containers")
PACKAGES = "ca-certificates,bash,git,make,python3,python3-venv,python3-pip,nodejs,rsync,zstd,curl,jq,procps"
BASE = "localhost/ci-base:latest"
# What pipeline-runner itself starts: one that only waits, one whose command is git, one to copy files.
PAUSE = "k8s-docker.packages.atlassian.com/pause:3.8"
GIT = "docker.io/alpine/git:latest"
COPY = "docker.io/library/alpine:latest"

_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_PROGRAMS = ("podman", "runc", "debootstrap", "iptables")

_UNWANTED = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale")
_SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TRUSTING = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")

_CONTAINERS_CONF = """\
[containers]
default_ulimits = ["nofile=16384:16384", "nproc=16384:16384"]
[network]
network_backend = "netavark"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""

_STORAGE_CONF = """\
[storage]
driver = "overlay"
graphroot = "{root}/storage"
runroot = "{root}/run"
"""


def missing() -> str | None:
    """Why there are no containers here, or None."""
    if os.geteuid() != 0:
        return "containers need root here"
    absent = [name for name in _PROGRAMS if not shutil.which(name, path=_path())]
    return f"containers need {', '.join(absent)}" if absent else None


def provide(tools: Tools, names: Iterable[str]) -> None:
    """Makes sure that every image of `names` is there under that name."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (CACHE / "containers.conf").write_text(_CONTAINERS_CONF)
        (CACHE / "storage.conf").write_text(_STORAGE_CONF.format(root=CACHE))
        if _podman("image", "exists", BASE, check=False) != 0 or _stamp().read_text() != _digest(tools):
            _make_base(tools)
        for name in (COPY, *names):
            _podman("tag", BASE, full_name(name))


def variant(name: str, content: str) -> None:
    """An image of that name (which may have been another's) that holds `content` in `/version`."""
    container = output("create", BASE, "true")
    try:
        with tempfile.NamedTemporaryFile("w", prefix="mlp") as file:
            file.write(content)
            file.flush()
            _podman("cp", file.name, f"{container}:/version")
        _podman("commit", "-q", "-c", "USER 1000:1000", container, name)
    finally:
        _podman("rm", "-f", container)


def full_name(name: str) -> str:
    """`python:3.11` as Docker understands it: with registry and tag."""
    first, _, rest = name.partition("/")
    if not rest:
        name = f"docker.io/library/{name}"
    elif "." not in first and first != "localhost":
        name = f"docker.io/{name}"
    return name if ":" in name.rpartition("/")[2] or "@" in name else f"{name}:latest"


@contextlib.contextmanager
def service() -> Iterator[str]:
    """A Docker-compatible API for the time of the block; yields the value of DOCKER_HOST.

    What executors leave running behind is removed by the last of those that use the API at the same time.
    """
    with using():
        yield from _serve()


@contextlib.contextmanager
def using() -> Iterator[None]:
    """Keeps others from removing the containers of the block when they are done with theirs."""
    with (CACHE / "users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield
        finally:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _podman("rm", "--all", "--force", "--time", "0", check=False)


def _serve() -> Iterator[str]:
    # A socket's path may have 107 bytes: a temporary folder is short, the checkout's path may not be.
    with tempfile.TemporaryDirectory(prefix="mlp") as folder:
        socket = Path(folder, "podman.sock")
        command = ["podman", "system", "service", "--time=0", socket.as_uri().replace("file:", "unix:")]
        log = CACHE / "service.log"
        with log.open("w") as errors, subprocess.Popen(command, env=environment(), stderr=errors) as server:
            try:
                for _ in range(300):
                    if socket.exists():
                        break
                    time.sleep(0.1)
                else:
                    raise RuntimeError(f"podman's service did not come up: {log.read_text()}")
                yield f"unix://{socket}"
            finally:
                server.terminate()


def _make_base(tools: Tools) -> None:
    archive = CACHE / "base.tar"
    if not archive.exists():
        root = CACHE / "rootfs"
        shutil.rmtree(root, ignore_errors=True)
        # A folder that is packed at once need not outlive a power cut: else dpkg waits for the disk much.
        settings = root / "etc/dpkg/dpkg.cfg.d"
        settings.mkdir(parents=True)
        (settings / "fast").write_text("force-unsafe-io\n")
        with (CACHE / "debootstrap.log").open("w") as log:
            subprocess.run(
                ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(root)],
                check=True,
                stdout=log,
                stderr=log,
            )
        (root / "usr/bin/python").symlink_to("python3")
        unwanted = [f"--exclude=./{path}" for path in _UNWANTED]
        subprocess.run(["tar", "-C", str(root), *unwanted, "-cf", str(archive) + ".part", "."], check=True)
        Path(str(archive) + ".part").replace(archive)
        shutil.rmtree(root)
    raw = "localhost/ci-raw:latest"
    _podman("import", "-q", "-c", f"ENV PATH={_SEARCH}", str(archive), raw)
    programs = [tools.program(name) for name in ("node", "uv", "uvx")]
    _derive(raw, BASE, [(path.resolve(), f"/usr/local/bin/{path.name}") for path in programs])
    _derive(BASE, PAUSE, [], 'ENTRYPOINT ["/bin/sleep","infinity"]', "CMD []")
    _derive(BASE, GIT, [], 'ENTRYPOINT ["git"]', "CMD []")
    _podman("rmi", "-f", raw)
    _stamp().write_text(_digest(tools))


def _derive(source: str, name: str, files: list[tuple[Path, str]], *changes: str) -> None:
    """An image `name` from `source` with `files` added and the machine's certificates trusted."""
    trusted = str(_CERTIFICATES)
    variables = [f"ENV {name}={trusted}" for name in _TRUSTING]
    container = output("create", source, "true")
    try:
        for file, target in [*files, (_CERTIFICATES, trusted)]:
            _podman("cp", str(file), f"{container}:{target}")
        settings = [x for change in ('CMD ["/bin/bash"]', *variables, *changes) for x in ("-c", change)]
        _podman("commit", "-q", *settings, container, name)
    finally:
        _podman("rm", "-f", container)


def _stamp() -> Path:
    path = CACHE / "stamp"
    if not path.exists():
        path.write_text("")
    return path


def _digest(tools: Tools) -> str:
    programs = [str(tools.program(name).resolve()) for name in ("node", "uv")]
    text = [PACKAGES, *programs, _CERTIFICATES.read_text()]
    return hashlib.sha256("\0".join(text).encode()).hexdigest()


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def environment() -> dict[str, str]:
    """The variables with which podman uses this store and no other."""
    return {
        **os.environ,
        "PATH": _path(),
        "CONTAINERS_CONF": str(CACHE / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(CACHE / "storage.conf"),
    }


def _podman(*args: str, check: bool = True) -> int:
    done = subprocess.run(["podman", *args], env=environment(), capture_output=True, text=True)
    if check and done.returncode != 0:
        raise RuntimeError(f"podman {' '.join(args)}: {done.stderr}")
    return done.returncode


def output(*args: str) -> str:
    """What a call of podman says."""
    return subprocess.run(
        ["podman", *args], env=environment(), capture_output=True, text=True, check=True
    ).stdout.strip()
