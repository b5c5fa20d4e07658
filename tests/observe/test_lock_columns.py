"""Rows of the lock table keep the rules of /proc/lock_stat."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coalsim.locks.lockstat import LockStat
from coalsim.observe.document import ResultDocument
from coalsim.observe.lock_columns import check_lock_row, lock_entry, lock_row_faults

waits = st.tuples(
    st.integers(0, 3), st.sampled_from(["rmqueue_bulk", "free_pcppages_bulk"]), st.integers(0, 10**9)
)
holds = st.tuples(st.integers(0, 3), st.integers(0, 10**9))


@given(st.lists(waits, max_size=20), st.lists(holds, max_size=10))
def test_whatever_a_lock_counted_makes_a_row_that_keeps_the_rules(
    waited: list[tuple[int, str, int]], held: list[tuple[int, int]]
) -> None:
    """Averages are totals over counts, maxima lie above means, call sites add up to the lock."""
    stat, waits_of_cpu = LockStat("zone_lock", "spinlock"), array("q", (0, 0, 0, 0))
    for cpu, site, wait in waited:
        usage = stat.usage(site)
        usage.waited(waits_of_cpu, wait, bounced=cpu != 0, ahead="rmqueue_bulk")
        usage.held(wait, bounced=cpu != 0)
    for _, hold in held:
        stat.usage("rmqueue_buddy").held(hold, bounced=False)

    entry = lock_entry(stat.row())

    check_lock_row(entry)
    assert entry["contentions"] == len(waited)
    assert entry["acquisitions"] == len(waited) + len(held)
    assert entry["waittime_total"] * 1000 == pytest.approx(sum(wait for _, _, wait in waited))


def test_times_are_ns_and_whole_where_they_are_whole() -> None:
    """37,700 ps is 37.7, 40,000 ps is 40."""
    stat = LockStat("zone_lock", "spinlock")
    usage = stat.usage("rmqueue_bulk")
    usage.waited(array("q", (0, 0, 0, 0)), 37_700, bounced=True, ahead="rmqueue_bulk")
    usage.held(40_000, bounced=True)

    entry = lock_entry(stat.row())

    assert (entry["waittime_max"], entry["waittime_avg"]) == (37.7, 37.7)
    assert repr(entry["holdtime_total"]) == "40"
    assert entry["waiters"] == [
        {"site": "rmqueue_bulk", "contentions": 1, "wait_total": 37.7, "wait_max": 37.7, "wait_min": 37.7}
    ]
    assert entry["holders"] == [{"site": "rmqueue_bulk", "count": 1}]


@pytest.mark.parametrize(
    ("column", "value", "complaint"),
    [
        ("contentions", 48214, "contentions 48214 above acquisitions 48213"),
        ("con_bounces", 3121, "con_bounces 3121 above contentions 3120"),
        ("acq_bounces", 48214, "acq_bounces 48214 above acquisitions 48213"),
        ("waittime_avg", 2375.4, "waittime_avg 2375.4 is not waittime_total"),
        ("waittime_max", 2300, "waittime_max 2300 below the mean"),
        ("waittime_max", 8e6, "waittime_max 8000000.0 above waittime_total"),
        ("waittime_min", 44141, "waittime_min 44141 above waittime_max"),
        ("holdtime_total", -1, "a negative holdtime or count"),
        ("acquisitions", 0, "holdtime_total 9120411.25 without a single event"),
        ("waittime_total", 7_000_000, "its call sites waited longer"),
    ],
)
def test_each_broken_rule_is_named(
    document: ResultDocument, column: str, value: float, complaint: str
) -> None:
    """A row is accepted as it is, and refused with one number changed."""
    row = document["locks"][0]
    assert (row["name"], lock_row_faults(row)) == ("zone_lock", [])

    row[column] = value  # type: ignore[literal-required]

    assert any(fault.startswith(complaint) for fault in lock_row_faults(row))
    with pytest.raises(AssertionError, match="lock zone_lock"):
        check_lock_row(row)
