"""Arbitrary and mutated text never does more than raise InputError."""

import contextlib
import tempfile

from hypothesis import example, given, settings
from hypothesis import strategies as st
from trace_oracle import FTRACE, FTRACE_LINE, PERF, PERF_LINE, lines_of

from coalsim.errors import InputError
from coalsim.workloads.trace.ftrace import FtraceText
from coalsim.workloads.trace.lifetimes import Lifetimes
from coalsim.workloads.trace.perf import PerfText
from coalsim.workloads.trace.reader import open_trace
from coalsim.workloads.trace.records import MAX_ORDER, Kind, Record
from coalsim.workloads.trace.scanner import Scanner, TextFormat, read_header
from coalsim.workloads.trace.tally import TraceTally

PERF_LINES = lines_of(PERF)[:400]
FTRACE_LINES = [line for line in lines_of(FTRACE) if line[0] != "#"][:400]
ODD = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [" [", "] ", ": ", "-", "=", " ptr=", "\x1b[2J", "(nil)", "0x", "-1", "\t", "9" * 40, "_1"]
    ),
)


@st.composite
def mutated(draw: st.DrawFn, lines: list[str]) -> str:
    """A real line in which pieces were replaced."""
    line = draw(st.sampled_from(lines))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(line)))
        end = draw(st.integers(start, min(len(line), start + 8)))
        line = line[:start] + draw(ODD) + line[end:]
    return line.replace("\n", " ")


def scan(form: TextFormat, lines: list[str]) -> tuple[list[Record], TraceTally]:
    tally = TraceTally("fuzz")
    return list(Scanner(form, tally).records(enumerate(lines, 1))), tally


def check_that_all_stays_in_range(form: TextFormat, text: list[str]) -> None:
    """Records hold what they promise, every line is accounted for, and the bookkeeping survives."""
    records, tally = scan(form, text)
    assert tally.lines_of_events + tally.skipped + tally.unparsed == len(text)
    lifetimes, latest = Lifetimes(), 0
    for record in records:
        assert record.time >= latest
        assert 0 <= record.key < 1 << 64
        assert 0 <= record.size < (1 << 48 if record.kind < Kind.PAGE_ALLOC else MAX_ORDER + 1)
        assert (record.comm + record.name + record.site).isprintable()
        latest = record.time
        lifetimes.add(record)
        lifetimes.validate()
    assert all(shown.text.isprintable() for shown in tally.examples)


@given(st.lists(mutated(PERF_LINES), max_size=12))
def test_mutated_lines_of_perf_stay_in_range(text: list[str]) -> None:
    """Numbers, order of time, and printable names, whatever was done to the lines."""
    check_that_all_stays_in_range(PerfText(), text)


@given(st.lists(mutated(FTRACE_LINES), max_size=12))
def test_mutated_lines_of_ftrace_stay_in_range(text: list[str]) -> None:
    """As for perf."""
    check_that_all_stays_in_range(FtraceText(), text)


def check_that_both_ways_agree(form: TextFormat, before: list[str], line: str) -> None:
    """A line read after others, from what was learnt of them, says what it says when read with all checks."""
    first, _ = scan(form, before[:1])
    careful, alone = scan(form, [before[0], line])
    earlier, _ = scan(form, before)
    learnt, tally = scan(form, [*before, line])
    assert [r[1:] for r in learnt[len(earlier) :]] == [r[1:] for r in careful[len(first) :]]
    assert (tally.unparsed, tally.unreadable) == (alone.unparsed, alone.unreadable)
    assert (read_header(form, line) is None) == (alone.lines_of_events == 1)


@given(mutated(PERF_LINES))
def test_the_fast_way_reads_perf_like_the_careful_way(line: str) -> None:
    """What was learnt from earlier lines changes no later one."""
    check_that_both_ways_agree(PerfText(), PERF_LINES, line)


@given(mutated(FTRACE_LINES))
def test_the_fast_way_reads_ftrace_like_the_careful_way(line: str) -> None:
    """As for perf."""
    check_that_both_ways_agree(FtraceText(), FTRACE_LINES, line)


@given(mutated(PERF_LINES), mutated(FTRACE_LINES))
def test_an_event_is_what_the_documented_pattern_matches(perf: str, ftrace: str) -> None:
    """On lines of plain characters, on which `\\s` and white space mean the same."""
    for form, line, pattern in ((PerfText(), perf, PERF_LINE), (FtraceText(), ftrace, FTRACE_LINE)):
        header, found = read_header(form, line), pattern.match(line)
        if header and line.isascii() and line.isprintable():
            assert found
            assert int(found["cpu"]) == int(header.columns["cpu"])


@given(
    st.one_of(
        st.binary(max_size=300),
        st.lists(mutated(PERF_LINES + FTRACE_LINES), max_size=6).map(lambda ls: "\n".join(ls).encode()),
        st.lists(mutated(PERF_LINES), max_size=6).map(lambda ls: "\n".join(ls).encode("utf-16")),
    )
)
@example(b"\x1f\x8b")
@example(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff")
@example(b"\xff" * 100)
@example(b"\n" * 100)
@example((" " * 60_000 + "[").encode())
@example(("a " * 30_000 + "[0] 1.000000: kmem:kfree: ptr=0x1").encode())
@example(("1" * 60_000 + "-" * 5_000).encode())
@settings(deadline=10_000)
def test_any_file_is_read_or_refused(content: bytes) -> None:
    """Nothing but InputError, in bounded time."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        with contextlib.suppress(InputError):
            list(open_trace(file.name))
