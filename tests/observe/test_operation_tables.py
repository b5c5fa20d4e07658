"""Where the latency of operations went: complete, in order, and as folded stacks."""

import pytest

from coalsim.observe.document import ResultDocument
from coalsim.observe.operations import folded_operation, operation_table, operation_text, operations_table
from coalsim.observe.tables import Style
from coalsim.observe.vm_document import OperationEntry


def entry(**causes: int | float) -> OperationEntry:
    """Two operations with these causes, `_` standing for a colon."""
    by_cause = {cause.replace("_", ":"): time for cause, time in causes.items()}
    total = sum(by_cause.values())
    return {
        "latency_ns": {"count": 2, "mean": total / 2, "p50": total / 2, "p99": total / 2, "max": total / 2},
        "by_cause_ns": by_cause,
    }


def test_every_operation_of_a_run_is_accounted_for(vm_document: ResultDocument) -> None:
    """Groups, and causes without a group, make 100 %; per operation they make the mean."""
    assert {"fault", "mmap", "munmap"} <= vm_document["operations"].keys()
    for name, found in vm_document["operations"].items():
        table = operation_table(name, found)
        groups = [row for row in table.rows[:-1] if not row[0].startswith(" ")]
        assert table.note == "the causes add up to the latencies of all operations"
        assert float(table.rows[-1][3]) == pytest.approx(found["latency_ns"]["mean"], abs=0.06)
        assert sum(float(row[2]) for row in groups) == pytest.approx(100, abs=0.1 * len(groups))
        assert sum(float(row[3]) for row in groups) == pytest.approx(
            found["latency_ns"]["mean"], abs=0.06 * len(groups)
        )


def test_a_munmap_that_others_shared_shows_the_parts_of_its_shootdown(vm_document: ResultDocument) -> None:
    """Sending, flight and the handlers of the others are rows of their own."""
    rows = {row[0].strip() for row in operation_table("munmap", vm_document["operations"]["munmap"]).rows}
    assert {"shootdown:send", "shootdown:flight", "shootdown:remote handler", "syscall", "total"} <= rows


def test_rows_are_groups_with_their_causes_below_them() -> None:
    """The largest first; a cause that is a group by itself has no second row."""
    text = operation_text("x", entry(lock_a_wait=100, lock_b_hold=200, walk=500), Style(unicode=False))
    assert text.splitlines() == [
        "x: 2 operations; latency mean 400 ns, p50 400 ns, p99 400 ns, max 400 ns",
        "cause          total-us  share%  per-op-ns",
        "walk               0.50    62.5      250.0  ###############",
        "lock               0.30    37.5      150.0  #########",
        "  lock:b:hold      0.20    25.0      100.0  ######",
        "  lock:a:wait      0.10    12.5       50.0  ###",
        "total              0.80   100.0      400.0",
        "the causes add up to the latencies of all operations",
    ]


def test_time_that_is_missing_is_said(vm_document: ResultDocument) -> None:
    """One ns too much in one cause is seen."""
    found = vm_document["operations"]["munmap"]
    found["by_cause_ns"]["syscall"] += 1
    assert "NOT ACCOUNTED FOR: the causes add up to" in operation_text("munmap", found)


def test_folded_stacks_have_a_frame_for_each_word_of_a_cause(vm_document: ResultDocument) -> None:
    """Weights are whole ns over all operations, and add up to them but for rounding."""
    causes = entry(**{"lock_mmap;lock_wait": 1000, "page free": 7.6, "walk": 0.4})
    assert folded_operation("munmap", causes) == "munmap;lock;mmap,lock;wait 1000\nmunmap;page_free 8\n"

    found = vm_document["operations"]["munmap"]
    weights = [int(line.split()[1]) for line in folded_operation("munmap", found).splitlines()]
    assert abs(sum(weights) - sum(found["by_cause_ns"].values())) < len(weights)


def test_operations_come_with_the_most_time_first_and_their_biggest_cause() -> None:
    """One row each."""
    lines = operations_table(
        {"a": entry(walk=10, syscall=30), "b": entry(zeroing=300, walk=100), "c": entry()}
    )
    assert lines.rows == (
        ("b", "2", "0.40", "200.0", "200.0", "200.0", "200.0", "75.0", "zeroing"),
        ("a", "2", "0.04", "20.0", "20.0", "20.0", "20.0", "75.0", "syscall"),
        ("c", "2", "0.00", "0.0", "0.0", "0.0", "0.0", "-", ""),
    )
