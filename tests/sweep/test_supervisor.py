"""Worker processes that die, hang or do not start, and what is said about the runs that did it."""

import os
import signal
import time
from pathlib import Path

import pytest
from sweeps import (
    DIES,
    DIES_ONCE,
    EXITS,
    HANGS,
    IS_MUTE,
    RAISES,
    SAYS_NO_TEXT,
    SCRIBBLES,
    STOPS_ALL,
    is_alive,
    write_bad_lock,
    write_study,
)

from coalsim.errors import ConfigError
from coalsim.study.overrides import Setting
from coalsim.sweep import supervisor
from coalsim.sweep.agenda import Agenda
from coalsim.sweep.coordinator import agenda_of, run_agenda
from coalsim.sweep.manifest import Manifest, manifest_of
from coalsim.sweep.pools import Pool, Serial
from coalsim.sweep.rows import CRASHED, DONE, FAILED, TIMEOUT, Row
from coalsim.sweep.store import Store
from coalsim.sweep.supervisor import LocalPool
from coalsim.sweep.sweep_spec import SweepSpec, open_sweep


def opened(folder: Path, deed: str = "", replications: int = 1) -> SweepSpec:
    """Two points of two CPUs and three; with a deed, each with a good lock and the bad one."""
    study = write_study(folder, [2, 3], replications)
    axes = [f"kernel.lock=ticket,{write_bad_lock(folder, deed)}"] if deed else []
    return open_sweep(str(study), [Setting(key="run.seed", value=3, option="--seed 3")], axes=axes)


def done(spec: SweepSpec, pool: Pool) -> list[tuple[object, ...]]:
    """Status, attempts and error of each run, by point."""
    manifest: Manifest = manifest_of(spec)
    with Store() as store, pool:
        agenda: Agenda = agenda_of(spec, manifest, [], spec.points)
        run_agenda(agenda, store, pool)
        rows: dict[str, Row] = {row.point: row for row in store.rows()}
    return [(rows[p.key].status, rows[p.key].attempts, rows[p.key].error) for p in spec.points]


@pytest.mark.parametrize(
    ("deed", "says"),
    [
        (RAISES, "RuntimeError: no such luck"),
        (EXITS, "SystemExit: 7"),
        (STOPS_ALL, "BaseException: stop everything"),
        (IS_MUTE, "Mute"),
        (SAYS_NO_TEXT, r"ValueError: half a \udcff"),
    ],
)
def test_a_class_that_raises_or_exits_is_named(deed: str, says: str, tmp_path: Path) -> None:
    """File, line and what it said, whatever it raised; the other points are done."""
    good, bad, *others = done(opened(tmp_path, deed), Serial())
    line = 1 + (tmp_path / "bad.py").read_text().partition(deed)[0].count("\n")

    assert good[:2] == (DONE, 1)
    assert bad[0] == FAILED
    assert f"{tmp_path / 'bad.py'}:{line}: kernel.lock: failed while it ran: {says}" in str(bad[2])
    assert [status for status, *_ in others] == [DONE, FAILED]


@pytest.mark.slow
def test_a_worker_that_dies_once_costs_an_attempt(tmp_path: Path) -> None:
    """Everything is done, and one run took two attempts."""
    found = done(opened(tmp_path, DIES_ONCE), LocalPool(2))
    assert [status for status, *_ in found] == [DONE] * 4
    assert sorted(attempts for _, attempts, _ in found) == [1, 1, 1, 2]


@pytest.mark.slow
def test_a_poisonous_point_is_blamed_and_the_others_go_on(tmp_path: Path) -> None:
    """It takes its worker with it twice; then it is marked, with the signal."""
    found = done(opened(tmp_path, DIES), LocalPool(2))
    own = f"with kernel.lock = {tmp_path / 'bad.py'}:Bad"
    crashed = (CRASHED, 2, f"its process ended 2 times, at last by SIGKILL, {own}")
    assert found == [(DONE, 1, ""), crashed, (DONE, 1, ""), crashed]


@pytest.mark.slow
def test_what_is_no_row_is_taken_for_none(tmp_path: Path) -> None:
    """A class that writes into the pipe of its worker is blamed; nothing that it wrote is believed."""
    found = done(opened(tmp_path, SCRIBBLES), LocalPool(1))
    assert [status for status, *_ in found] == [DONE, CRASHED, DONE, CRASHED]
    assert "it wrote what is no result, with kernel.lock = " in str(found[1][2])


@pytest.mark.slow
def test_a_run_that_hangs_is_ended(tmp_path: Path) -> None:
    """Its worker is killed; the other points are done by a new one."""
    pool = LocalPool(2, timeout=2.0)
    began = time.monotonic()
    found = done(opened(tmp_path, HANGS), pool)
    own = f"with kernel.lock = {tmp_path / 'bad.py'}:Bad"
    late = (TIMEOUT, 1, f"it had not ended after 2 s of host time, {own}")
    assert found == [(DONE, 1, ""), late, (DONE, 1, ""), late]
    assert time.monotonic() - began < 60


@pytest.mark.slow
def test_workers_end_when_the_pool_is_closed(tmp_path: Path) -> None:
    """Also in the middle of a run, and no zombie is left."""
    spec = opened(tmp_path, HANGS)
    agenda = agenda_of(spec, manifest_of(spec), [], spec.points)
    with LocalPool(2) as pool:
        while (task := agenda.next()) is not None:
            pool.submit(task)
        pool.wait(5)
        workers = pool.process_ids()
        assert len(workers) == 2
        assert all(map(is_alive, workers))
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)


@pytest.mark.slow
def test_an_idle_worker_that_is_killed_is_replaced(tmp_path: Path) -> None:
    """No run is blamed for it."""
    spec = opened(tmp_path)
    agenda = agenda_of(spec, manifest_of(spec), [], spec.points)
    with LocalPool(1) as pool:
        for _ in spec.points:
            task = agenda.next()
            assert task is not None
            pool.submit(task)
            (row,) = pool.wait(60)
            assert (row.status, row.attempts) == (DONE, 1)
            (worker,) = pool.process_ids()
            os.kill(worker, signal.SIGKILL)
            while is_alive(worker):
                time.sleep(0.01)


def test_workers_that_do_not_start_end_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host is at fault, so no run is blamed; the message says where to look."""
    monkeypatch.setattr(supervisor, "_PROGRAM", "raise SystemExit(9) # {path}")
    with pytest.raises(ConfigError, match=r"3 workers in a row .* at last with exit code 9"):
        done(opened(tmp_path), LocalPool(1))
