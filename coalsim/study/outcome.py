"""The outcome of one run: the result document filled from a system.

Everything is counted from the end of the warm-up to the end of the run, and each
processor's time adds up to exactly that interval.  Identities that hold in every run
are asserted here, always: no statistics are involved, so a failure is a mistake in
coalsim and not bad luck.
"""

from collections.abc import Mapping
from typing import cast

from coalsim import __version__
from coalsim.boot import System
from coalsim.observe.document import (
    CpuWaits,
    LockEntry,
    LockInstance,
    Phase,
    ResultDocument,
    latency_entry,
    nanoseconds,
)
from coalsim.observe.histogram import Histogram
from coalsim.observe.lock_columns import lock_entry
from coalsim.study.injection_outcome import injection_parts
from coalsim.study.leak_outcome import leak_parts
from coalsim.study.memory_outcome import memory_parts
from coalsim.study.pressure_outcome import pressure_parts
from coalsim.study.safety_outcome import safety_parts
from coalsim.study.vm_outcome import vm_parts
from coalsim.units import NS, SEC, Time
from coalsim.workloads.base import Recorder

LOCK_ADDRESSES = 0xFFFF_8880_0100_0000
"""Locks have no simulated address; tables that want one count from here, a cache line each."""
LOCK_SPACING = 64

TimeByCause = list[dict[str, Time]]


def document(
    system: System,
    study: str,
    headline: str,
    begin: Time,
    end: Time,
    before: TimeByCause,
    after: TimeByCause,
    extra: Mapping[str, object],
) -> ResultDocument:
    """The result document of a run.

    Args:
        system: at the end of the run.
        study: its name.
        headline: the phase whose latency stands for the load.
        begin, end: the interval that was measured, in ps.
        before, after: each processor's time by cause up to its ends.
        extra: what the load itself has to say; laid over the document.
    """
    assert end > begin, "a run measures some time"
    ops = system.meter.count
    locks = [lock_entry(row) for lock_class in system.lock_classes for row in lock_class.rows()]
    result: ResultDocument = {
        "coalsim": __version__,
        "study": study,
        "machine": system.machine.name,
        "profile": system.config.profile.name,
        "seed": system.config.seed,
        "events": system.env.events,
        "sim_time_ps": end - begin,
        "throughput": {"ops": ops, "ops_per_s": ops * SEC / (end - begin)},
        "locks": sorted(
            (row for row in locks if row["acquisitions"]), key=lambda row: (row["name"], row["type"])
        ),
        "lock_waits_by_cpu": _waits_by_cpu(system),
        "lock_instances": _instances(system),
        "time": _time(before, after, end - begin),
        "cpu_nodes": [cpu.node for cpu in system.cpus],
    }
    phases = _phases(system, end - begin)
    if headline in phases:
        result["latency_ns"] = phases[headline]["latency_ns"]
    if any(name for name in phases):
        result["phases"] = {name: phases[name] for name in sorted(phases) if name}
    _check(system, result["locks"], end - begin)
    whole = overlaid(cast("dict[str, object]", result), memory_parts(system))
    whole = overlaid(whole, vm_parts(system))
    whole = overlaid(whole, pressure_parts(system))
    whole = overlaid(whole, safety_parts(system))
    whole = overlaid(whole, leak_parts(system))
    whole = overlaid(whole, injection_parts(system))
    return cast(ResultDocument, overlaid(whole, extra))


def overlaid(base: Mapping[str, object], extra: Mapping[str, object]) -> dict[str, object]:
    """One tree laid over another, table by table."""
    merged = dict(base)
    for key, value in extra.items():
        under = merged.get(key)
        if isinstance(under, Mapping) and isinstance(value, Mapping):
            value = overlaid(under, value)
        merged[key] = value
    return merged


