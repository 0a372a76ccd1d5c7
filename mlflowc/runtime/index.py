"""What is remembered between runs, in SQLite: which content a path had when it looked as it does now.

A row says: when `path` had this size, mtime, ctime and inode, its content had this hash. A row may be
believed only if every later change must show in the stat. File systems stamp with a clock that ticks (up to
10 ms), so content that was hashed within a tick of its last change is *racy*, as in git: it is not written
down.

Objects of the cache have rows of their own, which also hold the boot in which they were written until they
were flushed to disk: after a power cut such a row is not believed, and the object is hashed before it is
used.

Losing the file loses no result. A damaged file is made anew, a locked or read-only one is done without.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mlflowc.runtime import treerow
from mlflowc.runtime.facttable import FactTable
from mlflowc.runtime.hashing import hash_bytes
from mlflowc.runtime.ports import LocalFileSystem
from mlflowc.runtime.treerow import TreeRow

_TICK = 20_000_000
_COARSE_TICK = 2_000_000_000
_VERSION = f"1 {sys.version_info.major}.{sys.version_info.minor}"
_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE stat (path TEXT PRIMARY KEY, size INT, mtime INT, ctime INT, inode INT, hash TEXT) WITHOUT ROWID;
CREATE TABLE tree (path TEXT PRIMARY KEY, walk TEXT, hash TEXT, size INT, files BLOB);
CREATE TABLE object (hash TEXT PRIMARY KEY, size INT, mtime INT, ctime INT, inode INT, boot TEXT);
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE history (
  id INTEGER PRIMARY KEY, stage TEXT, key TEXT, finished REAL, seconds REAL, outcome TEXT,
  run INT, at TEXT, note TEXT, made TEXT
);
CREATE INDEX history_stage ON history (stage, id);
CREATE INDEX history_run ON history (run);
"""
# What a file of before has to be given, and keeps its history.
_YOUNGER = {"run": "INT", "at": "TEXT", "note": "TEXT", "made": "TEXT"}
_OBJECT = "SELECT size, mtime, ctime, inode, boot FROM object WHERE hash = ?"
# Fewer than the parameters that every SQLite takes.
_AT_ONCE = 500
_RUN = "stage, key, finished, seconds, outcome, run, at, note, made"


class Signature(NamedTuple):
    """What must stay the same for a file's content to be taken as the same."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, st: os.stat_result) -> Signature:
        """From `os.stat`."""
        return cls(st.st_size, st.st_mtime_ns, st.st_ctime_ns, st.st_ino)


class TreeHead(NamedTuple):
    """Of a folder as last seen the hash of the walk, of the listing, and bytes."""

    walk: str
    hash: str
    size: int


class Run(NamedTuple):
    """A line of the history. `finished` is in seconds since 1970.

    `outcome` is `ran`, `restored`, `kept` (another result than before was in place already) or `failed`, and
    then `note` says why. `run` numbers the runs of this project; stages of one `mlpipec run` have the same.
    It is None until it is written down, and for what was written before there were numbers. `commit` was
    checked out. `made` is what came out (`records.made_text`), None where nothing did or that was not kept.
    """

    stage: str
    key: str
    finished: float
    seconds: float
    outcome: str
    run: int | None = None
    commit: str | None = None
    note: str = ""
    made: str | None = None


def _run(row: Sequence[Any]) -> Run:
    return Run(*row)._replace(note=row[7] or "")


def boot_id() -> str:
    """Names the time since the machine started: differs after a crash, or a power cut."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return str(int(time.time() - time.monotonic()) // 60)


