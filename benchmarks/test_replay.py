"""Replay of a recorded trace: events per second, parsing included."""

from pathlib import Path
from statistics import median
from time import perf_counter

TRACE = Path(__file__).parent.parent / "tests" / "data" / "compile_excerpt.perf.txt.gz"


def test_replay_speed(benchmark, versus) -> None:  # type: ignore[no-untyped-def]
    """At least 50,000 trace events per second."""
    import coalsim

    def once() -> float:
        began = perf_counter()
        result = coalsim.replay(TRACE)
        return sum(result["trace"]["events"].values()) / (perf_counter() - began)

    benchmark.pedantic(once, rounds=2, warmup_rounds=1)
    versus.value(
        "replay of the excerpt, everything included",
        median(once() for _ in range(5)),
        "events/s",
        ">= 50,000",
    )
