"""Measuring one run of a system: from the end of its warm-up to the end of its duration, or of its load.

Both ends are barriers: what began before counts, what begins at their time or later does not.
"""

from collections.abc import Iterator
from functools import partial
from time import perf_counter

from simpy.events import Event

from coalsim.boot import System
from coalsim.errors import ConfigError, KernelPanic, Problem
from coalsim.observe.document import ResultDocument
from coalsim.study.batches import BatchCounter
from coalsim.study.fitting import misfit
from coalsim.study.memory_outcome import check_conservation
from coalsim.study.outcome import TimeByCause, document
from coalsim.study.safety_outcome import safety_warnings
from coalsim.study.series import MOST_SAMPLES, Sampler
from coalsim.units import Time, format_time
from coalsim.workloads.base import Workload

SIGNALS_TOLD = 5
"""Tasks that a signal ended, each named in a warning of its own; the others are counted."""


def measure(
    system: System,
    load: Workload,
    study: str,
    warmup: Time,
    duration: Time,
    samples: Time = 0,
    *,
    batches: int = 0,
) -> ResultDocument:
    """Run a system that has been booted, and say what came out.

    Args:
        system, load: whose run it is.
        study: its name.
        warmup, duration: of the run; 0: none, and until the load ends.
        samples: time between two samples of memory; 0: none are taken.
        batches: parts of the duration that are counted apart; 0: none.

    Raises:
        KernelPanic: the kernel panicked, and not all of the system stands at that moment.
    """
    before: TimeByCause = [{} for _ in system.cpus]
    after: TimeByCause = []
    ended: list[Time] = []  # when the load was over
    begin = 0
    end = Event(system.env)
    sampler = Sampler(system, samples) if samples else None
    counter = BatchCounter(system, load.headline, warmup, duration, batches) if batches else None
    system.env.at_barriers = partial(check_conservation, system)

    def warmed_up() -> None:
        nonlocal begin, before
        begin, before = system.env._now, system.time_by_cause(system.env._now)
        system.reset_counters()
        if sampler is not None:
            sampler.start()

    def over() -> None:
        if counter is not None:
            counter.end()
        after[:] = system.time_by_cause(system.env._now)
        system.env.stop(end)

    if warmup:
        system.env.declare_barrier(warmup, warmed_up)
    if duration:
        system.env.declare_barrier(warmup + duration, over)
        system.when_finished(lambda: ended.append(system.env._now))
    else:
        system.when_finished(over)
    if sampler is not None and not warmup:
        sampler.start()
    started = perf_counter()
    panic = ""
    try:
        system.run(end)
    except KernelPanic as report:
        if system.env.run_ahead or system.env.fast_paths or system.env._now == begin:
            raise
        panic = str(report)
        after[:] = system.time_by_cause(system.env._now)
    host = perf_counter() - started
    if warmup and system.env._now <= warmup and not panic:
        problem = Problem(
            key="run.warmup",
            value=f"{warmup}ps",
            message=f"the load ended before the warm-up, after {format_time(system.env._now)}",
            remedy="shorten the warm-up, or give the load more to do",
        )
        raise ConfigError([problem])
    extra = load.results()
    result = document(system, study, load.headline, begin, system.env._now, before, after, extra)
    result["host_s"] = host
    if sampler is not None:
        sampler.end()
        result["series"] = sampler.entry()
    if counter is not None and counter.is_complete:
        result["batches"] = counter.entry()
    if panic:
        result["panic"] = panic
    warnings = [*_warnings(system, result)]
    if ended:
        warnings.append(
            f"the load was over after {format_time(ended[0] - begin)} of the {format_time(duration)} that "
            "were measured: rates are over all of it; give run.duration = 0 (until it ends), or it more to do"
        )
    if sampler is not None and sampler.is_full:
        warnings.append(f"no more than {MOST_SAMPLES} samples are kept: give run.samples a longer time")
    if warnings:
        result["warnings"] = [*result.get("warnings", []), *warnings]
    return result


def _warnings(system: System, result: ResultDocument) -> Iterator[str]:
    """What makes a run's numbers mean less than they seem to; one sentence each."""
    failed = system.meter.failed
    if failed:
        yield f"{failed} allocations failed: no memory was left for them, or none in one piece so large"
    elif not result["throughput"]["ops"]:
        yield "no operation ended in the time that was measured: the run is too short for its load"
    if "vm" in result:
        if text := misfit(system.config.shootdown, system.switches):
            yield text
        if number := result["vm"]["shootdowns"].get("ring_full"):
            places = f"kernel.latr_ring = {system.switches.latr_ring}"
            yield f"{number} flushes interrupted as concurrent does: the ring of records was full ({places})"
    if system.kmemleak is not None and not system.kmemleak.has_roots:
        yield "kernel.kmemleak reports nothing here: this load keeps its pointers where no scan looks"
    if "panic" in result:
        yield "a kernel panic ended the run: everything here is what was so up to then"
    yield from safety_warnings(result.get("safety", []))
    signals = result["vm"].get("signals", []) if "vm" in result else []
    for text in signals[:SIGNALS_TOLD]:
        yield f"a signal ended task {text}"
    if len(signals) > SIGNALS_TOLD:
        yield f"signals ended {len(signals) - SIGNALS_TOLD} more tasks"
