"""The outcome of a run whose kernel reclaims: counts, victims, the kernel's log."""

from coalsim.boot import System
from coalsim.errors import KernelPanic
from coalsim.observe.document import ResultDocument, nanoseconds
from coalsim.observe.pressure_document import KillEntry, LogEntry, PressureEntry


def pressure_parts(system: System) -> dict[str, object]:
    """The parts of the document that only such runs have; at a barrier, or where a panic ended the run."""
    pressure, reserve = system.pressure, system.memory.pages.reserve
    parts: dict[str, object] = {}
    if system.kernel_log:
        log: list[LogEntry] = [{"time_ns": nanoseconds(at), "text": text} for at, text in system.kernel_log]
        parts["kernel_log"] = log
    if pressure is None:
        return parts
    counts = {name: getattr(pressure.counts, name) for name in pressure.counts.FIELDS}
    counts["oom_kill"] = len(pressure.oom.kills)
    counts["oom_reaped_pages"] = pressure.oom_reaper.reaped
    counts["oom_reaper_given_up"] = pressure.oom_reaper.given_up
    stolen: list[int] = []  # pages of files, by node
    counts["pgsteal_direct"] = counts["pgsteal_kswapd"] = 0
    if system.has_vm:  # one source for here and for /proc/vmstat
        cache = system.vm.kernel.cache
        stolen = cache.stolen_by_kswapd
        counts["pgsteal_direct"] = cache.counts.pgsteal_direct
        counts["pgsteal_kswapd"] = cache.counts.pgsteal_kswapd
    counts["slab_reaps"] = pressure.slab_reaper.reaps
    counts["slab_reaped_pages"] = pressure.slab_reaper.reaped
    counts["drained_pages"] = pressure.drain.drained
    kills: list[KillEntry] = [
        {
            "time_ns": nanoseconds(kill.at),
            "pid": kill.pid,
            "name": kill.name,
            "points": kill.points,
            "oom_score": kill.score,
            "runner_up": kill.runner_up,
            "by": kill.by,
        }
        for kill in pressure.oom.kills
    ]
    entry: PressureEntry = {
        "counts": counts,
        "kswapd": [
            {
                "node": int(kswapd.node),
                "runs": kswapd.runs,
                "pgsteal_kswapd": stolen[kswapd.node] if stolen else 0,
                "hopeless": int(kswapd.is_hopeless),
            }
            for kswapd in pressure.kswapds.values()
        ],
        "kills": kills,
    }
    if reserve is not None:
        entry["reserve"] = {
            "size": reserve.size,
            "held": reserve.held,
            "taken": reserve.taken,
            "lowest": reserve.lowest,
        }
    parts["pressure"] = entry
    return parts


def check_panic(result: ResultDocument) -> None:
    """Refuse a result whose kernel panicked, after it has been written.

    Raises:
        KernelPanic: it did.
    """
    for number, run in enumerate(result.get("runs", [result]), 1):
        if "panic" in run:
            where = f"run {number}: " if "runs" in result else ""
            raise KernelPanic(f"{where}{run['panic']}")
