"""`run.warmup = "auto"`: a pilot run finds where the warm-up ends.

The pilot has a seed of its own, lasts as long as the measured time of a replication and is
counted in batches from time 0.  MSER-5 (`stats/mser.py`) cuts its operations per batch and its
mean latency per batch; the larger cut is the warm-up of all replications.  Nothing of the
pilot is in any result but the cut.

A batch without operations has no latency; where there are such, neighbours are joined first.

Invariant: the cut depends on the configuration and the pilot's seed alone, so replications that
run in different processes find the same one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from simpy.events import Event

from coalsim.boot import System, SystemConfig
from coalsim.errors import ConfigError, KernelPanic, Problem
from coalsim.observe.batches_document import WarmupEntry
from coalsim.stats.mser import LEAST_VALUES, mser5
from coalsim.study.batches import BatchCounter
from coalsim.study.sections import AUTO, RunSection
from coalsim.units import Time, format_time
from coalsim.workloads.base import Workload

PILOT_BATCHES = 500
"""A hundred groups of five: the cut is known to 1 % of the pilot's time."""
REMEDY = "give run.warmup a time such as 1ms"
UNTRUSTED = (
    "no end of the warm-up was found: it would be more than half of the pilot run; "
    "give run.duration a longer time, or run.warmup one of your own"
)


def find_warmup(config: SystemConfig, load_of: Callable[[System], Workload], run: RunSection) -> WarmupEntry:
    """Run the pilot and cut it.

    Raises:
        ConfigError: the load ends too soon, does nothing, or ends in a panic, so there is no cut.
    """
    assert run.duration, "a pilot has the length of the run"
    system = System(replace(config, seed=run.seed_of_pilot))
    load = load_of(system)
    load.start(system)
    system.boot()
    counter = BatchCounter(system, load.headline, 0, run.duration, PILOT_BATCHES)
    ended = _run(system, run.duration, counter)
    if ended < run.duration:
        raise _no_cut(f"the load ended in the pilot run after {format_time(ended)}")
    if not sum(counter.ops):
        raise _no_cut("no operation ended in the pilot run")
    cuts = [mser5(counter.ops)]
    sizes = [1]
    if joined := _joined_until_none_is_empty(counter.latency_totals, counter.latency_counts):
        size, means = joined
        cuts.append(mser5(means))
        sizes.append(size)
    batches = max(cut.cut * size for cut, size in zip(cuts, sizes, strict=True))
    return {
        "method": "mser5",
        "cut_ps": batches * run.duration // PILOT_BATCHES,
        "batch_ps": run.duration // PILOT_BATCHES,
        "pilot_seed": run.seed_of_pilot,
        "half_cut": any(cut.half_cut for cut in cuts),
    }


def auto_problems(run: RunSection) -> Iterator[Problem]:
    """Why a pilot cannot find the warm-up of such a run; nothing if it can."""
    if run.warmup != AUTO or run.duration >= PILOT_BATCHES:
        return
    message, remedy = "a pilot run needs a length", "give run.duration a time such as 2ms"
    if run.duration:
        message, remedy = f"a pilot run of {run.duration} ps has no {PILOT_BATCHES} batches", REMEDY
    yield Problem(key="run.warmup", value=AUTO, message=message, remedy=remedy)


def _run(system: System, duration: Time, counter: BatchCounter) -> Time:
    """Run the pilot; the time at which it, or its load, ended."""
    end = Event(system.env)
    last: list[Time] = []

    def over() -> None:
        counter.end()
        system.env.stop(end)

    def finished() -> None:
        last.append(system.env._now)
        system.env.stop(end)

    system.env.declare_barrier(duration, over)
    system.when_finished(finished)
    try:
        system.run(end)
    except KernelPanic:
        raise _no_cut("the kernel panicked in the pilot run") from None
    return last[0] if last else duration


def _joined_until_none_is_empty(
    totals: Sequence[Time], counts: Sequence[int]
) -> tuple[int, list[float]] | None:
    """How many neighbours make a batch with latencies, and the means; None if there are too few."""
    size = 1
    while len(counts) // size >= LEAST_VALUES:
        starts = range(0, len(counts) - size + 1, size)
        by_batch = [(sum(totals[at : at + size]), sum(counts[at : at + size])) for at in starts]
        if all(count for _, count in by_batch):
            return size, [total / count for total, count in by_batch]
        size *= 2
    return None


def _no_cut(message: str) -> ConfigError:
    return ConfigError([Problem(key="run.warmup", value=AUTO, message=message, remedy=REMEDY)])
