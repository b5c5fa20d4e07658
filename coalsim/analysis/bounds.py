"""What no prediction can exceed: operational laws, and bounds that follow from them.

All quantities are measured in one interval of length T, of CPUs that ran something; an operation is
what the load counts.

    N      CPUs that ran something, each with one thread at a time
    X      operations per second
    D[c]   time for which an operation holds locks of class c, as their table says
    W      CPU time for which an operation waits for others: for locks and their hand-overs, lines, answers
           to interrupts, other threads, or for something to do
    Z + D  all other CPU time of an operation: what is done outside locks, and while holding them

    response time law   N / X = Z + D + W: the CPUs' cycle
    asymptotic bounds   X <= min(N / (Z + D), m / D[c]),  m: locks of class c
    Little's law        the number that wait for a lock or hold it, (waits + holds) / T, is at most N

They hold for every run and need no assumption on distributions, so a prediction beyond them is
wrong.  What they predict for a changed configuration supposes that the change leaves Z and the
other demands as they were; a prediction beyond that is marked, for somebody to look at.

A result does not tell how many locks of a class there are, only which were waited for.  So a class
bounds anything only if at least half of its acquisitions had to wait, and then with as many locks
as were waited for.  Readers share their lock and bound nothing.

Source: Denning and Buzen, "The operational analysis of queueing network models", ACM Computing
Surveys 10(3), 1978; Lazowska, Zahorjan, Graham and Sevcik, "Quantitative system performance",
1984, chapters 3 and 5; Little, Operations Research 9, 1961.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf

from coalsim.observe.document import ResultDocument
from coalsim.observe.where import added, used_cpus
from coalsim.units import NS, SEC

SLACK = 1e-6
"""Relative error that rounding to nanoseconds may leave."""
EDGE = 0.02
"""What a prediction may exceed a bound by: operations and holds that an interval cuts at its ends."""
_WAITING = ("wait", "hand-over", "wake-up")
_AWAY = ("idle", "asleep", "rendezvous", "shootdown", "line", "handler", "steal")
"""Groups of causes in which a CPU waits for others, or that others cause: they may go when others change."""


@dataclass(frozen=True, kw_only=True)
class Station:
    """A class of locks that exclude.

    Args:
        name: of the class.
        demand: ns for which an operation holds its locks.
        servers: locks that may be held at once; 0 where the run does not tell.
    """

    name: str
    demand: float
    servers: int


@dataclass(frozen=True, kw_only=True)
class Demands:
    """What operations ask of CPUs and locks, measured in a run.

    Args:
        cpus: N; rate: X in operations per second.
        work: CPU time of an operation that is no waiting, in ns: Z and the holds.
        waiting: W in ns.
        stations: exclusive locks by demand, the largest first.
    """

    cpus: int
    rate: float
    work: float
    waiting: float
    stations: tuple[Station, ...]


@dataclass(frozen=True, kw_only=True)
class Bound:
    """The most operations per second, and why."""

    rate: float
    reason: str


def demands_of(run: ResultDocument) -> Demands | None:
    """The demands in a run; None if no operation ended."""
    ops, elapsed = run["throughput"]["ops"], run["sim_time_ps"]
    if not ops or not run["time"]:
        return None
    used = used_cpus(run["time"])
    causes = added(run["time"], used)
    waiting = sum(time for cause, time in causes.items() if is_waiting(cause))
    work = sum(causes.values()) - waiting
    servers = _servers(run)
    stations = [
        Station(name=row["name"], demand=row["holdtime_total"] / ops, servers=servers.get(row["name"], 0))
        for row in run["locks"]
        if not row["type"].endswith(":R") and row["holdtime_total"]
    ]
    stations.sort(key=lambda station: (-station.demand, station.name))
    return Demands(
        cpus=len(used),
        rate=ops * SEC / elapsed,
        work=work / ops / NS,
        waiting=waiting / ops / NS,
        stations=tuple(stations),
    )


def is_waiting(cause: str) -> bool:
    """Whether a CPU does nothing of its own for this cause."""
    first, last = cause.partition(":")[0], cause.rpartition(":")[2]
    return first in _AWAY or (first == "lock" and last in _WAITING)


def bound_of(demands: Demands, scale: Mapping[str, float] | None = None) -> Bound:
    """The asymptotic bound.

    Args:
        demands: as they were measured.
        scale: by class of locks, what their sections are made to take of what they did.
    """
    scale = scale or {}
    saved = sum(
        station.demand * (1 - factor)
        for station in demands.stations
        if (factor := scale.get(station.name, 1.0)) < 1
    )
    work = max(demands.work - saved, 0.0)
    found = [
        Bound(
            rate=demands.cpus * 1e9 / work if work else inf,
            reason=f"{demands.cpus} CPUs / {work:.4g} ns of work",
        )
    ]
    for station in demands.stations:
        demand = station.demand * scale.get(station.name, 1.0)
        if demand and station.servers:
            reason = f"{station.name}: {station.servers} / {demand:.4g} ns held"
            found.append(Bound(rate=station.servers * 1e9 / demand, reason=reason))
    return min(found, key=lambda bound: bound.rate)


def contradiction(rate: float, bound: Bound) -> str:
    """What a predicted rate breaks; empty if it is possible."""
    if rate <= bound.rate * (1 + EDGE):
        return ""
    return f"breaks the bound of {bound.rate:.5g} ops/s ({bound.reason})"


def law_faults(run: ResultDocument) -> Iterator[str]:
    """Each operational law that the numbers of a run contradict, in words; there should be none."""
    found = demands_of(run)
    if found is None:
        return
    elapsed = run["sim_time_ps"] / NS
    cycle = found.cpus / found.rate * 1e9
    if abs(cycle - found.work - found.waiting) > SLACK * cycle:
        yield f"N/X is {cycle:.6g} ns, but work and waiting are {found.work + found.waiting:.6g} ns"
    if found.rate > bound_of(found).rate * (1 + EDGE):
        yield contradiction(found.rate, bound_of(found))
    for row in run["locks"]:
        inside = (row["waittime_total"] + row["holdtime_total"]) / elapsed
        # a thread that waits for a mutex asleep has given its CPU away, so only spinning is bounded by N
        edge = (row["waittime_max"] + row["holdtime_max"]) * found.cpus / elapsed
        if row["type"] == "spinlock" and inside > found.cpus * (1 + SLACK) + edge:
            yield f"Little: {inside:.4g} CPUs wait for or hold {row['name']}, of {found.cpus}"


def little(run: ResultDocument) -> dict[str, tuple[float, float]]:
    """By class of locks, how many wait on average: by the lock table, and by the CPUs' time.

    The first is waits per second times their mean length; the second what CPUs spent waiting and
    taking over, per time.  They differ by what interrupts took from waiters, and by waits that the
    interval cut; waiters that sleep are in the first alone.
    """
    causes = added(run["time"], used_cpus(run["time"]))
    elapsed = run["sim_time_ps"]
    counted: dict[str, float] = {}
    for row in run["locks"]:
        counted[row["name"]] = counted.get(row["name"], 0.0) + row["waittime_total"] * NS / elapsed
    return {
        name: (
            number,
            sum(causes.get(f"lock:{name}:{word}", 0) for word in ("wait", "hand-over")) / elapsed,
        )
        for name, number in counted.items()
    }


def mean_demands(runs: Sequence[ResultDocument]) -> Demands | None:
    """The demands over several runs of one configuration: means of each; None if some did nothing."""
    found = [demands_of(run) for run in runs]
    each = [demands for demands in found if demands is not None]
    if not each or len(each) < len(found):
        return None
    names = dict.fromkeys(station.name for demands in each for station in demands.stations)
    held = [{station.name: station for station in demands.stations} for demands in each]
    stations = [
        Station(
            name=name,
            demand=sum(by_name[name].demand if name in by_name else 0.0 for by_name in held) / len(each),
            servers=_agreed([by_name[name].servers for by_name in held if name in by_name]),
        )
        for name in names
    ]
    return Demands(
        cpus=max(demands.cpus for demands in each),
        rate=sum(demands.rate for demands in each) / len(each),
        work=sum(demands.work for demands in each) / len(each),
        waiting=sum(demands.waiting for demands in each) / len(each),
        stations=tuple(sorted(stations, key=lambda one: (-one.demand, one.name))),
    )


def _agreed(servers: Sequence[int]) -> int:
    """The number of locks that several runs tell; 0 if one of them does not."""
    return max(servers) if min(servers) else 0


def _servers(run: ResultDocument) -> dict[str, int]:
    """How many locks the classes have that are mostly waited for.

    `lock_instances` lists the locks that were waited for class by class, in the order of the classes'
    names, so a class has the next ones until their contentions add up to its own.
    """
    rows = iter(run.get("lock_instances", []))
    servers: dict[str, int] = {}
    for entry in sorted(run["locks"], key=lambda entry: entry["name"]):
        if entry["type"].endswith(":R"):
            continue
        left, count = entry["contentions"], 0
        while left > 0 and (row := next(rows, None)) is not None:
            left -= row["contended"]
            count += 1
        if left:
            return {}  # a document that was put together from others: nothing is known
        if 2 * entry["contentions"] >= entry["acquisitions"]:
            busy = ceil(entry["holdtime_total"] * NS / run["sim_time_ps"] - EDGE)
            servers[entry["name"]] = max(count, busy, 1)
    return servers
