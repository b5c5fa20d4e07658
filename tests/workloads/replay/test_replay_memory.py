"""Host memory of a replay: what is live in the trace, not what is long."""

import tracemalloc
from itertools import cycle, islice
from pathlib import Path
from typing import Literal

import pytest
from replaying import Run, cache_alloc, cache_free, page_alloc, page_free

from coalsim.workloads.replay.load import ReplayPlan


def peak_of(path: Path, turns: int, mode: Literal["open", "closed"]) -> int:
    """Most bytes in use while a trace of so many turns is replayed; few things live at a time."""
    with path.open("w", encoding="utf-8") as trace:
        for turn in range(turns):
            time, cpu = turn * 4000, turn % 2
            trace.write(cache_alloc(time, cpu, 0x1000 * turn + 0x10_0000))
            trace.write(page_alloc(time + 1000, cpu, 8 * turn))
            trace.write(cache_free(time + 2000, 1 - cpu, 0x1000 * turn + 0x10_0000))
            trace.write(page_free(time + 3000, cpu, 8 * turn))
    tracemalloc.start()
    Run(ReplayPlan(trace=str(path), mode=mode))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("mode", ["open", "closed"])
def test_memory_does_not_grow_with_the_length_of_the_trace(
    tmp_path: Path, mode: Literal["open", "closed"]
) -> None:
    """Four times the trace, the same peak but for a tenth."""
    short = peak_of(tmp_path / "trace.txt", 4_000, mode)
    long = peak_of(tmp_path / "trace.txt", 16_000, mode)
    assert long < 1.1 * short


def test_an_idle_cpu_does_not_read_the_whole_trace(tmp_path: Path) -> None:
    """A CPU with one record at the very end waits chunk by chunk: the reader stays where time is."""
    path = tmp_path / "trace.txt"
    pairs = islice(zip(range(20_000), cycle([page_alloc, page_free]), strict=False), 20_000)
    body = "".join(make(1000 * turn, 0, 0x40) for turn, make in pairs)
    path.write_text(body + page_alloc(20_000_000, 1, 0x80), encoding="utf-8")
    run_to = 0
    seen: list[tuple[int, float]] = []

    class Watched(Run):
        """Looks at how far the reader is when half of the time has passed."""

    from coalsim.workloads.replay import feed

    original = feed.Feed.read_chunk

    def read_chunk(self: feed.Feed) -> feed.Chunk:
        chunk = original(self)
        seen.append((chunk.end, 0.0))
        return chunk

    assert run_to == 0
    pytest.MonkeyPatch().setattr(feed.Feed, "read_chunk", read_chunk)
    Watched(ReplayPlan(trace=str(path)))
    assert len(seen) > 5
