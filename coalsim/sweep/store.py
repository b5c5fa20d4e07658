"""Store: the rows of a study in one SQLite file, written by one process, readable by any tool.

    meta    name, value                                       what this file is
    points  number, point, settings                           the grid, for readers
    runs    key, point, replication, seed, status, result, error
    host    key, host_s, attempts                             what differs from host to host

`seed` is a decimal text: seeds go beyond SQLite's whole numbers.  `result` is the result
document as JSON, so `json_extract(result, '$.throughput.ops_per_s')` works.

Invariant: a row is there as a whole or not at all, whenever the process is killed; a settled row
is never changed.  `runs` depends on the study alone, whoever ran it, in whatever order.
Only the coordinator opens the file for writing, under a lock.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from coalsim.errors import InputError
from coalsim.guarded import refusal
from coalsim.sweep.filesystem import FolderLock, canonical_json, network_type
from coalsim.sweep.points import Point
from coalsim.sweep.rows import SETTLED, STATUSES, Row

FILE = "results.sqlite"
LOCK = "results.lock"
APPLICATION = 0x636F616C  # "coal": how SQLite files tell whose they are
SCHEMA = 1
_PATIENCE_S = 30.0  # a reader may hold the file for a moment

_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE points (number INTEGER PRIMARY KEY, point TEXT NOT NULL, settings TEXT NOT NULL);
CREATE TABLE runs (
    key TEXT PRIMARY KEY,
    point TEXT NOT NULL,
    replication INTEGER NOT NULL,
    seed TEXT NOT NULL,
    status TEXT NOT NULL,
    result TEXT NOT NULL,
    error TEXT NOT NULL
);
CREATE INDEX runs_of_point ON runs (point, replication);
CREATE TABLE host (key TEXT PRIMARY KEY, host_s REAL NOT NULL, attempts INTEGER NOT NULL);
"""
_ROWS = """
SELECT runs.key, point, replication, seed, status, result, error,
       coalesce(host_s, 0.0), coalesce(attempts, 1)
FROM runs LEFT JOIN host ON host.key = runs.key ORDER BY runs.key
"""


