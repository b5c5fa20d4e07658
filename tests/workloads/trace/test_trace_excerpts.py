"""A real recording, in both formats, against a plain count of the same text."""

import re
from dataclasses import asdict
from pathlib import Path

import pytest
from trace_oracle import (
    FTRACE,
    FTRACE_LINE,
    PERF,
    PERF_LINE,
    bare_counts,
    lines_of,
    objects_and_pages,
)

from coalsim.units import SEC, US
from coalsim.workloads.trace.lifetimes import Lifetimes
from coalsim.workloads.trace.reader import TraceReader, open_trace
from coalsim.workloads.trace.records import Kind, Record


def read(path: Path) -> tuple[TraceReader, list[Record]]:
    reader = open_trace(path)
    return reader, list(reader)


@pytest.mark.parametrize(("path", "pattern"), [(PERF, PERF_LINE), (FTRACE, FTRACE_LINE)])
def test_every_event_is_counted_once_under_the_name_perf_gives_it(
    path: Path, pattern: re.Pattern[str]
) -> None:
    """Counts by type equal those of a regular expression over the text, in each format."""
    reader, _ = read(path)
    expected = bare_counts(lines_of(path), pattern)
    assert {name.partition(":")[2]: count for name, count in reader.tally.events.items()} == expected
    assert expected.total() == reader.tally.lines_of_events == 6341
    assert reader.tally.events["syscalls:sys_mmap"] == 48


@pytest.mark.parametrize("path", [PERF, FTRACE])
def test_every_line_is_accounted_for(path: Path) -> None:
    """A line is an event, known noise, or unparsed; the real recording has none of the last."""
    reader, _ = read(path)
    tally = reader.tally
    assert tally.lines == len(lines_of(path)) == tally.lines_of_events + tally.skipped
    assert (tally.unparsed, tally.unreadable, tally.out_of_order, tally.lost_events) == (0, 0, 0, 0)
    assert tally.examples == []


@pytest.mark.parametrize("path", [PERF, FTRACE])
def test_lifetimes_equal_a_plain_count(path: Path) -> None:
    """Live, unmatched and implied counts equal those of a few lines of regular expressions."""
    lifetimes = Lifetimes()
    for record in open_trace(path):
        lifetimes.add(record)
    counts = asdict(lifetimes.statistics())
    expected = objects_and_pages(lines_of(path))
    assert {name: counts[name] for name in expected} == expected


@pytest.mark.parametrize(("path", "pattern"), [(PERF, PERF_LINE), (FTRACE, FTRACE_LINE)])
def test_the_fast_reading_agrees_with_the_pattern_on_every_line(path: Path, pattern: re.Pattern[str]) -> None:
    """Stamp, CPU, thread and command of each record are those that the documented pattern finds."""
    _, records = read(path)
    matches = [m for line in lines_of(path) if (m := pattern.match(line))]
    stamp = [int(m["s"]) * SEC + int(m["frac"].ljust(12, "0")) for m in matches]
    kinds = ("kmalloc", "kfree", "kmem_cache_alloc", "kmem_cache_free", "mm_page_")
    expected = [
        (when - stamp[0], int(m["cpu"]), int(m["pid"]), m["comm"])
        for when, m in zip(stamp, matches, strict=True)
        if m["ev"].removeprefix("kmem:").startswith(kinds)
    ]
    assert [(r.time, r.cpu, r.tid, r.comm) for r in records] == expected


def test_both_formats_tell_the_same_story() -> None:
    """Per CPU, the two texts of one run hold the same records.

    Only stamps differ, by the time the recorders take themselves, and names of commands: ftrace
    prints the last one that a thread had, perf the one at the time.
    """
    perf, from_perf = read(PERF)
    ftrace, from_ftrace = read(FTRACE)
    assert (perf.format, ftrace.format) == ("perf", "ftrace")
    assert perf.tally.events == ftrace.tally.events
    assert perf.tally.cpus == ftrace.tally.cpus
    for cpu in (0, 1):
        one = [r for r in from_perf if r.cpu == cpu]
        other = [r for r in from_ftrace if r.cpu == cpu]
        assert [r._replace(time=0, comm="") for r in one] == [r._replace(time=0, comm="") for r in other]
        assert all(abs(a.time - b.time) < 30 * US for a, b in zip(one, other, strict=True))


def test_a_record_holds_what_its_line_says() -> None:
    """The first object allocated in the excerpt, field by field."""
    _, records = read(PERF)
    line = next(line for line in lines_of(PERF) if "kmem_cache_alloc" in line)
    record = next(r for r in records if r.kind == Kind.CACHE_ALLOC)
    assert (
        f"ptr={record.key:#x} name={record.name} bytes_req={record.size} bytes_alloc={record.alloc}" in line
    )
    assert f"call_site={record.site} " in line
    assert f"{record.comm} {record.tid} [{record.cpu:03}]" in line


def test_batched_frees_are_no_second_frees() -> None:
    """Every batched free of the excerpt has a plain one, and adds nothing to the frees."""
    lifetimes = Lifetimes()
    reader = open_trace(PERF)
    for record in reader:
        lifetimes.add(record)
    counts = lifetimes.statistics()
    assert counts.page_frees == reader.tally.events["kmem:mm_page_free"]
    assert counts.batched_frees == reader.tally.events["kmem:mm_page_free_batched"]
    assert counts.unpaired_batched_frees == 0