def _phases(system: System, elapsed: Time) -> dict[str, Phase]:
    found: dict[str, Phase] = {}
    for name, parts in system.meter.phases.items():
        merged = _merged(parts)
        if ops := merged.count:
            found[name] = {
                "latency_ns": latency_entry(merged),
                "throughput": {"ops": ops, "ops_per_s": ops * SEC / elapsed},
            }
    return found


def latencies(system: System, headline: str) -> Histogram:
    """The distribution of the latencies, in ps, of the phase that stands for the load."""
    return _merged(system.meter.phases.get(headline, []))


def _merged(parts: list[Recorder]) -> Histogram:
    merged = Histogram()
    for part in parts:
        assert isinstance(part, Histogram)
        merged.merge(part)
    return merged


def _time(before: TimeByCause, after: TimeByCause, elapsed: Time) -> dict[str, dict[str, int | float]]:
    """Each processor's time in the interval, by cause; asserts that nothing is left over."""
    table: dict[str, dict[str, int | float]] = {}
    for cpu, (first, last) in enumerate(zip(before, after, strict=True)):
        causes = dict.fromkeys((*last, *first))
        spent = _renamed({cause: last.get(cause, 0) - first.get(cause, 0) for cause in causes})
        assert sum(spent.values()) == elapsed, f"CPU {cpu}: {spent} is not {elapsed} ps"
        table[str(cpu)] = {cause: spent[cause] for cause in sorted(spent) if spent[cause]}
    return table


def _renamed(spent: dict[str, Time]) -> dict[str, Time]:
    """Repair what a wait left behind that the first barrier cut and that was divided when it ended.

    Its part before the barrier was counted as `shootdown:wait`, say, and taken off at the end for
    `shootdown:flight`: the first is below zero and comes off its siblings, the largest first.
    """
    for cause in [cause for cause, time in spent.items() if time < 0]:
        family = cause.rpartition(":")[0]
        siblings = [other for other in spent if other.rpartition(":")[0] == family and spent[other] > 0]
        for other in sorted(siblings, key=lambda name: (-spent[name], name)):
            part = min(spent[other], -spent[cause])
            spent[other] -= part
            spent[cause] += part
    return spent


def _waits_by_cpu(system: System) -> list[CpuWaits]:
    """What each processor waited for locks in all."""
    return [
        {
            "cpu": int(cpu.id),
            "name": f"cpu{cpu.id}",
            "contended": cpu.lock_waits[0],
            "wait_total": nanoseconds(cpu.lock_waits[1]),
            "wait_max": nanoseconds(cpu.lock_waits[2]),
            "wait_min": nanoseconds(cpu.lock_waits[3]),
        }
        for cpu in system.cpus
        if cpu.lock_waits[0]
    ]


def _instances(system: System) -> list[LockInstance]:
    """The locks that were waited for, each by itself; its address is its place among all locks."""
    rows: list[LockInstance] = []
    address = LOCK_ADDRESSES
    for lock_class in system.lock_classes:
        for name, stat in lock_class.instances.items():
            row = stat.row()
            if row.contentions:
                rows.append(
                    {
                        "address": address,
                        "symbol": name,
                        "type": row.type,
                        "contended": row.contentions,
                        "wait_total": nanoseconds(row.waittime_total),
                        "wait_max": nanoseconds(row.waittime_max),
                        "wait_min": nanoseconds(row.waittime_min),
                    }
                )
            address += LOCK_SPACING
    return rows


def _check(system: System, locks: list[LockEntry], elapsed: Time) -> None:
    """A law that holds in every run: the locks of a class are held for no longer than there is time.

    But for holds that began before the interval.  That no frame is lost, `memory_parts` asserts.
    """
    instances = system.instances_of_class
    for row in locks:
        if not row["type"].endswith(":R"):
            most = elapsed * instances[row["name"]] / NS + row["holdtime_max"] * instances[row["name"]]
            assert row["holdtime_total"] <= most * (1 + 1e-9), (
                f"{row['name']} was held for longer than there was"
            )
