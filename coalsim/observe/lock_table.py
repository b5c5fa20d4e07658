"""The lock table of a summary: one line a lock class, the ones that cost most first."""

from collections.abc import Sequence

from coalsim.observe import numbers
from coalsim.observe.document import LockEntry
from coalsim.observe.tables import Table, columns

_HEADINGS = (
    "lock type acquired contended cont% wait-total-us wait-avg-ns wait-max-ns hold-avg-ns hold-max-ns bounces"
)


def by_cost(locks: Sequence[LockEntry]) -> list[LockEntry]:
    """Most waiting first, then most used, then by name."""
    return sorted(
        locks, key=lambda lock: (-lock["waittime_total"], -lock["acquisitions"], lock["name"], lock["type"])
    )


def lock_table(locks: Sequence[LockEntry], shown: int) -> Table:
    """The `shown` most costly locks of those that were taken."""
    used = [lock for lock in by_cost(locks) if lock["acquisitions"]]
    left_out = len(used) - shown
    return Table(
        columns(_HEADINGS, left=2),
        tuple(_row(lock) for lock in used[:shown]),
        title="locks, most waiting first (bounces: taken after another CPU had it)",
        note=f"{left_out} more; see coalsim locks" if left_out > 0 else "",
    )


def _row(lock: LockEntry) -> tuple[str, ...]:
    return (
        lock["name"],
        lock["type"],
        numbers.count(lock["acquisitions"]),
        numbers.count(lock["contentions"]),
        numbers.share(lock["contentions"], lock["acquisitions"]),
        numbers.us(lock["waittime_total"]),
        numbers.ns(lock["waittime_avg"]),
        numbers.ns(lock["waittime_max"]),
        numbers.ns(lock["holdtime_avg"]),
        numbers.ns(lock["holdtime_max"]),
        numbers.count(lock["acq_bounces"]),
    )
