"""DaskPool: the runs on a cluster of Dask distributed, one of somebody's or one on this host.

Runs are done by processes of our own below Dask's workers (`supervisor.py`): a run that dies or
hangs takes one of those with it and is blamed as on one host.  Dask's workers live on, which not
every cluster starts again.  The processes rest between two runs of a study and end with it.

Dask begins the runs of a worker that dies itself again, elsewhere; after `ALLOWED_FAILURES` deaths
it gives a run up.  A worker may hold several runs when it dies, and all of them are blamed; so a
run that Dask gave up is begun once more, alone, and is `crashed` only if that ends the same way.

The connection is as safe as its `Tls` says: without one, run Dask on networks that you trust only.

Invariant: a run is only done by workers whose coalsim is the coordinator's, to the byte, and by
processes that have loaded no class for another study.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from queue import Empty, SimpleQueue
from time import monotonic
from types import TracebackType
from typing import Protocol, Self, cast
from uuid import uuid4

from coalsim.errors import ConfigError, Problem
from coalsim.guarded import clean
from coalsim.sweep.named_files import with_own_code
from coalsim.sweep.pools import WorkerState
from coalsim.sweep.rows import CRASHED, Row, Task, row_of
from coalsim.sweep.supervisor import LocalPool

ALLOWED_FAILURES = 3
CONNECT_S = 10.0
LOOK_AGAIN_S = 2.0
"""Workers come and go; how often to count them."""


@dataclass(frozen=True, kw_only=True)
class Tls:
    """Files of Dask's own encryption: the authority, and our certificate and key."""

    ca: str = ""
    cert: str = ""
    key: str = ""

    @property
    def is_used(self) -> bool:
        """Whether any is given."""
        return bool(self.ca or self.cert or self.key)


class _Future(Protocol):
    """What we use of Dask's futures."""

    def add_done_callback(self, call: Callable[[object], None]) -> None: ...
    def exception(self) -> BaseException | None: ...
    def result(self) -> object: ...


class _Client(Protocol):
    """What we use of Dask's client."""

    def submit(self, call: Callable[..., Row], *args: object, pure: bool, key: str) -> _Future: ...
    def nthreads(self) -> Mapping[str, int]: ...
    def cancel(self, futures: Sequence[_Future], force: bool) -> None: ...
    def run(self, call: Callable[[], None], *, on_error: str) -> object: ...
    def close(self) -> None: ...


class _Cluster(Protocol):
    """What we use of Dask's local cluster."""

    def close(self) -> None: ...


class _Security(Protocol):
    """What we use of Dask's security."""

    def get_connection_args(self, role: str) -> Mapping[str, object]: ...


class OtherProgram(Exception):
    """A worker's coalsim is not the coordinator's."""


