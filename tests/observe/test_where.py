"""Time by cause: complete, grouped, and as folded stacks."""

from coalsim.observe.document import ResultDocument
from coalsim.observe.tables import Style
from coalsim.observe.where import (
    added,
    cause_table,
    folded,
    group_of,
    grouped,
    node_groups,
    time_faults,
    used_cpus,
    verdict,
    where_text,
)


def test_a_group_is_what_stands_before_the_first_colon() -> None:
    """`lock:depot:kmalloc-64:wait` belongs to `lock`; `idle` is its own group."""
    assert [group_of(cause) for cause in ("lock:depot:kmalloc-64:wait", "idle", "line:x")] == [
        "lock",
        "idle",
        "line",
    ]
    assert grouped({"lock:a:wait": 3, "idle": 4, "lock:a:hold": 2}) == {"lock": 5, "idle": 4}


def test_nothing_is_lost_in_the_table(document: ResultDocument) -> None:
    """Groups add up to the total: simulated time of the CPUs that had work; the others are counted."""
    used = used_cpus(document["time"])
    table = cause_table(document)
    groups = [row for row in table.rows[:-1] if not row[0].startswith(" ")]

    assert added(document["time"], [*document["time"]]).keys() == {
        cause for causes in document["time"].values() for cause in causes
    }
    assert table.rows[-1][:3] == ("total", f"{len(used) * document['sim_time_ps'] / 1e6:.3f}", "100.0")
    assert table.title == "time by cause, 7 CPUs together (1 more had no work)"
    assert abs(sum(float(row[1]) for row in groups) - float(table.rows[-1][1])) < 0.001 * len(groups)


def test_the_last_line_says_that_every_cpu_is_accounted_for(document: ResultDocument) -> None:
    """To the picosecond: one ps too few is seen and located."""
    assert verdict(document) == "each of the 8 CPUs adds up to the simulated 2300123456789 ps exactly"
    assert where_text(document).endswith(verdict(document) + "\n")

    document["time"]["3"]["idle"] -= 1

    assert time_faults(document) == ["CPU 3 adds up to 2300123456788 ps, -1 ps off"]
    assert verdict(document).startswith("NOT ACCOUNTED FOR: CPU 3")


def test_rows_are_nodes_or_cpus_and_cpus_stand_in_numerical_order(document: ResultDocument) -> None:
    """CPU 10 comes after CPU 9, though its key sorts before."""
    document["time"] = {str(cpu): {"idle": document["sim_time_ps"]} for cpu in (10, 9, 2)}
    document["cpu_nodes"] = [0] * 10 + [1]

    assert [(group.name, group.cpus) for group in node_groups(document)] == [
        ("node0", ("2", "9")),
        ("node1", ("10",)),
    ]
    rows = [line.split()[0] for line in where_text(document, per_cpu=True).splitlines()[2:6]]
    assert rows == ["cpu2", "cpu9", "cpu10", "total"]

    del document["cpu_nodes"]
    assert [group.name for group in node_groups(document)] == ["all"]


def test_many_groups_are_added_up_so_that_the_rows_stay_short(document: ResultDocument) -> None:
    """Eight groups have a column of their own, and each row still makes 100 %."""
    lines = where_text(document).splitlines()
    shares = [float(cell) for cell in lines[2].split()[3:]]

    assert lines[1].split()[:3] == ["cpus", "count", "busy%"]
    assert lines[1].split()[-1] == "other%"
    assert abs(sum(shares) - 100) < 0.5


def test_bars_are_ascii_where_there_is_no_unicode(document: ResultDocument) -> None:
    """A half is half the width, to an eighth of a cell."""
    assert Style().bar(0.5, 4) == "██"
    assert Style().bar(0.3, 4) == "█▎"
    assert Style(unicode=False).bar(0.5, 4) == "##"
    assert where_text(document, Style(unicode=False)).isascii()


def test_folded_stacks_are_a_cpu_the_words_of_a_cause_and_whole_ns(document: ResultDocument) -> None:
    """The weights add up to the simulated time but for rounding; names hold neither blank nor semicolon."""
    document["time"]["0"]["lock:a b;c:wait"] = 5_400
    lines = folded(document).splitlines()

    assert "cpu0;lock;a_b,c;wait 5" in lines
    assert all(line.count(" ") == 1 for line in lines)
    assert any(line.startswith("cpu0;idle ") for line in lines)
    weights = sum(int(line.split()[1]) for line in lines if line.startswith("cpu1;"))
    assert abs(weights - document["sim_time_ps"] / 1000) < len(document["time"]["1"])
