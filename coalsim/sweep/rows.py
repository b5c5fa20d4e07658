"""Task and Row: what goes to a worker and what comes back, whoever carries it.

A run is one replication of one point.  Its key is made of everything that its result depends
on, so a row is worth the same wherever and whenever it was made.

Invariant: `run_task` never raises for what a study or a user's class does wrong; it tells it in
the row.  A row's key, point, replication, seed, status, result and error depend on the task
alone; `host_s` and `attempts` depend on the host and are kept apart from them.
"""

import json
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from hashlib import sha256
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias, cast

from coalsim.errors import ConfigError, KernelBug
from coalsim.plugins import error_line

if TYPE_CHECKING:
    from coalsim.observe.batches_document import WarmupEntry
    from coalsim.observe.document import ResultDocument

DONE = "done"
FAILED = "failed"
CRASHED = "crashed"
TIMEOUT = "timeout"
STATUSES = (DONE, FAILED, CRASHED, TIMEOUT)
SETTLED = (DONE, FAILED)
"""What a repetition would only give again; the others are the host's doing and are tried again."""

_OF_THE_HOST = ("host_s", "config")
Pilots: TypeAlias = "MutableMapping[tuple[str, int], WarmupEntry]"
"""What pilot runs have found, by point and first seed: the same for all replications of a point."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One run that somebody has to do.

    Args:
        key: of the run; point: key of its point.
        replication: from 0; seed: of all its random numbers.
        config: the resolved configuration of the point, as JSON has it.
        trust: whether the configuration may load classes from files and modules.
        max_input: bytes of input that may be read; None is the usual limit.
    """

    key: str
    point: str
    replication: int
    seed: int
    config: dict[str, object]
    trust: bool
    max_input: int | None


@dataclass(frozen=True, kw_only=True)
class Row:
    """What became of a run.

    Args:
        key, point, replication, seed: as in its task.
        status: done, failed (it says why), crashed (its process died, again and again), timeout.
        result: canonical JSON of the result document without host time and configuration; "" if not done.
        error: why it is not done; "" if it is.
        host_s: seconds that it took on the host.
        attempts: how often it was begun.
    """

    key: str
    point: str
    replication: int
    seed: int
    status: str
    result: str
    error: str
    host_s: float
    attempts: int


def run_key(point: str, replication: int, seed: int) -> str:
    """The key of a run of a point."""
    return sha256(f"{point}/{replication}/{seed}".encode()).hexdigest()


def row_of(task: Task, status: str, *, result: str = "", error: str = "", host_s: float = 0.0) -> Row:
    """The row of a task that was begun once; its error is text that any file takes."""
    return Row(
        key=task.key,
        point=task.point,
        replication=task.replication,
        seed=task.seed,
        status=status,
        result=result,
        error=error.encode("utf-8", "backslashreplace").decode("utf-8"),
        host_s=host_s,
        attempts=1,
    )


def canonical(document: Mapping[str, object]) -> str:
    """A result document as the store keeps it: without what differs from host to host, keys sorted.

    Raises:
        ValueError: it holds a number that is not finite.
    """
    kept = {key: value for key, value in document.items() if key not in _OF_THE_HOST}
    return json.dumps(kept, sort_keys=True, separators=(",", ":"), allow_nan=False)


def run_task(task: Task, pilots: "Pilots | None" = None) -> Row:
    """Do one run in this process; a pilot run that is in `pilots` is not run again, a new one is put there.

    A panic, or damage that the debug modes found, is a result: it is in the document.  Where the
    oracle found that the kernel under test breaks its promises, the run failed.
    """
    began = perf_counter()
    try:
        result = canonical(cast("Mapping[str, object]", _document(task, {} if pilots is None else pilots)))
    except ConfigError as error:
        return row_of(task, FAILED, error=str(error), host_s=perf_counter() - began)
    except KernelBug as bug:
        return row_of(
            task, FAILED, error=f"{type(bug).__name__}: {bug}".strip(), host_s=perf_counter() - began
        )
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return row_of(task, FAILED, error=_unforeseen(error), host_s=perf_counter() - began)
    return row_of(task, DONE, result=result, host_s=perf_counter() - began)


def _document(task: Task, pilots: Pilots) -> "ResultDocument":
    from coalsim.study.document import Document
    from coalsim.study.loads import WORKLOADS
    from coalsim.study.planning import plan
    from coalsim.study.run import run_replication
    from coalsim.study.spec import parse_spec
    from coalsim.study.vm_outcome import check_promises

    first_seed = task.seed - task.replication
    config = {**task.config, "run": {**_table(task.config, "run"), "seed": first_seed}}
    spec = parse_spec(Document(raw=config), workloads=WORKLOADS, trust=task.trust)
    pilot = pilots.get((task.point, first_seed))
    result = run_replication(plan(spec, task.max_input), task.replication, pilot)
    if "warmup" in result:
        pilots[task.point, first_seed] = result["warmup"]
    check_promises(result)
    return result


def _table(config: Mapping[str, object], name: str) -> dict[str, object]:
    table = config.get(name, {})
    assert isinstance(table, dict), f"[{name}] of a resolved configuration is a table"
    return table


def _unforeseen(error: BaseException) -> str:
    """An error of our own, or of a class that nobody could tell apart from us, in one line with its place."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""
    return f"{place}{error_line(error)}"
