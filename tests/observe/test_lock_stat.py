"""The layout of /proc/lock_stat, version 0.4."""

from coalsim.observe.document import ResultDocument
from coalsim.observe.lock_stat import lock_stat


def test_the_head_says_simulated_and_then_follows_the_kernel(document: ResultDocument) -> None:
    """A rule of 221 dashes on either side of thirteen headings."""
    lines = lock_stat(document).splitlines()

    assert lines[0] == "# coalsim 0.1.0 simulated, lock_stat layout"
    assert lines[1] == "lock_stat version 0.4"
    assert lines[2] == lines[4] == "-" * 221
    assert lines[3].startswith(" " * 30 + "class name    con-bounces    contentions   waittime-min ")
    assert " ".join(lines[3].split()[2:]) == (
        "con-bounces contentions waittime-min waittime-max waittime-total waittime-avg "
        "acq-bounces acquisitions holdtime-min holdtime-max holdtime-total holdtime-avg"
    )
    assert lines[5] == ""


def test_a_row_holds_us_with_two_decimals(document: ResultDocument) -> None:
    """Times are rounded 5 ns up and cut, as the kernel does it."""
    row = next(line for line in lock_stat(document).splitlines() if " zone_lock:" in line)

    assert " ".join(row.split()) == (
        "zone_lock: 3011 3120 0.01 44.14 7410.88 2.38 31877 48213 0.04 21.65 9120.41 0.19"
    )
    assert len(row) == 40 + 1 + 29 + 60 + 30 + 60
    assert row.index(":") == 40


def test_contention_points_stand_below_an_underline_as_long_as_the_name(document: ResultDocument) -> None:
    """At most four of each kind, the most frequent first."""
    document["locks"][0]["waiters"] += [
        {"site": f"elsewhere{n}", "contentions": 0, "wait_total": 0, "wait_max": 0, "wait_min": 0}
        for n in (1, 2)
    ]
    lines = lock_stat(document).splitlines()
    at = next(n for n, line in enumerate(lines) if " zone_lock:" in line)

    assert lines[at + 1] == " " * 31 + "-" * 9
    assert lines[at + 2] == f"{'zone_lock':>40} {2011:14} {'[<simulated>]':>29} rmqueue_bulk"
    assert [line.split()[-1] for line in lines[at + 2 : at + 6]] == [
        "rmqueue_bulk",
        "free_pcppages_bulk",
        "rmqueue_buddy",
        "elsewhere1",
    ]
    assert lines[at + 6] == lines[at + 1]
    assert lines[at + 9 : at + 12] == ["", "." * 221, ""]


def test_a_lock_that_is_read_and_written_has_two_rows_in_one_block(document: ResultDocument) -> None:
    """The writers' row comes first and both share the contention points."""
    lines = lock_stat(document).splitlines()
    at = next(n for n, line in enumerate(lines) if "mmap_lock-W:" in line)

    assert lines[at].startswith(f"{'mmap_lock':>38}-W:")
    assert lines[at + 1].startswith(f"{'mmap_lock':>38}-R:")
    assert lines[at + 2] == " " * 29 + "-" * 11
    assert [int(line.split()[1]) for line in lines[at + 3 : at + 6]] == [49, 40, 34]


def test_classes_come_by_contentions_and_unused_ones_not_at_all(document: ResultDocument) -> None:
    """A lock nobody took has no row; one nobody waited for has a row and no points."""
    lines = lock_stat(document).splitlines()
    names = [line.split()[0] for line in lines if line.count(":") and line.split()[0].endswith(":")]

    assert names == ["zone_lock:", "depot:kmalloc-64:", "mmap_lock-W:", "mmap_lock-R:", "slab:dentry:"]
    assert lines[-1].lstrip().startswith("slab:dentry:")