class Store:
    """The rows of a study; a context manager, which closes it.

    Args:
        folder: what results.sqlite is in; None keeps everything in memory.

    Raises:
        InputError: somebody else writes here, or the file is damaged, foreign or of a newer coalsim.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.notes: list[str] = []
        self._file = None if folder is None else folder / FILE
        self._lock = None if folder is None else FolderLock(folder / LOCK, "results")
        if self._lock is not None:
            self._lock.__enter__()
            self.notes += [self._lock.note] if self._lock.note else []
        try:
            self._connection = self._opened()
        except BaseException:
            self._unlock()
            raise

    def _opened(self) -> sqlite3.Connection:
        with _as_input_errors(self._file):
            name = ":memory:" if self._file is None else str(self._file)
            connection = sqlite3.connect(name, timeout=_PATIENCE_S, isolation_level=None)
            try:
                if self._file is not None:
                    check_identity(connection, self._file)
                    self._choose_journal(connection, self._file.parent)
                if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    _create(connection)
                elif (found := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                    raise sqlite3.DatabaseError(str(found).splitlines()[0])
            except BaseException:
                connection.close()
                raise
            return connection

    def _choose_journal(self, connection: sqlite3.Connection, folder: Path) -> None:
        network = network_type(folder)
        wanted = "DELETE" if network else "WAL"
        (got,) = connection.execute(f"PRAGMA journal_mode={wanted}").fetchone()
        if network:
            self.notes.append(f"{folder} is on a network ({network}): results are written more slowly there")
        elif got.upper() != "WAL":
            self.notes.append(f"no write-ahead log in {folder}: results are written more slowly")
        connection.execute(f"PRAGMA synchronous={'NORMAL' if got.upper() == 'WAL' else 'FULL'}")

    def set_points(self, points: Iterable[Point]) -> None:
        """Say what the points are, for those who read the file with other tools."""
        rows = [(point.number, point.key, canonical_json(dict(point.settings))) for point in points]
        with _as_input_errors(self._file), self._transaction() as connection:
            connection.execute("DELETE FROM points")
            connection.executemany("INSERT INTO points VALUES (?, ?, ?)", rows)

    def put(self, row: Row) -> None:
        """Keep a row; it is on the disk when this returns.  A settled row is not replaced."""
        with _as_input_errors(self._file), self._transaction() as connection:
            old = connection.execute("SELECT status FROM runs WHERE key = ?", (row.key,)).fetchone()
            if old is not None and old[0] in SETTLED:
                return
            connection.execute(
                "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)",
                (row.key, row.point, row.replication, str(row.seed), row.status, row.result, row.error),
            )
            connection.execute(
                "INSERT OR REPLACE INTO host VALUES (?, ?, ?)", (row.key, row.host_s, row.attempts)
            )

    def rows(self) -> Iterator[Row]:
        """All rows, by key.

        Raises:
            InputError: the file is damaged.
        """
        with _as_input_errors(self._file):
            yield from rows_of(self._connection, self._file)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def close(self) -> None:
        """Leave one file that can be copied, also from and to places that know no write-ahead log."""
        if self._file is not None:
            with suppress(sqlite3.OperationalError):  # somebody reads: the log stays, which is as good
                self._connection.execute("PRAGMA journal_mode=DELETE")
        self._connection.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.__exit__(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def stored_rows(file: Path) -> list[Row]:
    """The rows of a store, by key, without changing anything, also while somebody writes it.

    Raises:
        InputError: there is no store, or it is damaged, foreign or of a newer coalsim.
    """
    if not file.is_file():
        raise refusal(file, "no such file", "give the folder that coalsim run --out wrote")
    with _as_input_errors(file):
        connection = _reader(file)
        try:
            check_identity(connection, file)
            return [*rows_of(connection, file)]
        finally:
            connection.close()


def _reader(file: Path) -> sqlite3.Connection:
    """A connection that only reads; in a folder that cannot be written, one that trusts it to stay so."""
    place = f"file:{quote(str(file.resolve()))}"
    connection = sqlite3.connect(f"{place}?mode=ro", uri=True, timeout=_PATIENCE_S)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        return sqlite3.connect(f"{place}?immutable=1", uri=True, timeout=_PATIENCE_S)
    except BaseException:
        connection.close()
        raise
    return connection


def check_identity(connection: sqlite3.Connection, file: Path) -> None:
    """Refuse a file that is not ours, or of a newer coalsim.

    Raises:
        InputError: it is one of those.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not tables and not application:
        return  # empty: a coordinator was killed before it had written the tables
    if application != APPLICATION:
        raise refusal(
            file, "a database, but not one of coalsim", "name another folder, or move the file away"
        )
    if schema > SCHEMA:
        message = f"written by a newer coalsim (schema {schema}; this one knows {SCHEMA})"
        raise refusal(file, message, "use that coalsim, or name another folder")


def rows_of(connection: sqlite3.Connection, file: Path | None) -> Iterator[Row]:
    """The rows behind a connection, by key."""
    for key, point, replication, seed, status, result, error, host_s, attempts in connection.execute(_ROWS):
        if status not in STATUSES or not str(seed).isdecimal():
            raise refusal(
                file or "",
                f"run {key}: not a row of coalsim",
                "move the file away; its runs will be done again",
            )
        yield Row(
            key=key,
            point=point,
            replication=replication,
            seed=int(seed),
            status=status,
            result=result,
            error=error,
            host_s=host_s,
            attempts=attempts,
        )


def _create(connection: sqlite3.Connection) -> None:
    version = json.dumps(SCHEMA)
    connection.executescript(
        f"BEGIN; {_TABLES} INSERT INTO meta VALUES ('schema', '{version}');"
        f"PRAGMA application_id={APPLICATION}; PRAGMA user_version={SCHEMA}; COMMIT;"
    )


@contextmanager
def _as_input_errors(file: Path | None) -> Iterator[None]:
    """What SQLite says about a file, as one of our errors."""
    try:
        yield
    except sqlite3.Error as error:
        if file is None:
            raise
        raise _explained(file, error) from None


def _explained(file: Path, error: sqlite3.Error) -> InputError:
    text = str(error)
    is_of_the_host = isinstance(error, sqlite3.OperationalError)
    if is_of_the_host and "locked" in text:
        return refusal(file, "another program holds it locked", "close that program, then repeat the command")
    if is_of_the_host and any(word in text for word in ("full", "readonly", "open", "I/O")):
        return refusal(file, f"cannot be written or read ({text})", "check its permissions and the room left")
    return refusal(
        file,
        f"damaged, or not a database ({text})",
        "move it away and repeat the command: its runs will be done again",
    )
