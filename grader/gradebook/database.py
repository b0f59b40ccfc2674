"""The file of the gradebook: opened, brought up to date, and changed in transactions only.

SQLite in WAL mode: readers never wait, writers wait for each other up to ``WAIT_S``, and a process that dies leaves
the last whole transaction. Tables are made and changed by ``MIGRATIONS``; ``user_version`` counts those applied, and all
that are missing are applied in one transaction, so that two commands that open an old file at once both find it new.
A migration that was released is never edited.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from grader.errors import OursError, UsageError, plain

WAIT_S = 20.0
APPLICATION_ID = 0x67726462  # "grdb": tells our file from any other of SQLite's

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (  # 1: people, and what they handed in
        f"PRAGMA application_id = {APPLICATION_ID}",
        """CREATE TABLE students (
            id TEXT PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL, section TEXT NOT NULL,
            canvas_id TEXT NOT NULL, sis_id TEXT NOT NULL, login TEXT NOT NULL,
            moodle_id TEXT NOT NULL, gradescope_id TEXT NOT NULL)""",
        """CREATE TABLE attempts (
            lab TEXT NOT NULL, student TEXT NOT NULL, submission TEXT NOT NULL, attempt INTEGER NOT NULL,
            first_seen TEXT NOT NULL, submitted_at TEXT NOT NULL, known TEXT NOT NULL,
            lms TEXT NOT NULL, lms_id TEXT NOT NULL, marked_late INTEGER NOT NULL,
            score REAL, max_score REAL, ending TEXT NOT NULL DEFAULT '', attention INTEGER NOT NULL DEFAULT 0,
            graded_at TEXT NOT NULL DEFAULT '',
            PRIMARY KEY (lab, student, submission), UNIQUE (lab, student, attempt))""",
    ),
    (  # 2: what staff decided; rows are added and marked withdrawn, never changed otherwise
        """CREATE TABLE remarks (
            number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL CHECK (kind IN ('extension', 'adjustment', 'comment')),
            student TEXT NOT NULL, lab TEXT NOT NULL, until TEXT NOT NULL DEFAULT '', points REAL NOT NULL DEFAULT 0,
            words TEXT NOT NULL DEFAULT '', for_student INTEGER NOT NULL DEFAULT 0,
            by TEXT NOT NULL, at TEXT NOT NULL, withdrawn_by TEXT NOT NULL DEFAULT '', withdrawn_at TEXT NOT NULL DEFAULT '')""",
        "CREATE INDEX remarks_by_place ON remarks (student, lab)",
    ),
)


@contextlib.contextmanager
def opened(path: Path | None, *, create: bool = True) -> Iterator[sqlite3.Connection]:
    """The gradebook, up to date; None is one in memory. Whatever SQLite says is told as an error of ours."""
    if path is not None and not path.exists():
        if not create:
            fix = "`grader grade` makes it, or name another with --gradebook"
            raise UsageError("there is no gradebook", where=str(path), fix=fix)
        _make(path)
    with _told(path):
        database = sqlite3.connect(path or ":memory:", timeout=WAIT_S, isolation_level=None)
        try:
            _prepare(database, path)
            yield database
        finally:
            database.close()


@contextlib.contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """All or nothing. The lock is taken at once: what is read inside cannot change before it is written."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def _make(path: Path) -> None:
    """An empty file that only its owner may read: it will hold grades and what staff say of people."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise UsageError(f"cannot be made: {error.strerror}", where=str(path), fix="choose another file") from None


def _prepare(database: sqlite3.Connection, path: Path | None) -> None:
    # In this order: another command may be making the tables between two of these reads.
    tables = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    named = _pragma(database, "application_id")
    version = _pragma(database, "user_version")
    if named not in (0, APPLICATION_ID) or (tables and named == 0):
        raise UsageError("is a database, but not a gradebook", where=str(path), fix="name another file")
    if version > len(MIGRATIONS):
        raise UsageError("was made by a newer grader", where=str(path), fix="update the grader")
    if database.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        raise sqlite3.DatabaseError("it contradicts itself")
    _use_wal(database)
    if version == len(MIGRATIONS):
        return
    with transaction(database):
        version = _pragma(database, "user_version")  # another command may have been faster
        for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
            for statement in statements:
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {number}")


def _use_wal(database: sqlite3.Connection) -> None:
    """Into WAL mode. SQLite does not wait for a lock here, so we do; a folder on a network may refuse: that works too."""
    deadline = time.monotonic() + WAIT_S
    while database.execute("PRAGMA journal_mode").fetchone()[0] not in ("wal", "memory"):
        try:
            database.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if time.monotonic() > deadline or "locked" not in str(error):
                raise
            time.sleep(0.05)


def _pragma(database: sqlite3.Connection, name: str) -> int:
    return int(database.execute(f"PRAGMA {name}").fetchone()[0])


@contextlib.contextmanager
def _told(path: Path | None) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        what = plain(str(error))
        if "locked" in what or "busy" in what:
            what, fix = f"another command has held it for {WAIT_S:g} seconds", "try again when that one is done"
        else:
            what, fix = f"cannot be used: {what}", "check the file's rights and the space on its disk"
        raise OursError(what, where=f"gradebook {path}", fix=fix) from error
    except sqlite3.DatabaseError as error:
        fix = "put a copy of it back; or move it away: `grader gradebook record` fills a new one from the kept runs"
        raise UsageError(f"is damaged: {plain(str(error))}", where=f"gradebook {path}", fix=fix) from error
