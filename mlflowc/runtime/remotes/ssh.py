"""A folder on a machine that is reached by SSH (`ssh://user@host:22/folder`), through SFTP.

Every thread has a connection of its own: threads that share one wait for each other, at times for ever.
Hosts must be known already (`~/.ssh/known_hosts`); keys come from the agent, from `~/.ssh` and from
`~/.ssh/config`.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import paramiko

from mlflowc.errors import Failure
from mlflowc.ir.model import Value
from mlflowc.runtime.remotes.transport import CHUNK, AbsentError, Found, RemoteError

_LEFT = ".part-"
_OPTIONS = ("key", "known_hosts", "timeout")
_counter = itertools.count()
T = TypeVar("T")


def connect(address: str, root: Path, options: Mapping[str, Value]) -> Ssh:
    """The folder of `ssh://user@host:port/folder`; `/~/folder` is in the user's home."""
    parts = urlsplit(address)
    try:
        port = parts.port
    except ValueError:
        raise Failure(f"`{address}` has no port that could be", code=2) from None
    if not parts.hostname or not parts.path.strip("/"):
        raise Failure(f"`{address}` is not of the form ssh://user@host/folder", code=2)
    if parts.password:
        raise Failure("a password does not belong into an address", help="use a key", code=2)
    unknown = [o for o in options if o not in _OPTIONS]
    if unknown:
        help = f"there are: {', '.join(_OPTIONS)}"
        raise Failure(f"a remote at `ssh://` has no option `{unknown[0]}`", help=help, code=2)
    path = unquote(parts.path)
    folder = path.removeprefix("/~/") if path.startswith("/~/") else path
    settings = _settings(parts.hostname, parts.username, port, options, root)
    return Ssh(settings, PurePosixPath(folder), address)


def _settings(
    host: str, user: str | None, port: int | None, options: Mapping[str, Value], root: Path
) -> dict[str, Any]:
    """What `SSHClient.connect` takes, with what `~/.ssh/config` says about the host."""
    config: Mapping[str, Any] = {}
    file = Path("~/.ssh/config").expanduser()
    if file.is_file():
        try:
            config = paramiko.SSHConfig.from_path(str(file)).lookup(host)
        except (paramiko.ConfigParseError, OSError) as e:
            raise Failure(f"`~/.ssh/config` cannot be read: {e}") from None
    keys = [str(root / Path(str(options["key"])).expanduser())] if "key" in options else None
    known = root / Path(str(options.get("known_hosts", "~/.ssh/known_hosts"))).expanduser()
    return {
        "hostname": config.get("hostname", host),
        "port": port or int(config.get("port", 22)),
        "username": user or config.get("user"),
        "key_filename": keys or config.get("identityfile"),
        "timeout": float(str(options.get("timeout", 15)).removesuffix("s")),
        "known": known,
    }


