"""The layout of `perf lock contention`, to the blank."""

import pytest

from coalsim.errors import ConfigError
from coalsim.observe.document import ResultDocument
from coalsim.observe.perf_lock import Options, perf_lock, perf_lock_json, scaled

BANNER = "# coalsim 0.1.0 simulated, perf-lock-contention layout"


def test_the_table_is_the_one_that_perf_prints(document: ResultDocument) -> None:
    """Header and rows as perf 6.1 printed them on a 6.18 kernel for the same numbers."""
    lines = perf_lock(document, Options()).splitlines()

    assert lines[:6] == [
        BANNER,
        " contended   total wait     max wait     avg wait         type   caller",
        "",
        "        49     66.96 ms      9.15 ms      1.37 ms      rwsem:W   __x64_sys_munmap",
        "        34     45.28 ms      7.48 ms      1.33 ms      rwsem:W   do_mmap",
        "        40     30.76 ms      7.66 ms    768.89 us      rwsem:R   exc_page_fault",
    ]


@pytest.mark.parametrize(
    ("time", "cell"),
    [
        (0, "        0 ns"),
        (999, "      999 ns"),
        (1000, "     1.00 us"),
        (66_960_000, "    66.96 ms"),
        (59_999_999_999, "    60.00 s "),
        (90_000_000_000, "     1.50 m "),
        (5_400_000_000_000, "     1.50 h "),
    ],
)
def test_times_are_scaled_as_perf_scales_them(time: int, cell: str) -> None:
    """Two decimals of the largest unit that fits; ns stay whole."""
    assert scaled(time, 12) == cell


def test_by_thread_the_last_columns_are_pid_and_comm(document: ResultDocument) -> None:
    """The CPU stands for the pid; a CPU that never waited is left out."""
    lines = perf_lock(document, Options(view="thread", key="wait_max", entries=2)).splitlines()

    assert lines[1] == " contended   total wait     max wait     avg wait          pid   comm"
    assert lines[3:] == [
        "       426     19.87 ms      7.66 ms     46.63 us            6   kworker/0:1 H",
        "       425     19.55 ms      7.66 ms     46.01 us            5   cc1",
    ]
    assert "swapper" not in perf_lock(document, Options(view="thread"))


def test_by_address_the_last_columns_are_address_and_symbol(document: ResultDocument) -> None:
    """Sixteen places for the address, the type in brackets behind the symbol."""
    lines = perf_lock(document, Options(view="address")).splitlines()

    assert lines[1] == " contended   total wait     max wait     avg wait            address   symbol"
    assert lines[3].endswith("   ffff888627c2ba40   zone_lock/0:Normal (spinlock)")


def test_fields_come_in_the_order_asked_for_and_rows_by_the_key(document: ResultDocument) -> None:
    """-F chooses and orders columns, -k sorts, -E cuts."""
    options = Options(fields=("wait_min", "contended"), key="contended", entries=2)

    assert perf_lock(document, options).splitlines() == [
        BANNER,
        "    min wait  contended         type   caller",
        "",
        "       12 ns       2011     spinlock   rmqueue_bulk",
        "       14 ns        987     spinlock   free_pcppages_bulk",
    ]


def test_the_csv_form_has_whole_ns_between_two_comment_lines(document: ResultDocument) -> None:
    """One unit in the whole table, so that it can be added up."""
    lines = perf_lock(document, Options(separator=",", entries=2)).splitlines()

    assert lines == [
        BANNER,
        "# output: contended, total wait, max wait, avg wait, type, caller",
        "49, 66960000, 9150040, 1366531, rwsem:W, __x64_sys_munmap",
        "34, 45280000, 7480000, 1331765, rwsem:W, do_mmap",
        "# debug: total=83, bad=0",
    ]
    by_address = perf_lock(document, Options(view="address", separator=";", entries=1)).splitlines()
    assert by_address[1].endswith("; address; symbol; type")
    assert by_address[2] == "3010; 7400000; 44140; 2458; ffff888627c2ba40; zone_lock/0:Normal; spinlock"


def test_every_wrong_option_is_named_at_once() -> None:
    """One line for each mistake, with what would be right."""
    with pytest.raises(ConfigError) as refused:
        Options(key="waits", fields=("contended", "type"), entries=0, separator="\x1b")

    assert [problem.key for problem in refused.value.problems] == ["-k", "-F", "-E", "-x"]
    assert "wait_total" in refused.value.problems[0].remedy


def test_a_view_that_the_result_was_not_recorded_for_is_refused(document: ResultDocument) -> None:
    """An empty table would look as if nobody had waited."""
    del document["lock_waits_by_cpu"], document["lock_instances"]

    with pytest.raises(ConfigError, match="-t: no lock_waits_by_cpu in this result"):
        perf_lock(document, Options(view="thread"))
    with pytest.raises(ConfigError, match="-l: no lock_instances in this result"):
        perf_lock_json(document, Options(view="address"))


def test_the_json_rows_are_sorted_and_cut_like_the_table(document: ResultDocument) -> None:
    """By caller they are the lock classes with every column."""
    classes = perf_lock_json(document, Options(key="contended", entries=2))["locks"]
    threads = perf_lock_json(document, Options(view="thread", entries=1))["lock_waits_by_cpu"]
    single = perf_lock_json(document, Options(view="address", key="wait_min", entries=1))["lock_instances"]

    assert isinstance(classes, list)
    assert isinstance(threads, list)
    assert isinstance(single, list)
    assert [row["name"] for row in classes] == ["zone_lock", "depot:kmalloc-64"]
    assert [row["cpu"] for row in threads] == [6]
    assert [row["symbol"] for row in single] == ["zone_lock/1:Normal"]


def test_escapes_in_names_do_not_reach_the_terminal(document: ResultDocument) -> None:
    """A command name from a trace cannot move the cursor."""
    document["lock_waits_by_cpu"][0]["name"] = "cc1\x1b[2J\nfake"

    assert "\x1b" not in perf_lock(document, Options(view="thread"))
    assert "   cc1 fake\n" in perf_lock(document, Options(view="thread"))
