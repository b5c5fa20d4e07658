"""Small studies for the tests of sweeps, and running them in processes of their own."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

BLACK_BOX = 600.0  # host seconds after which a process of a test is given up

STUDY = """
machine = "ideal"
[study]
name = "small"
title = "A small sweep"
[kernel]
hz = 0
[workload]
kind = "lock_loop"
cpus = 2
think = "exp:4us"
hold = "exp:1us"
[run]
warmup = "10us"
duration = "{duration}"
replications = {replications}
[[axis]]
key = "workload.cpus"
values = {cpus}
"""

LOCK = '''
"""A lock whose first instance in a process misbehaves."""
import os, signal, sys, time
from contextlib import suppress
from pathlib import Path
from coalsim.locks.ticket import TicketLock

HERE = Path(__file__).parent


class Bad(TicketLock):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        {deed}
'''

DIES = "os.kill(os.getpid(), signal.SIGKILL)"
DIES_ONCE = """flag = HERE / "died"
        if not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)"""
HANGS = "time.sleep(3600)"
RAISES = 'raise RuntimeError("no such luck")'
EXITS = "sys.exit(7)"
STOPS_ALL = 'raise BaseException("stop everything")'
IS_MUTE = 'raise type("Mute", (Exception,), {"__str__": lambda self: 1 / 0})'
SAYS_NO_TEXT = r'raise ValueError("half a \udcff")'
SCRIBBLES = """for descriptor in range(3, 20):
            with suppress(OSError):
                os.write(descriptor, b"not a row\\n")"""


def write_study(
    folder: Path,
    cpus: Sequence[int] = (1, 2, 3, 4),
    replications: int = 2,
    duration: str = "60us",
    more: str = "",
) -> Path:
    """A study of one axis with runs of a few milliseconds on the host."""
    file = folder / "small.toml"
    text = STUDY.format(cpus=list(cpus), replications=replications, duration=duration)
    file.write_text(text + more)
    return file


def write_bad_lock(folder: Path, deed: str) -> str:
    """A lock that does that when it is made; the name by which a study finds it."""
    (folder / "bad.py").write_text(LOCK.replace("{deed}", deed))
    return f"{folder / 'bad.py'}:Bad"


def with_locks(locks: Sequence[str]) -> str:
    """A second axis over locks."""
    return f'[[axis]]\nkey = "kernel.lock"\nvalues = {list(locks)}\n'


def start(*arguments: str | Path, **options: object) -> "subprocess.Popen[str]":
    """`coalsim` with these arguments, in the background, in a group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "coalsim", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,  # type: ignore[call-overload]
    )


def run(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """`coalsim` with these arguments, to its end."""
    process = start(*arguments)
    try:
        out, err = process.communicate(timeout=BLACK_BOX)
    finally:
        end(process)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def end(process: "subprocess.Popen[str]") -> None:
    """Leave nothing of a process and its children behind."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(BLACK_BOX)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def rows(folder: Path) -> list[tuple[object, ...]]:
    """All rows of a store by key, without what depends on the host; none where it is just being made."""
    connection = sqlite3.connect(folder / "results.sqlite")
    try:
        made = connection.execute("SELECT name FROM sqlite_master WHERE name = 'runs'").fetchall()
        return connection.execute("SELECT * FROM runs ORDER BY key").fetchall() if made else []
    finally:
        connection.close()


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    try:
        threads = [file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:  # it has just ended
        return []
    return [int(child) for text in threads for child in text.split()]


def is_alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