class Ssh:
    """See `Transport`. Files are written beside their place and renamed."""

    width = 6
    writable = True

    def __init__(self, settings: dict[str, Any], root: PurePosixPath, shown: str) -> None:
        self.shown = shown
        self._root = root
        self._known = settings.pop("known")
        self._settings = settings
        self._local = threading.local()
        self._clients: list[paramiko.SSHClient] = []
        self._guard = threading.Lock()
        self._made: set[PurePosixPath] = set()

    def read(self, name: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """See `Transport`."""
        try:
            with self._sftp().open(str(self._root / name), "rb") as file:
                size = file.stat().st_size or 0
                end = size if length is None else min(size, start + length)
                file.seek(start)
                # Asked for in advance, so that it flows.
                file.prefetch(end)
                while start < end:
                    chunk = file.read(min(CHUNK, end - start))
                    if not chunk:
                        return
                    start += len(chunk)
                    yield chunk
        except FileNotFoundError:
            raise AbsentError(name) from None
        except (OSError, EOFError, paramiko.SSHException) as e:
            raise self._error("read", e) from e

    def size(self, name: str) -> int | None:
        """See `Transport`."""
        try:
            found = self._ask("read", lambda sftp: sftp.stat(str(self._root / name)))
        except AbsentError:
            return None
        return found.st_size or 0

    def stat(self, name: str) -> tuple[int, int]:
        """Its size in bytes, and when it was written, in seconds since 1970. Raises `AbsentError`."""
        found = self._ask("read", lambda sftp: sftp.stat(str(self._root / name)))
        return found.st_size or 0, found.st_mtime or 0

    def write(self, name: str, content: bytes | Path, *, fresh: bool = False) -> bool:
        """See `Transport`."""
        path = self._root / name
        if fresh and self.size(name) is not None:
            return False
        temporary = path.with_name(f"{_LEFT}{os.getpid()}-{threading.get_ident()}-{next(_counter)}")
        try:
            return self._ask("write", lambda sftp: self._put(sftp, content, temporary, path, fresh))
        except AbsentError:
            # The folder went away under our hands.
            with self._guard:
                self._made.clear()
            raise RemoteError(
                f"cannot write the remote `{self.shown}`: its folder is gone", transient=True
            ) from None

    def _put(
        self,
        sftp: paramiko.SFTPClient,
        content: bytes | Path,
        temporary: PurePosixPath,
        path: PurePosixPath,
        fresh: bool,
    ) -> bool:
        self._folders(sftp, path.parent)
        try:
            with sftp.open(str(temporary), "wb") as file:
                file.set_pipelined(True)
                if isinstance(content, bytes):
                    for at in range(0, len(content), CHUNK):
                        file.write(content[at : at + CHUNK])
                else:
                    with content.open("rb") as source:
                        while chunk := source.read(CHUNK):
                            file.write(chunk)
            expected = len(content) if isinstance(content, bytes) else content.stat().st_size
            if sftp.stat(str(temporary)).st_size != expected:
                raise OSError(errno.ENOSPC, "not all of it was written: is the disk full?")
            if not fresh:
                sftp.posix_rename(str(temporary), str(path))
                return True
            try:
                # SFTP's own rename refuses a name that is taken.
                sftp.rename(str(temporary), str(path))
            except OSError:
                sftp.stat(str(path))
                return False
            return True
        finally:
            with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                sftp.remove(str(temporary))

    def names(self, prefix: str) -> Iterator[Found]:
        """See `Transport`."""
        try:
            yield from self._walk(self._sftp(), PurePosixPath(prefix))
        except (OSError, EOFError, paramiko.SSHException) as e:
            raise self._error("list", e) from e

    def remove(self, name: str) -> None:
        """See `Transport`."""
        with contextlib.suppress(AbsentError):
            self._ask("remove from", lambda sftp: sftp.remove(str(self._root / name)))

    def close(self) -> None:
        """See `Transport`."""
        with self._guard:
            clients, self._clients = self._clients, []
        for client in clients:
            client.close()
        self._local = threading.local()

    def _walk(self, sftp: paramiko.SFTPClient, folder: PurePosixPath) -> Iterator[Found]:
        try:
            entries = sftp.listdir_attr(str(self._root / folder))
        except FileNotFoundError:
            return
        for entry in entries:
            mode = entry.st_mode or 0
            if stat.S_ISDIR(mode):
                yield from self._walk(sftp, folder / entry.filename)
            elif stat.S_ISREG(mode) and not entry.filename.startswith(_LEFT):
                name = str(folder / entry.filename)
                yield Found(name, entry.st_size or 0, float(entry.st_mtime or 0))

    def _folders(self, sftp: paramiko.SFTPClient, folder: PurePosixPath) -> None:
        if folder in self._made:
            return
        for part in [*reversed(folder.parents), folder]:
            if part not in self._made and str(part) not in ("/", "."):
                with contextlib.suppress(OSError):
                    sftp.mkdir(str(part))
                self._made.add(part)

    def _ask(self, what: str, ask: Callable[[paramiko.SFTPClient], T]) -> T:
        try:
            return ask(self._sftp())
        except FileNotFoundError:
            raise AbsentError(self.shown) from None
        except (OSError, EOFError, paramiko.SSHException) as e:
            raise self._error(what, e) from e

    def _sftp(self) -> paramiko.SFTPClient:
        """This thread's connection. Raises `RemoteError` where there can be none."""
        found: paramiko.SFTPClient | None = getattr(self._local, "sftp", None)
        channel = found.get_channel() if found else None
        if found is not None and channel is not None and not channel.closed:
            return found
        client = paramiko.SSHClient()
        made = self._login(client)
        channel = made.get_channel()
        if channel is not None:
            channel.settimeout(60)
        self._local.sftp = made
        with self._guard:
            self._clients.append(client)
        return made

    def _login(self, client: paramiko.SSHClient) -> paramiko.SFTPClient:
        where = self._settings
        try:
            if self._known.is_file():
                client.load_host_keys(str(self._known))
            client.set_missing_host_key_policy(paramiko.RejectPolicy())
            limits = {"banner_timeout": where["timeout"], "auth_timeout": where["timeout"]}
            client.connect(**where, **limits)
            return client.open_sftp()
        except paramiko.BadHostKeyException as e:
            client.close()
            raise RemoteError(
                f"the host key of `{where['hostname']}` is not the one that is known: {e}"
            ) from e
        except paramiko.AuthenticationException as e:
            client.close()
            help = "add a key to the agent, name it in `~/.ssh/config`, or set `key` in the `cache` block"
            raise RemoteError(f"the remote `{self.shown}` refuses the login", help=help) from e
        except (OSError, EOFError, paramiko.SSHException) as e:
            client.close()
            known = "not found in known_hosts" in str(e)
            help = (
                f"is it the right one? then `ssh {where['hostname']}` once"
                if known
                else "check the address and the network"
            )
            raise RemoteError(f"cannot reach the remote `{self.shown}`: {e}", help=help) from e

    def _error(self, what: str, e: Exception) -> RemoteError:
        if isinstance(e, RemoteError):
            return e
        final = isinstance(e, OSError) and e.errno in (errno.EACCES, errno.EPERM, errno.ENOSPC)
        sftp = getattr(self._local, "sftp", None)
        if not final and sftp is not None:
            # Half a conversation: the next try begins a new one.
            with contextlib.suppress(Exception):
                sftp.close()
            self._local.sftp = None
        return RemoteError(
            f"cannot {what} the remote `{self.shown}`: {e or type(e).__name__}", transient=not final
        )
