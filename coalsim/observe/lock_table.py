"""The lock table of a summary: one line a lock class, the ones that cost most first.

A short hold behind a slow cache line is paid for at the line: CPUs queue for the lock's
word and find the lock free when they have it.  So the time for the word stands beside the
waits, and both decide the order.
"""

from collections.abc import Mapping, Sequence

from coalsim.observe import numbers
from coalsim.observe.document import LockEntry
from coalsim.observe.quantities import Count
from coalsim.observe.tables import Table, columns
from coalsim.units import NS

_HEADINGS = (
    "lock type acquired contended cont% wait-total-us line-total-us wait-avg-ns wait-max-ns "
    "hold-avg-ns hold-max-ns bounces"
)

LineTimes = Mapping[str, Count]
"""Time that all CPUs spent on getting the word of a lock, in ps, by the lock's name."""


def line_times(times: Mapping[str, Mapping[str, Count]]) -> LineTimes:
    """The line times in a document's `time`."""
    total: dict[str, Count] = {}
    for causes in times.values():
        for cause, time in causes.items():
            if cause.startswith("line:"):
                name = cause.removeprefix("line:")
                total[name] = total.get(name, 0) + time
    return total


def by_cost(locks: Sequence[LockEntry], lines: LineTimes) -> list[LockEntry]:
    """Most time lost first, then most used, then by name."""

    def cost(lock: LockEntry) -> float:
        return lock["waittime_total"] + lines.get(lock["name"], 0) / NS

    return sorted(locks, key=lambda lock: (-cost(lock), -lock["acquisitions"], lock["name"], lock["type"]))


def lock_table(locks: Sequence[LockEntry], times: Mapping[str, Mapping[str, Count]], shown: int) -> Table:
    """The `shown` most costly locks of those that were taken.

    Args:
        locks: of the document.
        times: of the document, CPU to cause to ps.
        shown: rows at most.
    """
    lines = dict(line_times(times))
    used = [lock for lock in by_cost(locks, lines) if lock["acquisitions"]]
    left_out = len(used) - shown
    return Table(
        columns(_HEADINGS, left=2),
        # Readers and writers of one lock share its word: its time stands in the first of their rows.
        tuple(_row(lock, lines.pop(lock["name"], None)) for lock in used[:shown]),
        title="locks, most costly first "
        "(line: getting the lock's cache line; bounces: taken after another CPU had it)",
        note=f"{left_out} more; see coalsim locks" if left_out > 0 else "",
    )


def _row(lock: LockEntry, line_time: Count | None) -> tuple[str, ...]:
    return (
        lock["name"],
        lock["type"],
        numbers.count(lock["acquisitions"]),
        numbers.count(lock["contentions"]),
        numbers.share(lock["contentions"], lock["acquisitions"]),
        numbers.us(lock["waittime_total"]),
        "" if line_time is None else numbers.us(line_time / NS),
        numbers.ns(lock["waittime_avg"]),
        numbers.ns(lock["waittime_max"]),
        numbers.ns(lock["holdtime_avg"]),
        numbers.ns(lock["holdtime_max"]),
        numbers.count(lock["acq_bounces"]),
    )
