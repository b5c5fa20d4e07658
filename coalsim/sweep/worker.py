"""The program of a worker process: tasks come in as lines of JSON, rows go out as lines of JSON.

It is started by `supervisor.py` with pipes for stdin and stdout.  When stdin ends, the
coordinator is gone, for whatever reason, and the worker ends at once, also in the middle of a
run: a killed coordinator leaves nothing behind.  What a user's class prints goes to stderr.

Invariant: stdout carries one line {"ready": pid}, then for each task, in their order, a line
{"begun": key} before anything of it is run, and its row.
"""

import json
import os
import signal
import sys
from dataclasses import asdict
from queue import SimpleQueue
from threading import Thread

from coalsim.sweep.rows import Pilots, Row, Task, run_task

_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("key", "point", "status", "result", "error"), (str,)),
    **dict.fromkeys(("replication", "seed", "attempts"), (int,)),
    "host_s": (int, float),
}


def task_line(task: Task) -> bytes:
    """A task as it goes to a worker."""
    return json.dumps(asdict(task)).encode() + b"\n"


def begun_line(task: Task) -> bytes:
    """What a worker says when it begins with a task."""
    return json.dumps({"begun": task.key}).encode() + b"\n"


def row_from(text: str | bytes) -> Row:
    """A row as it came from a worker.

    Raises:
        ValueError, TypeError: it is none.
    """
    row = Row(**json.loads(text))
    for name, kinds in _KINDS.items():
        if type(getattr(row, name)) not in kinds:
            raise TypeError(f"the {name} of a row is not {getattr(row, name)!r}")
    for held in (row.result, row.error):
        held.encode()  # halves of characters are no text that a file takes
    return row


def row_line(row: Row) -> bytes:
    """A row as it goes to the coordinator, or into a shard's file."""
    return json.dumps(asdict(row), sort_keys=True).encode() + b"\n"


def main() -> None:
    """Work until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal: not our affair
    out = os.dup(1)
    os.dup2(2, 1)
    _import_everything()
    tasks: SimpleQueue[bytes] = SimpleQueue()
    pilots: Pilots = {}
    Thread(target=_read, args=(tasks,), daemon=True).start()
    _write(out, json.dumps({"ready": os.getpid()}).encode() + b"\n")
    while True:
        task = Task(**json.loads(tasks.get()))
        _write(out, begun_line(task))
        _write(out, row_line(run_task(task, pilots)))


def _import_everything() -> None:
    """Before saying "ready", so that the first run is not charged for it."""
    from coalsim.study import loads, run

    assert run.run_study is not None
    assert loads.WORKLOADS is not None


def _read(tasks: "SimpleQueue[bytes]") -> None:
    for line in sys.stdin.buffer:
        tasks.put(line)
    os._exit(0)


def _write(out: int, line: bytes) -> None:
    view = memoryview(line)
    try:
        while view:
            view = view[os.write(out, view) :]
    except BrokenPipeError:
        os._exit(0)