def _storable(path: str) -> bool:
    """Whether SQLite takes the name as text: one that is not UTF-8 is found out again each time."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def racy(changed_ns: int, hashed_ns: int) -> bool:
    """Whether a file last changed at `changed_ns` may have changed unseen after it was hashed at
    `hashed_ns`.
    """
    tick = _COARSE_TICK if changed_ns % 1_000_000_000 == 0 else _TICK
    return hashed_ns - changed_ns < tick


class StatIndex:
    """The index of one project. Safe to use from several threads; several processes may share the file."""

    def __init__(self, path: Path | None) -> None:
        """`path` is that of the database (None: memory only). Never fails: see the module."""
        self._path = path
        self._guard = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._opened = False
        self._stats: dict[str, tuple[Signature, str]] | None = None
        self._new_stats: dict[str, tuple[Signature, str]] = {}
        self._new_trees: dict[str, TreeRow] = {}
        self._new_objects: dict[str, tuple[Signature, str | None]] = {}
        self._loaded: dict[str, tuple[Any, ...]] = {}
        self._new_runs: list[Run] = []
        self._run: int | None = None
        self._gone: set[str] = set()
        self._settled_ns = 0
        self._boot: str | None = None
        self._facts = FactTable(lambda: self._read("SELECT name, value FROM fact", ()))

    # --- files

    def file(self, path: str, now: Signature) -> str | None:
        """The hash of the file at `path`, if it is known to look as it does `now`."""
        with self._guard:
            known = self._new_stats.get(path) or self._all_stats().get(path)
        return known[1] if known and known[0] == now else None

    def remember_file(
        self, path: str, now: Signature, digest: str, hashed_ns: int, *, ours: bool = False
    ) -> None:
        """Remembers a file's hash, unless that is racy.

        `hashed_ns` is the time (`time.time_ns`) before its reading began. `ours` says that its writer has
        ended under our eyes: then nobody else is expected to write before `flush` returns, and it sees to it
        that a later change shows.
        """
        if ours:
            self._settled_ns = max(self._settled_ns, now.ctime_ns)
        elif racy(now.ctime_ns, hashed_ns):
            return
        with self._guard:
            self._new_stats[path] = (now, digest)

    # --- folders

    def tree(self, path: str) -> TreeRow | None:
        """The folder as last seen, if its file says so: it is a statement of its own, and may be younger or
        older than the head.
        """
        with self._guard:
            if path in self._new_trees:
                return self._new_trees[path]
        place = self._tree_place(path)
        if place is not None:
            with contextlib.suppress(OSError, ValueError, EOFError, TypeError):
                return treerow.decode(place.read_bytes())
        return None

    def _tree_place(self, path: str) -> Path | None:
        if self._path is None:
            return None
        name = hash_bytes(path.encode("utf-8", "surrogateescape"))
        return self._path.parent / "folders" / name[:32]

    def tree_head(self, path: str) -> TreeHead | None:
        """What `tree` says of the folder as a whole; its files need not be read for that."""
        with self._guard:
            if path in self._new_trees:
                return TreeHead(*self._new_trees[path][:3])
            rows = self._read("SELECT walk, hash, size FROM tree WHERE path = ?", (path,))
        return TreeHead(*rows[0]) if rows else None

    def remember_tree(
        self, path: str, row: TreeRow, changed_ns: int, hashed_ns: int, *, ours: bool = False
    ) -> None:
        """Remembers a folder; `changed_ns` is the latest ctime within. The rest as for `remember_file`."""
        if ours:
            self._settled_ns = max(self._settled_ns, changed_ns)
        elif racy(changed_ns, hashed_ns):
            return
        with self._guard:
            self._new_trees[path] = row

    # --- objects

    def load_objects(self, digests: Sequence[str]) -> None:
        """These are about to be asked for: they are read in one go."""
        if len(digests) < 100:
            return
        with self._guard:
            for start in range(0, len(digests), _AT_ONCE):
                part = digests[start : start + _AT_ONCE]
                rows = self._read(
                    "SELECT hash, size, mtime, ctime, inode, boot FROM object WHERE hash IN "
                    f"({', '.join('?' * len(part))})",
                    part,
                )
                self._loaded.update((row[0], row[1:]) for row in rows)

    def known_object(self, digest: str) -> Signature | None:
        """What the object's file looked like when its content was known to be right."""
        with self._guard:
            if digest in self._gone:
                return None
            if digest in self._new_objects:
                return self._new_objects[digest][0]
            found = self._loaded.pop(digest, None)
            rows = [found] if found else self._read(_OBJECT, (digest,))
        for size, mtime, ctime, inode, boot in rows:
            if boot is None or boot == self._this_boot():
                return Signature(size, mtime, ctime, inode)
        return None

    def remember_object(self, digest: str, now: Signature, *, durable: bool) -> None:
        """Remembers what a good object looks like. `durable`: its content is known to be on the disk
        itself.
        """
        with self._guard:
            self._gone.discard(digest)
            known_durable = digest in self._new_objects and self._new_objects[digest][1] is None
            self._new_objects[digest] = (now, None if durable or known_durable else self._this_boot())
            self._settled_ns = max(self._settled_ns, now.ctime_ns)

    def forget_object(self, digest: str) -> None:
        """The object is not there, or not what it should be."""
        with self._guard:
            self._new_objects.pop(digest, None)
            self._gone.add(digest)

    def volatile_objects(self) -> list[str]:
        """Hashes of objects that were written in this process and not yet flushed to the disk itself."""
        with self._guard:
            return [h for h, (_, boot) in self._new_objects.items() if boot is not None]

    def objects_are_durable(self, digests: Iterable[str]) -> None:
        """They have been flushed."""
        with self._guard:
            for digest in digests:
                if digest in self._new_objects:
                    self._new_objects[digest] = (self._new_objects[digest][0], None)

    # --- facts about files, by content: what the import scanner found out, verdicts on data

    @property
    def facts(self) -> FactTable:
        """Names to JSON values, kept between runs."""
        return self._facts

    # --- history

    def remember_run(self, run: Run) -> None:
        """Adds a line to the history."""
        with self._guard:
            self._new_runs.append(run)

    def history(self, stage: str, limit: int = 50) -> list[Run]:
        """The stage's runs, latest first."""
        return self.runs([stage], limit)

    def runs(self, stages: Sequence[str] | None = None, limit: int = 50) -> list[Run]:
        """The runs of those stages (None: of all), latest first."""
        with self._guard:
            wanted = "" if stages is None else f" WHERE stage IN ({', '.join('?' * len(stages))})"
            rows = self._read(
                f"SELECT {_RUN} FROM history{wanted} ORDER BY id DESC LIMIT ?", (*(stages or ()), limit)
            )
            new = [r for r in reversed(self._new_runs) if stages is None or r.stage in stages]
        return [*new, *(_run(row) for row in rows)][:limit]

    def last_run(self) -> int | None:
        """The number of the latest run, None where there was none."""
        rows = self._read("SELECT MAX(run) FROM history", ())
        return rows[0][0] if rows else None

    def as_of(self, run: int) -> list[Run]:
        """What each stage's latest result was when that run had ended."""
        rows = self._read(
            f"SELECT {_RUN} FROM history WHERE id IN (SELECT MAX(id) FROM history"
            " WHERE (run IS NULL OR run <= ?) AND outcome != 'failed' GROUP BY stage) ORDER BY id",
            (run,),
        )
        return [_run(row) for row in rows]

    def lasted(self) -> dict[str, float]:
        """How many seconds each stage took when it last ran."""
        rows = self._read(
            "SELECT stage, seconds FROM history WHERE id IN"
            " (SELECT MAX(id) FROM history WHERE outcome = 'ran' GROUP BY stage)",
            (),
        )
        return dict(rows)

    def keys(self, start: str) -> list[Run]:
        """Successful runs whose key begins with `start` (hexadecimal), latest first, one a key."""
        rows = self._read(
            f"SELECT {_RUN} FROM history WHERE id IN (SELECT MAX(id) FROM history"
            " WHERE key >= ? AND key < ? AND outcome != 'failed' GROUP BY key) ORDER BY id DESC",
            (start, start + "g"),
        )
        return [_run(row) for row in rows]

    # --- the file

    def flush(self) -> None:
        """Writes what is new. Waits, a tick at most, until a change to what is written down must show."""
        with self._guard:
            results = self._new_stats or self._new_trees or self._new_objects or self._new_runs
            if not (results or self._gone or self._facts.new):
                return
            tick = _COARSE_TICK if self._settled_ns and self._settled_ns % 1_000_000_000 == 0 else _TICK
            wait = self._settled_ns + tick - time.time_ns()
            if self._settled_ns and 0 < wait <= tick:
                time.sleep(wait / 1e9)
            self._write_trees()
            db = self._connect(create=True)
            if db is None:
                return
            try:
                self._write(db)
            except sqlite3.Error:
                # Locked by another process, a full disk, ...: what was not written is found out again.
                with contextlib.suppress(sqlite3.Error):
                    db.rollback()
                return
            stats = self._stats
            if stats is not None:
                stats.update(self._new_stats)
            for new in (self._new_stats, self._new_trees, self._new_objects):
                new.clear()
            self._new_runs.clear()
            self._facts.new.clear()
            self._gone.clear()

    def close(self) -> None:
        """Writes what is new and lets go of the file."""
        self.flush()
        with self._guard:
            if self._db is not None:
                self._db.close()
            self._db, self._opened = None, True

    def _write_trees(self) -> None:
        """What is known of each file in folders, a file a folder. One that is torn does not count."""
        for path, row in self._new_trees.items():
            place = self._tree_place(path)
            if place is not None and row.worth:
                with contextlib.suppress(OSError):
                    os.makedirs(place.parent, exist_ok=True)  # noqa: PTH103
                    LocalFileSystem().write(place, row.encode())

    def _write(self, db: sqlite3.Connection) -> None:
        db.execute("BEGIN IMMEDIATE")
        db.executemany(
            "INSERT OR REPLACE INTO stat VALUES (?, ?, ?, ?, ?, ?)",
            [(p, *signature, digest) for p, (signature, digest) in self._new_stats.items() if _storable(p)],
        )
        db.executemany(
            "INSERT OR REPLACE INTO tree VALUES (?, ?, ?, ?, NULL)",
            [(p, row.walk, row.hash, row.size) for p, row in self._new_trees.items() if _storable(p)],
        )
        db.executemany(
            "INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?, ?, ?)",
            [(h, *signature, boot) for h, (signature, boot) in self._new_objects.items()],
        )
        db.executemany("DELETE FROM object WHERE hash = ?", [(h,) for h in self._gone])
        if self._new_runs and self._run is None:
            self._run = db.execute("SELECT COALESCE(MAX(run), 0) + 1 FROM history").fetchone()[0]
        db.executemany(
            f"INSERT INTO history ({_RUN}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(*r[:5], self._run, r.commit, r.note or None, r.made) for r in self._new_runs],
        )
        db.executemany(
            "INSERT OR REPLACE INTO fact VALUES (?, ?)",
            [(n, json.dumps(self._facts[n])) for n in self._facts.new],
        )
        db.execute("COMMIT")

    def _this_boot(self) -> str:
        if self._boot is None:
            self._boot = boot_id()
        return self._boot

    def _all_stats(self) -> dict[str, tuple[Signature, str]]:
        if self._stats is None:
            rows = self._read("SELECT path, size, mtime, ctime, inode, hash FROM stat", ())
            self._stats = {p: (Signature(s, m, c, i), h) for p, s, m, c, i, h in rows}
        return self._stats

    def _read(self, query: str, args: Sequence[object]) -> list[Any]:
        db = self._connect(create=False)
        if db is None:
            return []
        try:
            return db.execute(query, args).fetchall()
        except sqlite3.OperationalError:
            return []  # locked
        except sqlite3.DatabaseError:
            self._rebuild()
            return []

    def _connect(self, *, create: bool) -> sqlite3.Connection | None:
        if self._db is not None or self._path is None or (self._opened and not create):
            return self._db
        if not create and not self._path.exists():
            return None
        self._opened = True
        try:
            self._db = self._open(self._path)
        except sqlite3.OperationalError:
            self._db = None
        except (sqlite3.DatabaseError, ValueError):
            self._rebuild()
        return self._db

    def _open(self, path: Path) -> sqlite3.Connection:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise sqlite3.OperationalError(str(e)) from e
        db = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
        try:
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
                db.execute("PRAGMA journal_mode = WAL")
                # One statement at a time: `executescript` would commit, and two processes both begin.
                db.execute("BEGIN IMMEDIATE")
                if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
                    for statement in _SCHEMA.strip().split(";\n"):
                        db.execute(statement)
                    db.execute("INSERT INTO meta VALUES ('version', ?)", (_VERSION,))
                db.execute("COMMIT")
            version = db.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()
            if version is None or version[0] != _VERSION:
                raise ValueError("an index of another version")
            there = {row[1] for row in db.execute("PRAGMA table_info(history)")}
            if not there.issuperset(_YOUNGER):
                added = [
                    f"ALTER TABLE history ADD COLUMN {n} {_YOUNGER[n]}" for n in _YOUNGER if n not in there
                ]
                for statement in (*added, "CREATE INDEX IF NOT EXISTS history_run ON history (run)"):
                    # Another process may be faster, with this one and not yet with the next.
                    with contextlib.suppress(sqlite3.OperationalError):
                        db.execute(statement)
            db.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            db.close()
            raise
        return db

    def _rebuild(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
        self._db = None
        if self._path is None:
            return
        for suffix in ("", "-wal", "-shm", "-journal"):
            with contextlib.suppress(OSError):
                Path(f"{self._path}{suffix}").unlink()
        with contextlib.suppress(sqlite3.Error, ValueError, OSError):
            self._db = self._open(self._path)
