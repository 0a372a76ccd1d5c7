"""A PostgreSQL server for tests: Debian's, on a port of its own, of a user without rights."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.servers import free_ports

PASSWORD = "s3cret"


def program(name: str) -> str | None:
    """A program of the server's; Debian does not have it on PATH."""
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    return str(places[0]) if places else shutil.which(name)


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """The address of an empty database, with user and password."""
    initdb, server = program("initdb"), program("postgres")
    assert initdb and server, "PostgreSQL is not installed: apt-get install postgresql"
    # Not below pytest's folder: the user without rights could not go there.
    folder = Path(tempfile.mkdtemp(prefix="mlpipec-pg-"))
    # It refuses to run as root.
    other = (
        {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []}
        if os.getuid() == 0
        else {}
    )
    (folder / "password").write_text(PASSWORD)
    if other:
        shutil.chown(folder, "nobody")
        shutil.chown(folder / "password", "nobody")
    data = folder / "data"
    try:
        command = [
            initdb,
            "-D",
            str(data),
            "-U",
            "tester",
            "-A",
            "scram-sha-256",
            "--pwfile",
            str(folder / "password"),
        ]
        subprocess.run(
            [*command, "-E", "UTF8", "--no-sync", "--locale=C"], check=True, capture_output=True, **other
        )
        (port,) = free_ports(1)
        settings = {
            "port": port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": folder,
            "fsync": "off",
            "max_connections": 20,
            "shared_buffers": "16MB",
        }
        flags = [x for k, v in settings.items() for x in ("-c", f"{k}={v}")]
        log = folder / "log"
        with log.open("wb") as file:
            process = subprocess.Popen([server, "-D", str(data), *flags], stdout=file, stderr=file, **other)
        try:
            address = f"postgresql://tester:{PASSWORD}@127.0.0.1:{port}/postgres"
            _wait(process, address, log)
            yield address
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    import psycopg

    end = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(address, connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"PostgreSQL does not answer:\n{log.read_text()[-3000:]}") from None
            time.sleep(0.1)
