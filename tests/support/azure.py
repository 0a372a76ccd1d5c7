"""Azure Blob Storage on this machine: Azurite, Azure's own emulator (npm), with one empty container.

python -m tests.support.azure       installs it below `.cache`; a part of `make tools`
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import hmac
import http.client
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

from tests.conftest import CHECKOUT
from tests.e2e.harness.tools import CACHE, npm_ci
from tests.support.servers import free_ports

_HERE = Path(__file__).with_name("azurite")
_PLACE = CHECKOUT / ".cache" / "azurite"
_PROGRAM = _PLACE / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
# Of the emulator, and published: everybody's account and key.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def node() -> str | None:
    """The program `node`: that of `make tools`, or this machine's."""
    ours = CACHE / "bin" / "node"
    return str(ours) if ours.exists() else shutil.which("node")


def installed() -> bool:
    """Whether it is here, as the lock file wants it."""
    stamp = _PLACE / "stamp"
    return node() is not None and stamp.exists() and stamp.read_text() == _digest() and _PROGRAM.exists()


def install() -> None:
    """Installs it. Safe to call from several processes at once."""
    _PLACE.mkdir(parents=True, exist_ok=True)
    with (_PLACE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not installed():
            for name in ("package.json", "package-lock.json"):
                shutil.copy(_HERE / name, _PLACE / name)
            npm_ci(_PLACE)
            (_PLACE / "stamp").write_text(_digest())


@dataclass(frozen=True, slots=True)
class Azure:
    """A server with one empty container, `bucket`."""

    endpoint: str

    def options(self) -> dict[str, str]:
        """What the `cache` block has to say."""
        return {"account_name": ACCOUNT, "account_key": KEY, "endpoint": self.endpoint}

    def env(self, *, port: int = 0, key: str = KEY) -> dict[str, str]:
        """The same in the environment. `port` is that of another way to the same service."""
        endpoint = re.sub(r":\d+", f":{port}", self.endpoint) if port else self.endpoint
        return {
            "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": key,
            "AZURE_STORAGE_ENDPOINT": endpoint,
        }

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.endpoint.split(":")[2].partition("/")[0])


@contextlib.contextmanager
def azure_server(folder: Path) -> Iterator[Azure]:
    """Starts it; it checks signatures, ranges, blocks and conditional writes."""
    (port,) = free_ports(1)
    program = node()
    assert program
    folder.mkdir(parents=True)
    command = [program, str(_PROGRAM), "--silent", "--blobHost", "127.0.0.1", "--blobPort", str(port)]
    command += ["--location", str(folder / "data"), "--skipApiVersionCheck", "--disableTelemetry"]
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "NO_COLOR": "1"})
        try:
            end = time.monotonic() + 60
            while not _make_container(port):
                if time.monotonic() > end or process.poll() is not None:
                    raise RuntimeError(f"Azurite does not answer:\n{(folder / 'log.txt').read_text()}")
                time.sleep(0.1)
            yield Azure(f"http://127.0.0.1:{port}/{ACCOUNT}")
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(30)


def _make_container(port: int) -> bool:
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    said = "".join(f"{k}:{v}\n" for k, v in headers.items())
    text = "PUT" + "\n" * 12 + said + f"/{ACCOUNT}/{ACCOUNT}/bucket\nrestype:container"
    made = base64.b64encode(hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()).decode()
    headers |= {"Authorization": f"SharedKey {ACCOUNT}:{made}", "Content-Length": "0"}
    with contextlib.suppress(OSError):
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with contextlib.closing(client):
            client.request("PUT", f"/{ACCOUNT}/bucket?restype=container", headers=headers)
            return client.getresponse().status == 201
    return False


def _digest() -> str:
    return hashlib.sha256((_HERE / "package-lock.json").read_bytes()).hexdigest()


if __name__ == "__main__":
    install()
    print(f"tools: Azurite is in {_PLACE}")
