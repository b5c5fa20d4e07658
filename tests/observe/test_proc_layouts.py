"""Allocator state in the layouts of /proc, and the kernel's fragmentation indices."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coalsim.errors import ConfigError
from coalsim.observe import fragmentation
from coalsim.observe.document import ResultDocument
from coalsim.observe.memory_document import BuddyRow
from coalsim.observe.memory_report import memory_part, memory_text
from coalsim.observe.proc import buddyinfo, extfrag_index, slabinfo, unusable_index


def test_buddyinfo_is_the_text_of_a_real_machine(document: ResultDocument) -> None:
    """The same free blocks print as a 6.18 kernel printed them, trailing blank included."""
    lines = buddyinfo(document["memory"]["buddyinfo"]).splitlines()

    assert lines[:3] == [
        "Node 0, zone      DMA      0      0      0      0      0      0      0      0      1      1      3 ",
        "Node 0, zone    DMA32      1      2      4      2      5      4      3      3      4      2    752 ",
        "Node 0, zone   Normal   1681   3410   2967   1355   2872   2142    927    326    219    112     73 ",
    ]


def test_buddyinfo_has_one_column_more_than_the_maximum_order() -> None:
    """A machine of 16 MiB blocks (order 12) has thirteen."""
    zone: BuddyRow = {"node": 3, "zone": "Normal", "free_blocks": [*[0] * 12, 256]}

    text = buddyinfo([zone])

    assert text.split()[4:] == ["0"] * 12 + ["256"]


def test_slabinfo_is_version_2_1(document: ResultDocument) -> None:
    """Head and rows as a 6.18 kernel prints them, long names included."""
    lines = slabinfo(document["memory"]["slabinfo"]).splitlines()

    assert lines[0] == "slabinfo - version: 2.1"
    assert lines[1] == (
        "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> "
        ": tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>"
    )
    assert lines[2] == (
        "kmalloc-64         40112  40960     64   64    1 "
        ": tunables   30   30    0 : slabdata    640    640      0"
    )
    assert lines[3] == (
        "btrfs_ordered_extent      0      0    416   19    2 "
        ": tunables    0    0    0 : slabdata      0      0      0"
    )


def test_the_extfrag_indices_print_as_in_debugfs(document: ResultDocument) -> None:
    """Thousandths with a sign; -1.000 where the request would be served."""
    rows = document["memory"]["buddyinfo"][3:]

    assert unusable_index(rows) == "Node 1, zone   Normal 0.000 " + "1.000 " * 10 + "\n"
    assert extfrag_index(rows).startswith("Node 1, zone   Normal -1.000  0.417  0.667  0.792 ")


block_counts = st.one_of(st.just(0), st.just(0), st.integers(0, 3), st.integers(0, 5000))


@given(st.lists(block_counts, min_size=1, max_size=14), st.data())
def test_the_indices_stay_in_their_range_and_agree(blocks: list[int], data: st.DataObject) -> None:
    """A request fails exactly when no free memory is usable for it.

    The kernel's index falls below 0, to -0.500 at worst, where a single block is left.
    """
    order = data.draw(st.integers(0, len(blocks) - 1))
    unusable, index = fragmentation.unusable(blocks, order), fragmentation.index(blocks, order)

    assert 0 <= unusable <= 1000
    assert index == -1000 or -500 <= index <= 1000
    assert (unusable == 1000) == (index != -1000)
    assert fragmentation.unusable(blocks, 0) == (0 if any(blocks) else 1000)


def test_want_of_memory_and_fragmentation_are_told_apart() -> None:
    """Order 4: one free page, fifteen of sixteen, and 4,000 single pages, enough but scattered."""
    assert fragmentation.index([1, 0, 0, 0, 0], 4) == -62
    assert fragmentation.index([15, 0, 0, 0, 0], 4) == 871
    assert fragmentation.index([4000, 0, 0, 0, 0], 4) == 938


def test_all_sections_of_the_report_are_there_in_their_order(document: ResultDocument) -> None:
    """Foreign layouts begin with the line that says simulated."""
    text = memory_text(document)
    marks = [
        "memory, 8 GiB in all",
        "per-CPU page lists",
        "per-CPU magazines of each cache",
        "pages by placement",
        "remote frees",
        "internal fragmentation",
        "# coalsim 0.1.0 simulated, extfrag/unusable_index layout",
        "# coalsim 0.1.0 simulated, extfrag/extfrag_index layout",
        "# coalsim 0.1.0 simulated, buddyinfo layout",
        "# coalsim 0.1.0 simulated, slabinfo layout",
    ]

    assert sorted(marks, key=text.index) == marks


def test_hit_rates_and_depot_traffic_are_percentages_and_counts(document: ResultDocument) -> None:
    """86,900 hits of 90,102 allocations are 96.4 %."""
    row = next(line for line in memory_text(document, ["magazines"]).splitlines() if "kmalloc-64" in line)

    assert " ".join(row.split()) == "kmalloc-64 30 90102 96.4 81102 97.2 2800 2302 402 0 410 1"


@pytest.mark.parametrize(
    ("layer", "what", "heads", "cells"),
    [
        (
            "sheaves",
            "per-CPU sheaves",
            "cache capacity allocs hit% frees hit% barn-allocs barn-frees slab-allocs slab-frees contended",
            "kmalloc-64 30 90102 96.4 81102 97.2 2800 2302 402 0 410",
        ),
        (
            "slub",
            "per-CPU freelists",
            "cache allocs hit% frees hit% slab-allocs slab-frees node-allocs node-frees",
            "kmalloc-64 90102 96.4 81102 97.2 2800 2302 402 0",
        ),
    ],
)
def test_per_cpu_objects_are_told_in_the_words_of_their_layer(
    document: ResultDocument, layer: str, what: str, heads: str, cells: str
) -> None:
    """SLUB has no depot, no rounds and no resizes; sheaves have a barn and keep their size."""
    document["memory"]["layer"] = layer
    title, head, *rows = memory_text(document, ["magazines"]).splitlines()

    assert title.startswith(f"{what} of each cache")
    assert " ".join(head.split()) == heads
    assert [" ".join(row.split()) for row in rows if "kmalloc-64" in row] == [cells]


def test_numa_counters_have_the_names_of_vmstat_in_all_and_by_node(document: ResultDocument) -> None:
    """Rows can be grepped by the kernel's names."""
    rows = [line.split() for line in memory_text(document, ["numa"]).splitlines()[1:]]

    assert rows[0] == ["counter", "total", "node0", "node1"]
    assert rows[1] == ["numa_hit", "80999", "60900", "20099"]
    assert [row[0] for row in rows[2:]] == [
        "numa_miss",
        "numa_foreign",
        "numa_interleave",
        "numa_local",
        "numa_other",
    ]


def test_a_section_that_the_result_lacks_is_named_with_those_it_has(document: ResultDocument) -> None:
    """Under SLUB there are no magazines; asking for them is a mistake, not an empty page."""
    del document["memory"]["magazines"], document["memory"]["remote_frees"]

    with pytest.raises(ConfigError) as refused:
        memory_text(document, ["magazines", "remote_frees"])
    assert [problem.key for problem in refused.value.problems] == ["--magazines", "--remote-frees"]
    assert "pagelists" in refused.value.problems[0].remedy
    assert "magazines" not in memory_part(document)

    del document["memory"]
    with pytest.raises(ConfigError, match="nothing about memory"):
        memory_text(document)
