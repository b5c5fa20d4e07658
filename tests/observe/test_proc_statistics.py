"""zoneinfo, vmstat, meminfo and pagetypeinfo line by line, and read back as a kernel's would be; charts."""

import pytest
from click.testing import CliRunner

from coalsim.api import run
from coalsim.cli.mem import mem
from coalsim.errors import ConfigError
from coalsim.observe.document import ResultDocument, dump
from coalsim.observe.memory_document import BuddyRow, Memory, ZoneInfoRow
from coalsim.observe.memory_report import memory_part, memory_text
from coalsim.observe.proc_pagetypeinfo import pagetypeinfo
from coalsim.observe.proc_vmstat import available, meminfo, vmstat
from coalsim.observe.proc_zoneinfo import zoneinfo
from coalsim.observe.series import rates_of, series_text, sparkline
from coalsim.observe.series_check import series_faults
from coalsim.observe.series_document import SeriesEntry
from coalsim.observe.tables import Style
from coalsim.workloads.trace.procfs import (
    Damage,
    Lines,
    PageSet,
    parse_pagetypeinfo,
    parse_vmstat,
    parse_zoneinfo,
)

NORMAL: ZoneInfoRow = {
    "node": 0,
    "zone": "Normal",
    "start_pfn": 4096,
    "spanned": 851968,
    "free": 301182,
    "min": 8838,
    "low": 11047,
    "high": 13256,
    "promo": 15465,
    "protection": [0, 0, 32],
    "counters": {"numa_hit": 37005091, "nr_free_pages_blocks": 49664, "nr_free_pages": 301182},
    "pagesets": [{"cpu": 3, "count": 14, "high": 4171, "batch": 63, "high_min": 4171, "high_max": 48307}],
    "node_unreclaimable": 0,
}


def lines_of(text: str) -> Lines:
    """Numbered lines, as the parsers of recorded systems want them."""
    return list(enumerate(text.splitlines(), 1))


def test_zoneinfo_is_the_kernels_text_line_by_line() -> None:
    """Blanks and colons as a 6.18 kernel prints them."""
    text = zoneinfo([NORMAL], [{"node": 0, "counters": {"nr_page_table_pages": 675, "nr_mapped": 5199}}])

    assert text.splitlines() == [
        "Node 0, zone   Normal",
        "  per-node stats",
        "      nr_mapped    5199",
        "      nr_page_table_pages 675",
        "  pages free     301182",
        "        min      8838",
        "        low      11047",
        "        high     13256",
        "        promo    15465",
        "        spanned  851968",
        "        present  851968",
        "        managed  851968",
        "        protection: (0, 0, 32)",
        "      nr_free_pages 301182",
        "      nr_free_pages_blocks 49664",
        "      numa_hit     37005091",
        "  pagesets",
        "    cpu: 3",
        "              count:    14",
        "              high:     4171",
        "              batch:    63",
        "              high_min: 4171",
        "              high_max: 48307",
        "  node_unreclaimable:  0",
        "  start_pfn:           4096",
    ]


def test_zoneinfo_is_read_back_as_a_recorded_systems() -> None:
    """Sizes, marks and page lists; nothing in it is damage."""
    damage: list[Damage] = []
    (zone,) = parse_zoneinfo(lines_of(zoneinfo([NORMAL])), damage)

    assert not damage
    assert (zone.node, zone.name, zone.start_pfn, zone.managed, zone.free) == (
        0,
        "Normal",
        4096,
        851968,
        301182,
    )
    assert (zone.min, zone.low, zone.high, zone.promo) == (8838, 11047, 13256, 15465)
    assert zone.pagesets == (PageSet(3, 14, 4171, 63, 4171, 48307),)


def test_what_a_node_has_is_said_once() -> None:
    """With its first zone."""
    second: ZoneInfoRow = {**NORMAL, "zone": "High"}
    text = zoneinfo([NORMAL, second], [{"node": 0, "counters": {"nr_mapped": 1}}])

    assert text.count("per-node stats") == 1
    assert text.index("per-node stats") < text.index("High")


def test_vmstat_is_in_the_kernels_order_and_read_back() -> None:
    """Name and value; a name that the kernel does not have comes last."""
    counters = {"pgfree": 7, "of_ours": 1, "nr_free_pages": 1211651, "pgalloc_normal": 9, "numa_hit": 2.0}
    text = vmstat(counters)

    assert [line.split()[0] for line in text.splitlines()] == [
        *("nr_free_pages", "numa_hit", "pgalloc_normal", "pgfree", "of_ours"),
    ]
    damage: list[Damage] = []
    assert parse_vmstat(lines_of(text), damage) == counters
    assert not damage


