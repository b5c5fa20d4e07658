"""The summary at the end of a run."""

from coalsim.observe.document import ResultDocument
from coalsim.observe.summary import summary
from coalsim.observe.tables import Style


def test_the_first_lines_say_what_was_simulated_and_how_fast_it_was(document: ResultDocument) -> None:
    """Study, machine, profile, seed, time; then operations and latency, in all and by phase."""
    lines = summary(document).splitlines()

    assert lines[0] == (
        "coalsim 0.1.0 simulated: made_up on coal (8 CPUs), profile linux-6.18, "
        "seed 1, 2.3 s of simulated time"
    )
    assert lines[1] == (
        "all operations: 171204 ops, 74.43 k ops/s; "
        "latency mean 412.2 ns, p50 71.5 ns, p99 6.12 us, max 7.66 ms"
    )
    assert lines[2].startswith("alloc: 90102 ops")
    assert lines[3].startswith("free: latency mean")
    assert lines[4].startswith("warning: MADE UP")


def test_what_the_trace_leaves_open_is_shown(document: ResultDocument) -> None:
    """Unmatched, implied and lost events, in objects and in pages."""
    text = summary(document)

    assert "trace (perf script): 368618 events in 2.3 s\n" in text
    assert "1204 unmatched frees" in text
    assert "31 implied frees" in text
    assert "880 unmatched frees, 3 implied frees" in text
    assert "lost by the recording: 0 events" in text


def test_locks_come_with_the_most_waiting_first_and_unused_ones_not_at_all(document: ResultDocument) -> None:
    """One row a class, with the figures a kernel developer asks for."""
    lines = summary(document).splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("lock "))

    assert " ".join(lines[at].split()) == (
        "lock type acquired contended cont% wait-total-us line-total-us wait-avg-ns wait-max-ns "
        "hold-avg-ns hold-max-ns bounces"
    )
    assert [line.split()[0] for line in lines[at + 1 : at + 6]] == [
        "mmap_lock",
        "mmap_lock",
        "zone_lock",
        "depot:kmalloc-64",
        "slab:dentry",
    ]
    assert " ".join(lines[at + 3].split()) == (
        "zone_lock spinlock 48213 3120 6.5 7410.88 - 2375.3 44140.2 189.2 21650.0 31877"
    )
    assert lines[at + 6] == ""


def test_more_than_ten_locks_are_cut_and_counted(document: ResultDocument) -> None:
    """The reader is told where the rest is."""
    document["locks"] += [{**document["locks"][0], "name": f"lock{n}"} for n in range(20)]

    assert "15 more; see coalsim locks\n" in summary(document)


def test_a_run_of_locks_alone_has_no_empty_tables(document: ResultDocument) -> None:
    """Parts that the run does not have leave nothing behind."""
    del document["memory"], document["trace"], document["phases"], document["warnings"], document["cpu_nodes"]
    text = summary(document)

    assert "per-CPU" not in text
    assert "trace" not in text
    assert "by node" not in text
    assert "\n\n\n" not in text
    assert text.endswith("exactly\n")


def test_intervals_over_replications_are_shown(document: ResultDocument) -> None:
    """Mean, half width, half width in percent, runs; one run has no half width."""
    document["intervals"] = {
        "throughput.ops_per_s": {"mean": 1000.0, "half_width": 25.0, "count": 5, "confidence": 0.95},
        "latency_ns.mean": {"mean": 1000.0, "half_width": None, "count": 1, "confidence": 0.95},
    }
    lines = summary(document).splitlines()
    at = lines.index("means over replications, 95 % confidence intervals")

    assert lines[at + 2].split() == ["latency_ns.mean", "1000", "-", "-", "1"]
    assert lines[at + 3].split() == ["throughput.ops_per_s", "1000", "25", "2.5", "5"]


def test_the_summary_does_not_depend_on_the_host(document: ResultDocument) -> None:
    """The seconds that the simulation took are in the document, not in the summary."""
    before = summary(document)
    document["host_s"] = 1000.0

    assert summary(document) == before


def test_names_from_a_trace_are_harmless_and_an_ascii_terminal_gets_ascii(document: ResultDocument) -> None:
    """Escapes are cleaned, other characters become escapes that can be read."""
    document["study"] = "evil\x1b]0;title\x07study"
    document["locks"][0]["name"] = "zöne\x1b[31m"
    text = summary(document, Style(unicode=False))

    assert text.isascii()
    assert "\x1b" not in text
    assert "evilstudy on coal" in text
    assert "z\\xf6ne" in text


def test_the_latency_of_one_phase_is_not_printed_as_that_of_all_operations(document: ResultDocument) -> None:
    """It stands in the line of its phase only."""
    phase = next(iter(document["phases"].values()))
    document["latency_ns"] = phase["latency_ns"]
    line = summary(document).splitlines()[1]
    assert line.startswith("all operations: ")
    assert "latency" not in line


def test_a_lock_that_is_paid_for_at_its_cache_line_does_not_look_cheap(document: ResultDocument) -> None:
    """Nobody waits for a lock whose line is the bottleneck: whoever gets the line finds it free."""
    for causes in document["time"].values():
        causes["line:slab:dentry"] = 40_000_000_000
        causes["line:mmap_lock"] = 1_000_000
    lines = summary(document).splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("lock "))
    first, *rest = (line.split() for line in lines[at + 1 : at + 6])
    assert (first[0], first[6]) == ("slab:dentry", "320000.00"), "all 8 CPUs"
    assert [row[6] for row in rest if row[0] == "mmap_lock"] == ["8.00", "-"], "one word, two rows"
