"""BLAKE3 of bytes and files. Hashes are 64 lower-case hexadecimal digits everywhere."""

from __future__ import annotations

import os
from collections.abc import Sequence

from blake3 import blake3

from mlflowc import plainfile

# From here on a file is mapped and hashed on all cores; below, reading it is quicker than mapping.
_MAPPED = 8 * 1024 * 1024
_CHUNK = 1024 * 1024


def is_name(digest: object) -> bool:
    """Whether what was read somewhere may be a hash: nothing that is a path, wherever it is put into one."""
    return isinstance(digest, str) and digest.isalnum() and digest.isascii()


def hash_bytes(data: bytes | memoryview) -> str:
    """The hash of `data`."""
    return blake3(data).hexdigest()


def hash_file(path: str | os.PathLike[str]) -> str:
    """The hash of a file's content. Raises `OSError` when it cannot be read."""
    fd = plainfile.opened(path)
    try:
        size = os.fstat(fd).st_size
        if size >= _MAPPED:
            hasher = blake3(max_threads=blake3.AUTO)
            return hasher.update_mmap(path).hexdigest()
        # One byte more than there should be: a file that grew meanwhile is read on.
        data = os.read(fd, min(size + 1, _CHUNK))
        if len(data) == size < _CHUNK:
            return blake3(data).hexdigest()
        hasher = blake3()
        while data:
            hasher.update(data)
            data = os.read(fd, _CHUNK)
        return hasher.hexdigest()
    finally:
        os.close(fd)


def hash_files(paths: Sequence[str]) -> list[str]:
    """The hashes of many files, in their order, several at a time. Raises the first `OSError`."""
    if len(paths) < 16:
        return [hash_file(p) for p in paths]
    # Brings `logging` along: only where there are many files.
    from concurrent.futures import ThreadPoolExecutor

    workers = min(8, os.cpu_count() or 1)
    batch = max(1, len(paths) // (workers * 8))
    batches = [paths[i : i + batch] for i in range(0, len(paths), batch)]
    with ThreadPoolExecutor(workers) as pool:
        return [h for hashes in pool.map(lambda b: [hash_file(p) for p in b], batches) for h in hashes]


def hash_below(folder: str, files: Sequence[tuple[bytes, int]]) -> list[bytes]:
    """The hashes, of 32 bytes, of files in a folder: their relative paths, and sizes that they had a moment
    ago. In their order, several at a time. Raises the first `OSError`.
    """
    if not files:
        return []
    root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if len(files) < 64:
            return _hashed(folder, root, files)
        # Brings `logging` along: only where there are many files.
        from concurrent.futures import ThreadPoolExecutor

        workers = min(8, os.cpu_count() or 1)
        batch = max(16, min(2048, len(files) // (workers * 4)))
        batches = [files[i : i + batch] for i in range(0, len(files), batch)]
        with ThreadPoolExecutor(workers) as pool:
            return [h for hashes in pool.map(lambda b: _hashed(folder, root, b), batches) for h in hashes]
    except OSError as e:
        if isinstance(e.filename, bytes):
            e.filename = os.path.join(folder, os.fsdecode(e.filename))  # noqa: PTH118
        raise
    finally:
        os.close(root)


def _hashed(folder: str, root: int, files: Sequence[tuple[bytes, int]]) -> list[bytes]:
    found: list[bytes] = []
    add, start, read, close, hashed = found.append, os.open, os.read, os.close, blake3
    for name, size in files:
        if 0 < size < _CHUNK:
            # Without waiting: see `plainfile`. Of what is no file any more there is nothing to read.
            fd = start(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=root)
            try:
                # One byte more than there should be: whatever has another size now is read with more care.
                data = read(fd, size + 1)
            finally:
                close(fd)
            if len(data) == size:
                add(hashed(data).digest())
                continue
        add(bytes.fromhex(hash_file(os.path.join(folder, os.fsdecode(name)))))  # noqa: PTH118
    return found