def test_meminfo_has_the_kernels_columns() -> None:
    """16 characters of name, 8 of kB; available is what is free above the marks, and half of the files."""
    memory: Memory = {
        "bytes": {
            "total": 4 << 30,
            "free": 301182 << 12,
            "used": 0,
            "percpu": 0,
            "reserved": 0,
            "slab": 8192,
        },
        "zoneinfo": [NORMAL],
        "vmstat": {"nr_free_pages": 301182, "nr_active_file": 1000, "nr_file_pages": 1500, "nr_dirty": 3},
    }

    assert meminfo(memory).splitlines() == [
        "MemTotal:        4194304 kB",
        "MemFree:         1204728 kB",
        "MemAvailable:    1153576 kB",
        "Cached:             6000 kB",
        "Active(file):       4000 kB",
        "Inactive(file):        0 kB",
        "Dirty:                12 kB",
        "Writeback:             0 kB",
        "AnonPages:             0 kB",
        "Mapped:                0 kB",
        "Slab:                  8 kB",
        "SUnreclaim:            8 kB",
        "PageTables:            0 kB",
    ]
    assert available([NORMAL], memory["vmstat"]) == 301182 - 13256 - 32 + 500
    assert available([NORMAL], {"nr_free_pages": 5}) == 0


def test_pagetypeinfo_is_the_kernels_but_for_the_types() -> None:
    """One type; titles stand where a 6.18 kernel has them, and counts are cut where it cuts them."""
    row: BuddyRow = {"node": 0, "zone": "Normal", "free_blocks": [815, 99_999, 100_000, 1_234_567]}
    text = pagetypeinfo([row], [NORMAL])

    assert text.splitlines() == [
        "Page block order: 9",
        "Pages per block:  512",
        "",
        "Free pages count per migrate type at order       0      1      2      3 ",
        "Node    0, zone   Normal, type          Any    815  99999 >100000 >100000 ",
        "",
        "Number of blocks type           Any ",
        "Node 0, zone   Normal         1664 ",
    ]
    damage: list[Damage] = []
    assert parse_pagetypeinfo(lines_of(text), damage) == {
        (0, "Normal"): {"Any": (815, 99_999, 100_000, 100_000)}
    }
    assert not damage


# -- over time


def series_of(*free: int) -> SeriesEntry:
    """Samples of one zone, 10 us apart, with as many pages freed as are free."""
    return {
        "period_ns": 10_000,
        "time_ns": [10_000 * at for at in range(len(free))],
        "zones": [
            {
                "node": 0,
                "zone": "Normal",
                "min": 1,
                "low": 2,
                "high": 3,
                "free_pages": [*free],
                "unusable": {"10": [0] * len(free), "4": [250] * len(free)},
                "extfrag": {"4": [-1000] * len(free)},
                "bytes": {"free": [pages * 4096 for pages in free], "user": [0] * len(free)},
            }
        ],
        "bytes": {"free": [pages * 4096 for pages in free], "user": [0] * len(free)},
        "counters": {"pgfree": [*free], "oom_kill": [0] * len(free)},
    }


def test_rates_are_per_second() -> None:
    """5 pages in 10 us are 500,000 a second."""
    assert rates_of(series_of(0, 5, 5)) == {"pgfree": [0, 500_000, 0], "oom_kill": [0, 0, 0]}


def test_tables_over_time_leave_out_what_is_always_0() -> None:
    """A line for each sample, orders in their order, and a course for what changes."""
    machine, zone, rates, courses = series_text(series_of(0, 5, 10)).split("\n\n")

    assert [line.split() for line in machine.splitlines()[1:]] == [
        *(["time-us", "free"], ["0.000", "0"], ["10.000", "20480"], ["20.000", "40960"]),
    ]
    assert zone.splitlines()[1].split() == ["time-us", "free-pages", "unusable-4", "unusable-10", "extfrag-4"]
    assert "marks: min 1, low 2, high 3" in zone.splitlines()[0]
    assert [line.split()[-1] for line in rates.splitlines()[1:]] == ["pgfree", "0", "500000", "500000"]
    assert [line.split()[:2] for line in courses.splitlines()[2:]] == [
        *(["machine", "free"], ["node-0/zone-Normal", "free-pages"], ["machine", "pgfree"]),
    ]


def test_a_course_goes_from_the_least_to_the_greatest() -> None:
    """One character for each value, fewer where there are too many; digits where there is no Unicode."""
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([7, 7, 7]) == "▁▁▁"
    assert sparkline([]) == ""
    assert sparkline([0, 10, 70], Style(unicode=False)) == "017"
    assert sparkline([0, 0, 6, 8], width=2) == "▁█"
    assert len(sparkline(list(range(1000)))) == 60


# -- the command


