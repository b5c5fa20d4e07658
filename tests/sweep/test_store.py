"""The store: one writer, whole rows, and a clear word about files that are not its own."""

import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from coalsim.errors import InputError
from coalsim.sweep.filesystem import network_type, write_atomically
from coalsim.sweep.rows import CRASHED, DONE, FAILED, Row
from coalsim.sweep.store import Store, stored_rows

ROW = Row(
    key="k",
    point="p",
    replication=0,
    seed=(1 << 64) + 3,
    status=DONE,
    result="{}",
    error="",
    host_s=0.5,
    attempts=2,
)


def test_rows_come_back_as_they_were_put(tmp_path: Path) -> None:
    """Also seeds beyond SQLite's whole numbers; a reader sees them while the store is open."""
    other = replace(ROW, key="a", status=FAILED, result="", error="why")
    with Store(tmp_path) as store:
        store.put(ROW)
        store.put(other)
        assert stored_rows(tmp_path / "results.sqlite") == [other, ROW]
    assert stored_rows(tmp_path / "results.sqlite") == [other, ROW]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["results.lock", "results.sqlite"]


def test_a_settled_row_stays_and_a_crash_gives_way() -> None:
    """What is known is not overwritten; what the host spoilt is."""
    with Store() as store:
        store.put(replace(ROW, status=CRASHED, result=""))
        store.put(ROW)
        store.put(replace(ROW, status=CRASHED, result="", attempts=9))
        assert [*store.rows()] == [ROW]


def test_a_second_writer_is_refused_and_told_who_is_there(tmp_path: Path) -> None:
    """While one coordinator writes, another one is sent away; afterwards it is welcome."""
    says = r"another coalsim is writing results here \(process \d+ on "
    with Store(tmp_path), pytest.raises(InputError, match=says):
        Store(tmp_path)
    Store(tmp_path).close()


KILLED = """
import os, signal, sys
from pathlib import Path
from coalsim.sweep.rows import Row
from coalsim.sweep.store import Store
store = Store(Path(sys.argv[1]))
for number in range(10):
    store.put(Row(key=str(number), point="p", replication=number, seed=1, status="done",
                  result="{}", error="", host_s=0.0, attempts=1))
    if number == 6:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_writer_killed_after_a_commit_has_lost_nothing(tmp_path: Path) -> None:
    """SIGKILL between commit and the next task: its rows are there, and its lock blocks nobody."""
    program = [sys.executable, "-c", KILLED, str(tmp_path)]
    assert subprocess.run(program, timeout=60, check=False).returncode == -9

    assert [row.key for row in stored_rows(tmp_path / "results.sqlite")] == list("0123456")
    with Store(tmp_path) as store:
        store.put(ROW)
        assert len([*store.rows()]) == 8


def foreign(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()


def newer(file: Path) -> None:
    Store(file.parent).close()
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()


def cut(file: Path) -> None:
    with Store(file.parent) as store:
        for number in range(200):
            store.put(replace(ROW, key=str(number), result="x" * 500))
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda file: file.write_text("no database at all, but quite a long text " * 50), "not a database"),
        (foreign, "a database, but not one of coalsim"),
        (newer, "written by a newer coalsim"),
        (cut, "damaged"),
    ],
    ids=["text", "foreign", "newer", "cut"],
)
def test_files_that_are_not_ours_are_refused(spoil: object, says: str, tmp_path: Path) -> None:
    """With the file and what to do, by the writer and by readers, and nothing of them is changed."""
    file = tmp_path / "results.sqlite"
    assert callable(spoil)
    spoil(file)
    content = file.read_bytes()

    with pytest.raises(InputError, match=says) as refused:
        Store(tmp_path)
    with pytest.raises(InputError, match=r"results\.sqlite"):
        stored_rows(file)

    assert "results.sqlite" in str(refused.value)
    assert file.read_bytes() == content


def test_a_database_without_tables_is_begun_anew(tmp_path: Path) -> None:
    """A coordinator that was killed before it had written anything leaves an empty file."""
    (tmp_path / "results.sqlite").touch()
    with Store(tmp_path) as store:
        store.put(ROW)
    assert stored_rows(tmp_path / "results.sqlite") == [ROW]


@pytest.mark.parametrize(
    ("folder", "kind"),
    [("/users/x/out", "nfs4"), ("/scratch/a b/x", "lustre"), ("/tmp", ""), ("/usersless", "")],
)
def test_network_file_systems_are_known_by_their_mounts(folder: str, kind: str, tmp_path: Path) -> None:
    """The nearest mount decides; blanks are written as \\040 there."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "30 22 0:40 / /users rw shared:1 - nfs4 server:/users rw\n"
        "31 22 0:41 / /scratch/a\\040b rw - lustre mgs:/x rw\n"
    )
    assert network_type(Path(folder), mounts) == kind


def test_on_a_network_the_older_journal_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No write-ahead log where several hosts may look at the file, and a note that says so."""
    monkeypatch.setattr("coalsim.sweep.store.network_type", lambda folder: "nfs4")
    with Store(tmp_path) as store:
        store.put(ROW)
        assert not (tmp_path / "results.sqlite-wal").exists()
        assert "on a network (nfs4)" in store.notes[0]
    assert stored_rows(tmp_path / "results.sqlite") == [ROW]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    """Readers see the old text or the new one, and no rest lies about."""
    file = tmp_path / "study.json"
    write_atomically(file, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(file, "new \ud800")
    assert file.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["study.json"]