class DaskPool:
    """Runs on the workers of a Dask scheduler.

    Args:
        address: of the scheduler; empty starts one with `local` workers on the loopback interface.
        local: how many workers to start.
        tls: encryption.
        timeout: host seconds that one run may take; None is any time.

    Raises:
        ConfigError: Dask is not installed, nobody answers, or no worker is there.
    """

    def __init__(
        self, address: str, *, local: int = 0, tls: Tls | None = None, timeout: float | None = None
    ) -> None:
        from coalsim.sweep.keys import fingerprint

        self._timeout = timeout
        self._fingerprint = fingerprint()
        self._study = uuid4().hex
        self._client, self._cluster = _connected(address, local, tls or Tls())
        self._under_way: dict[str, tuple[Task, _Future, float]] = {}
        self._suspects: deque[Task] = deque()  # each will be alone
        self._alone = ""  # the key of the suspect that runs
        self._mail: SimpleQueue[str] = SimpleQueue()
        self._rows: list[Row] = []
        self._threads, self._counted = 0, float("-inf")

    def room(self) -> int:
        """Twice as many tasks as threads, so that none of them waits; none while a suspect is there."""
        if self._alone or self._suspects:
            return 0
        now = monotonic()
        if now - self._counted > LOOK_AGAIN_S:
            self._threads = sum(self._client.nthreads().values())
            self._counted = now
        return max(2 * self._threads, 1) - len(self._under_way)

    def submit(self, task: Task) -> None:
        """Take a task."""
        self._send(task)

    def wait(self, seconds: float) -> Sequence[Row]:
        """The rows that are there, waiting for the first one for at most so long.

        Raises:
            ConfigError: a worker's coalsim is another one.
        """
        until = monotonic() + seconds
        while not self._rows:
            self._try_a_suspect()
            try:
                self._ended(self._mail.get(timeout=max(until - monotonic(), 0.0)))
            except Empty:
                break
            while not self._mail.empty():
                self._ended(self._mail.get())
        rows, self._rows = self._rows, []
        return rows

    def states(self) -> Sequence[WorkerState]:
        """What was handed in and has not come out, the longest first; Dask decides who runs it."""
        now = monotonic()
        return [
            WorkerState(name=str(number), task=task, since=now - began)
            for number, (task, _, began) in enumerate(self._under_way.values(), 1)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take back what was not done; end the workers that we started."""
        futures = [future for _, future, _ in self._under_way.values()]
        self._under_way.clear()
        if futures:
            self._client.cancel(futures, force=True)
        if self._cluster is None:
            with suppress(OSError, TimeoutError):  # a worker that has left has no processes either
                self._client.run(end_resting, on_error="ignore")
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()

    def _send(self, task: Task) -> None:
        future = self._client.submit(
            run_on_worker,
            task,
            self._fingerprint,
            self._study,
            self._timeout,
            pure=False,
            key=f"coalsim-{task.key}",
        )
        self._under_way[task.key] = (task, future, monotonic())
        future.add_done_callback(partial(self._tell, task.key))

    def _tell(self, key: str, future: object) -> None:
        self._mail.put(key)

    def _try_a_suspect(self) -> None:
        if self._suspects and not self._under_way:
            task = self._suspects.popleft()
            self._alone = task.key
            self._send(task)

    def _ended(self, key: str) -> None:
        from distributed.scheduler import KilledWorker

        if key not in self._under_way:
            return
        task, future, _ = self._under_way.pop(key)
        was_alone, self._alone = self._alone == key, "" if self._alone == key else self._alone
        error = future.exception()
        if error is None:
            row = future.result()
            assert isinstance(row, Row)
            self._rows.append(replace(row, attempts=row.attempts + was_alone))
        elif isinstance(error, KilledWorker) and not was_alone:
            self._suspects.append(task)
        elif isinstance(error, KilledWorker):
            text = f"its worker ended {ALLOWED_FAILURES + 1} times{with_own_code(task.config)}"
            self._rows.append(replace(row_of(task, CRASHED, error=text), attempts=2 * (ALLOWED_FAILURES + 1)))
        else:
            raise _failed(error)


def run_on_worker(task: Task, fingerprint: str, study: str, timeout: float | None) -> Row:
    """Do one run below a process of Dask's.

    Args:
        task: the run.
        fingerprint: of the coordinator's coalsim.
        study: a name of the sweep that no other has.
        timeout: host seconds that the run may take; None is any time.

    Raises:
        OtherProgram: the coalsim here is not the one that asks.
        ConfigError: processes cannot be started here.
    """
    from coalsim.sweep import keys

    if keys.fingerprint() != fingerprint:
        raise OtherProgram("its coalsim is another one than the coordinator's")
    pool = _rested(study) or LocalPool(1, timeout)
    try:
        pool.submit(task)
        while not (rows := pool.wait(LOOK_AGAIN_S)):
            pass
    except BaseException:
        pool.close()
        raise
    _resting().put((study, pool))
    return rows[0]


@cache
def _resting() -> "SimpleQueue[tuple[str, LocalPool]]":
    """Pools below this process that have nothing to do, each with its study."""
    return SimpleQueue()


def _rested(study: str) -> LocalPool | None:
    """A pool of a study that has nothing to do; those of other studies end."""
    with suppress(Empty):
        while True:
            owner, pool = _resting().get_nowait()
            if owner == study:
                return pool
            pool.close()
    return None


def end_resting() -> None:
    """End the processes below this one that have nothing to do."""
    _rested("")


def _connected(address: str, local: int, tls: Tls) -> tuple[_Client, _Cluster | None]:
    try:
        import dask
        import distributed
    except ImportError:
        raise _refused("Dask is not installed", "install coalsim[cluster]") from None
    is_encrypted = address.startswith("tls://")
    if tls.is_used and not is_encrypted:
        raise _refused(
            f"{clean(address)} is not encrypted", "write tls://host:port, or leave out --dask-tls-..."
        )
    given = {"tls_ca_file": tls.ca, "tls_client_cert": tls.cert, "tls_client_key": tls.key}
    named = {name: file for name, file in given.items() if file}
    make = cast("Callable[..., _Security]", distributed.Security)
    security = make(**named, require_encryption=True) if named else make()  # or what Dask's own files say
    dask.config.set({"distributed.scheduler.allowed-failures": ALLOWED_FAILURES})
    try:
        if is_encrypted and security.get_connection_args("client")["ssl_context"] is None:
            remedy = "give --dask-tls-ca, --dask-tls-cert and --dask-tls-key"
            raise _refused(f"{clean(address)} is encrypted, and no certificate was given", remedy)
        cluster = None
        if not address:
            cluster = cast("Callable[..., _Cluster]", distributed.LocalCluster)(
                n_workers=local,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                worker_dashboard_address="127.0.0.1:0",
                silence_logs=50,
            )
        connect = cast("Callable[..., _Client]", distributed.Client)
        client = connect(cluster or address, security=security, timeout=CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        why = clean(str(error) or type(error).__name__)
        raise _refused(
            f"no scheduler at {clean(address)}: {why}",
            "start `dask scheduler`; give the address that it prints",
        ) from None
    return client, cluster


def _failed(error: BaseException) -> ConfigError:
    if isinstance(error, OtherProgram):
        return _refused(str(error), "install the same coalsim on all workers, and start them again")
    return _refused(
        f"a worker cannot do the runs ({type(error).__name__}: {clean(str(error))})",
        "install coalsim on all workers, and start them again",
    )


def _refused(message: str, remedy: str) -> ConfigError:
    return ConfigError([Problem(where="--dask", message=message, remedy=remedy)])