@pytest.fixture(scope="module")
def sampled() -> ResultDocument:
    """A small run with processes and samples."""
    settings = {"workload.cpus": 3, "workload.pages": 4, "run.warmup": "0", "run.duration": "60us"}
    return run(
        "munmap_shared", {**settings, "run.samples": "20us", "run.allocations": "on"}, machine="ivb-laptop"
    )


def test_the_long_sections_are_printed_when_asked_for(sampled: ResultDocument) -> None:
    """Each with its layout's name; the overview does not have them."""
    overview = memory_text(sampled)
    for layout in ("meminfo", "vmstat", "zoneinfo", "pagetypeinfo"):
        text = memory_text(sampled, [layout])
        assert text.startswith("# coalsim ")
        assert layout in text.splitlines()[0]
        assert text not in overview
    assert "memory over time" in memory_text(sampled, ["series"])
    assert "blocks in somebody's hands" in memory_text(sampled, ["allocations"])
    assert "over time" not in overview


def test_json_has_the_parts_that_a_section_is_made_of(sampled: ResultDocument) -> None:
    """The series with its rates."""
    assert [*memory_part(sampled, ["zoneinfo"])] == ["zoneinfo", "node_counters"]
    assert [*memory_part(sampled, ["meminfo"])] == ["bytes", "vmstat", "zoneinfo"]
    series = memory_part(sampled, ["series"])["series"]
    assert isinstance(series, dict)
    assert series["rates"].keys() == series["counters"].keys()
    assert "series" not in memory_part(sampled)


def test_the_counters_of_a_real_run_fit_each_other(sampled: ResultDocument) -> None:
    """Frames of the zones are the machine's, and counters are those of the other parts."""
    memory = sampled["memory"]
    counters = memory["vmstat"]

    assert counters["nr_free_pages"] * 4096 == memory["bytes"]["free"]
    assert counters["nr_page_table_pages"] * 4096 == memory["bytes"]["page_tables"]
    assert counters["pgfault"] == sampled["vm"]["faults"]["faults"] > 0
    assert counters["nr_tlb_remote_flush"] == sampled["vm"]["shootdowns"]["remote"] > 0
    assert counters["numa_hit"] == sum(row["numa_hit"] for row in memory["numa"])
    assert sampled["series"]["counters"]["pgfault"][-1] == counters["pgfault"]


def test_a_run_without_samples_says_how_to_get_them(small_run: ResultDocument) -> None:
    """A section that only such runs have, asked for by name."""
    with pytest.raises(ConfigError, match=r"run.samples=1ms"):
        memory_text(small_run, ["series"])
    with pytest.raises(ConfigError, match=r"run.allocations=on"):
        memory_part(small_run, ["allocations"])


def test_means_send_to_the_runs_that_have_series(sampled: ResultDocument) -> None:
    """Each replication has its own."""
    means: ResultDocument = {**sampled, "runs": [sampled, sampled]}
    del means["series"]

    with pytest.raises(ConfigError, match="choose one with --run"):
        memory_text(means, ["series"])


def test_the_command_prints_each_of_them(
    sampled: ResultDocument, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """From a stored result, as text and as JSON."""
    file = tmp_path_factory.mktemp("mem") / "result.json"
    file.write_text(dump(sampled), encoding="utf-8")

    for section in ("meminfo", "vmstat", "zoneinfo", "pagetypeinfo", "series", "allocations"):
        for form in ((), ("--json",)):
            done = CliRunner().invoke(mem, [str(file), f"--{section}", *form])
            assert done.exit_code == 0, done.output
            assert done.output.strip()


def test_a_series_that_cannot_be_is_refused_with_every_place() -> None:
    """Lists of another length, times that go back, orders that are none."""
    series = series_of(0, 5, 10)
    assert not [*series_faults(series)]
    assert [fault.message for fault in series_faults(series_of())] == ["no samples"]

    series["time_ns"][2] = 1
    series["bytes"]["free"].pop()
    series["zones"][0]["unusable"]["none"] = [1]
    assert [(fault.key, fault.message) for fault in series_faults(series)] == [
        ("time_ns", "the times do not ascend"),
        ("bytes.free", "2 values for 3 samples"),
        ("zones[0].unusable.none", "1 values for 3 samples"),
        ("zones[0]", "'none' is no order"),
    ]


def test_a_damaged_series_is_refused(
    sampled: ResultDocument, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """By the shape that the document promises."""
    from coalsim.cli.resultfile import load_result

    file = tmp_path_factory.mktemp("mem") / "result.json"
    file.write_text(dump(sampled).replace('"free_pages": [', '"free_pages": [\n"many",', 1), encoding="utf-8")

    with pytest.raises(ConfigError, match="should be"):
        load_result(file)
