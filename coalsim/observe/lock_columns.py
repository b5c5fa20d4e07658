"""The columns of a lock row: how they are made, and the rules that always hold between them.

`lock_entry` turns a lock's statistics (whole picoseconds) into a row of the result
document (ns).  `lock_row_faults` names every rule that a row breaks; `check_lock_row`
asserts it of our own rows, and a row that was read from a file is refused by it.
Source of the columns: Documentation/locking/lockstat.rst of the Linux kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from coalsim.observe.document import LockEntry, Waiter, nanoseconds
from coalsim.observe.quantities import Count, Nanoseconds
from coalsim.units import NS, Time

if TYPE_CHECKING:  # printing a stored result needs no locks
    from coalsim.locks.lockstat import LockRow, SiteRow

Side = Literal["waittime", "holdtime"]

# ns are floats when they are not whole: sums and quotients agree to so many parts.
_SLACK = 1e-9


def lock_entry(row: LockRow) -> LockEntry:
    """One row of the document's `locks`."""
    entry: LockEntry = {
        "name": row.name,
        "type": row.type,
        "con_bounces": row.con_bounces,
        "contentions": row.contentions,
        "waittime_min": nanoseconds(row.waittime_min),
        "waittime_max": nanoseconds(row.waittime_max),
        "waittime_total": nanoseconds(row.waittime_total),
        "waittime_avg": average(row.waittime_total, row.contentions),
        "acq_bounces": row.acq_bounces,
        "acquisitions": row.acquisitions,
        "holdtime_min": nanoseconds(row.holdtime_min),
        "holdtime_max": nanoseconds(row.holdtime_max),
        "holdtime_total": nanoseconds(row.holdtime_total),
        "holdtime_avg": average(row.holdtime_total, row.acquisitions),
        "stolen": nanoseconds(row.stolen),
        "waiters": [_waiter(site) for site in row.waiters],
        "holders": [{"site": site, "count": count} for site, count in row.holders],
    }
    check_lock_row(entry)
    return entry


def _waiter(site: SiteRow) -> Waiter:
    return {
        "site": site.site,
        "contentions": site.contentions,
        "wait_total": nanoseconds(site.wait_total),
        "wait_max": nanoseconds(site.wait_max),
        "wait_min": nanoseconds(site.wait_min),
    }


def average(total_ps: Time, count: int) -> Nanoseconds:
    """ns per event of a total in ps; 0 when there was none."""
    return total_ps / (count * NS) if count else 0


def check_lock_row(row: LockEntry) -> None:
    """Assert the rules; a row that breaks one is a mistake in coalsim."""
    faults = lock_row_faults(row)
    assert not faults, f"lock {row['name']} ({row['type']}): {'; '.join(faults)}"


def lock_row_faults(row: LockEntry) -> list[str]:
    """Every rule that the row breaks, in words."""
    faults = []
    if row["contentions"] > row["acquisitions"]:
        faults.append(f"contentions {row['contentions']} above acquisitions {row['acquisitions']}")
    if row["con_bounces"] > row["contentions"]:
        faults.append(f"con_bounces {row['con_bounces']} above contentions {row['contentions']}")
    if row["acq_bounces"] > row["acquisitions"]:
        faults.append(f"acq_bounces {row['acq_bounces']} above acquisitions {row['acquisitions']}")
    faults += _side_faults(row, "waittime", row["contentions"])
    faults += _side_faults(row, "holdtime", row["acquisitions"])
    for site in row["waiters"]:
        if not _at_most(site["wait_max"], site["wait_total"]):
            faults.append(f"wait_max {site['wait_max']} of {site['site']} above its wait_total")
    if not _at_most(sum(site["contentions"] for site in row["waiters"]), row["contentions"]):
        faults.append("its call sites have more contentions than the lock")
    if not _at_most(sum(site["wait_total"] for site in row["waiters"]), row["waittime_total"]):
        faults.append("its call sites waited longer than the lock's waittime_total")
    return faults


def _side_faults(row: LockEntry, side: Side, count: Count) -> list[str]:
    """Rules between the least, the largest, the total and the average time."""
    if side == "waittime":
        least, most = row["waittime_min"], row["waittime_max"]
        total, mean = row["waittime_total"], row["waittime_avg"]
    else:
        least, most = row["holdtime_min"], row["holdtime_max"]
        total, mean = row["holdtime_total"], row["holdtime_avg"]
    faults = []
    if min(least, most, total, mean, count) < 0:
        faults.append(f"a negative {side} or count")
    if not count and (total or most):
        faults.append(f"{side}_total {total} without a single event")
    if not least <= most:  # the least may exceed the mean: it leaves out times of zero
        faults.append(f"{side}_min {least} above {side}_max {most}")
    if not _at_most(most, total):
        faults.append(f"{side}_max {most} above {side}_total {total}")
    if not _at_most(total, most * count):
        faults.append(f"{side}_max {most} below the mean of {side}_total {total} over {count}")
    expected = total / count if count else 0
    if not (_at_most(mean, expected) and _at_most(expected, mean)):
        faults.append(f"{side}_avg {mean} is not {side}_total {total} / {count}")
    return faults


def _at_most(part: float, whole: float) -> bool:
    return part <= whole * (1 + _SLACK)
