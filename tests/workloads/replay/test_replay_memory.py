"""Host memory of a replay: what is live in the trace, not what is long."""

import gc
import tracemalloc
from pathlib import Path
from typing import Literal

import pytest
from replaying import Run, cache_alloc, cache_free, line, new_system, page_alloc, page_free

from coalsim.study.measuring import measure
from coalsim.units import US
from coalsim.workloads.replay.load import Replay, ReplayPlan


def peak_of(path: Path, turns: int, mode: Literal["open", "closed"]) -> int:
    """Most bytes in use while a trace of so many turns is replayed; few things live at a time."""
    with path.open("w", encoding="utf-8") as trace:
        for turn in range(turns):
            time, cpu = turn * 4000, turn % 2
            trace.write(cache_alloc(time, cpu, 0x1000 * turn + 0x10_0000))
            trace.write(page_alloc(time + 1000, cpu, 8 * turn))
            trace.write(cache_free(time + 2000, 1 - cpu, 0x1000 * turn + 0x10_0000))
            trace.write(page_free(time + 3000, cpu, 8 * turn))
            body = f"page={8 * turn:#x} pfn={8 * turn:#x} order=0"
            trace.write(line(time + 3000, cpu, "mm_page_free_batched", body))
    gc.collect()
    gc.freeze()  # else what earlier tests left alive delays the collection of this run's garbage
    tracemalloc.start()
    Run(ReplayPlan(trace=str(path), mode=mode))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    gc.unfreeze()
    return peak


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["open", "closed"])
def test_memory_does_not_grow_with_the_length_of_the_trace(
    tmp_path: Path, mode: Literal["open", "closed"]
) -> None:
    """Three times the trace, the same peak but for a few blocks of text: kept, its chunks alone are 4 MB."""
    short = peak_of(tmp_path / "trace.txt", 1_500, mode)
    long = peak_of(tmp_path / "trace.txt", 4_500, mode)
    assert long < 1.2 * short


def test_an_idle_cpu_does_not_read_the_whole_trace(tmp_path: Path) -> None:
    """A CPU whose only record is at the very end goes from chunk to chunk: the reader stays near the time."""
    path = tmp_path / "trace.txt"
    turns = 20_000
    with path.open("w", encoding="utf-8") as trace:
        for turn in range(turns):
            trace.write((page_free if turn % 2 else page_alloc)(1000 * turn, 0, 0x40))
        trace.write(page_alloc(1000 * turns, 1, 0x80))
    system = new_system()
    load = Replay(ReplayPlan(trace=str(path)))
    load.start(system)
    system.boot()
    shares: list[float] = []
    system.env.declare_barrier(turns * US // 2, lambda: shares.append(load.share_done()))
    measure(system, load, "replay", 0, 0)
    assert 0.4 < shares[0] < 0.75
    assert load.share_done() == 1
