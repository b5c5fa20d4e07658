"""Odd lines of each format, made by hand after what the tools print."""

from pathlib import Path

import pytest

from coalsim.units import NS, US
from coalsim.workloads.trace.reader import TraceReader, open_trace
from coalsim.workloads.trace.records import Kind, Record

KFREE = "kmem:kfree: call_site=f+0x1 ptr=0xffff888100000040"


def read(tmp_path: Path, *lines: str, format: str = "auto") -> tuple[TraceReader, list[Record]]:
    path = tmp_path / "trace.txt"
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    reader = open_trace(path, format)
    return reader, list(reader)


@pytest.mark.parametrize(
    ("header", "comm", "tid"),
    [
        ("cc1 13546 [000] 5.000001:", "cc1", 13546),
        ("Web Content 77 [000] 5.000001:", "Web Content", 77),
        ("kworker/0:0H-kb 10 [000] 5.000001:", "kworker/0:0H-kb", 10),
        ("a [b] 12 [003 9 [000] 5.000001:", "a [b] 12 [003", 9),
        (":-1 -1 [000] 5.000001:", ":-1", -1),
        (":1234 1234 [000] 5.000001:", ":1234", 1234),
        ("cc1 100/102 [000] 5.000001:", "cc1", 102),
        ("cc1 7 [000] d..2. 5.000001:", "cc1", 7),
        ("cc1 7 [000] 5.000001: 1", "cc1", 7),
        ("cc1 7 [000] d.s4. 5.000001: 250000", "cc1", 7),
        ("\x1b[31mred\x1b[0m\x07 7 [000] 5.000001:", "red", 7),
    ],
)
def test_headers_of_perf(tmp_path: Path, header: str, comm: str, tid: int) -> None:
    """Names with anything in them, pid/tid, flags and period are read; twice, so by the fast way too."""
    line = f"{header}     {KFREE}"
    reader, records = read(tmp_path, line, line)
    assert reader.format == "perf"
    assert records == [Record(0, 0, Kind.KFREE, 0xFFFF888100000040, 0, 0, tid, comm, "", "f+0x1")] * 2
    assert reader.tally.unparsed == 0


@pytest.mark.parametrize(
    ("header", "comm", "tid", "format"),
    [
        ("     cc1-13546   [000] ...2.  5.000001:", "cc1", 13546, "ftrace"),
        ("     cc1-13546   [000] d..2.  5.000001000:", "cc1", 13546, "ftrace"),
        ("  <idle>-0       [000] ..s1.  5.000001:", "<idle>", 0, "ftrace"),
        ("   <...>-7       [000] .....  5.000001:", "<...>", 7, "ftrace"),
        (" a-1 b-2-3-4     [000] ....   5.000001:", "a-1 b-2-3", 4, "ftrace"),
        ("    bash-99    ( 12) [000] ....   5.000001:", "bash", 99, "ftrace"),
        ("    bash-99    (-----) [000] ....   5.000001:", "bash", 99, "ftrace"),
        ("     cc1-13546   [000]  5.000001:", "cc1", 13546, "trace-cmd"),
    ],
)
def test_headers_of_ftrace(tmp_path: Path, header: str, comm: str, tid: int, format: str) -> None:
    """With and without flags, dashes in names, unknown names, a process column: all give the same record."""
    line = f"{header} kfree: call_site=f+0x1/0x20 ptr=ffff888100000040"
    reader, records = read(tmp_path, line, line)
    assert reader.format == format
    assert records == [Record(0, 0, Kind.KFREE, 0xFFFF888100000040, 0, 0, tid, comm, "", "f+0x1")] * 2


@pytest.mark.parametrize(
    ("event", "kind", "size", "alloc", "name"),
    [
        ("kmalloc: call_site=g ptr=0x10000 bytes_req=5 bytes_alloc=8 gfp_flags=A", Kind.KMALLOC, 5, 8, ""),
        ("kmalloc: call_site=g ptr=0x10000 bytes_req=5 bytes_alloc=8", Kind.KMALLOC, 5, 8, ""),
        ("kmalloc: bytes_alloc=8 new=1 bytes_req=5 call_site=g x=y ptr=0x10000", Kind.KMALLOC, 5, 8, ""),
        ("kmalloc_node: call_site=g ptr=0x10000 bytes_req=5 bytes_alloc=8 node=1", Kind.KMALLOC, 5, 8, ""),
        (
            "kmem_cache_alloc: call_site=g ptr=0x10000 name=filp bytes_req=5 bytes_alloc=8 node=-1",
            Kind.CACHE_ALLOC,
            *(5, 8, "filp"),
        ),
        (
            "kmem_cache_alloc: call_site=g ptr=0x10000 name=two words bytes_req=5 bytes_alloc=8 node=-1",
            Kind.CACHE_ALLOC,
            *(5, 8, "two words"),
        ),
        ("kmem_cache_alloc: call_site=g ptr=0x10000 bytes_req=5 bytes_alloc=8", Kind.CACHE_ALLOC, 5, 8, ""),
        ("kmem_cache_alloc_node: call_site=g ptr=0x10000 bytes_req=5 node=0", Kind.CACHE_ALLOC, 5, 5, ""),
        ("kmem_cache_free: call_site=g ptr=0x10000 name=filp", Kind.CACHE_FREE, 0, 0, "filp"),
        ("kmem_cache_free: call_site=g ptr=0x10000 name=filp new=2", Kind.CACHE_FREE, 0, 0, "filp"),
        ("kmem_cache_free: call_site=g ptr=0x10000", Kind.CACHE_FREE, 0, 0, ""),
    ],
)
def test_bodies_are_read_by_the_names_of_their_fields(
    tmp_path: Path, event: str, kind: Kind, size: int, alloc: int, name: str
) -> None:
    """Old kernels lack fields, new ones add some, in any order: the record is the same."""
    _, (record, *_) = read(tmp_path, f"cc1 7 [001] 5.000001: kmem:{event}", f"cc1 7 [001] 5.000002: {KFREE}")
    assert record == Record(0, 1, kind, 0x10000, size, alloc, 7, "cc1", name, "g")


@pytest.mark.parametrize(
    ("event", "kind", "size", "alloc"),
    [
        ("mm_page_alloc: page=0x40 pfn=0x40 order=2 migratetype=1 gfp_flags=A|B", Kind.PAGE_ALLOC, 2, 1),
        ("mm_page_alloc: page=0000000055bfef54 pfn=64 order=2 migratetype=1", Kind.PAGE_ALLOC, 2, 1),
        ("mm_page_free: page=0x40 pfn=0x40 order=2", Kind.PAGE_FREE, 2, 0),
        ("mm_page_free: order=2 pfn=0x40", Kind.PAGE_FREE, 2, 0),
        ("mm_page_free_batched: page=0x40 pfn=0x40 order=0", Kind.PAGE_FREE_BATCHED, 0, 0),
        ("mm_page_free_batched: page=0x40 pfn=64", Kind.PAGE_FREE_BATCHED, 0, 0),
        (
            "mm_page_alloc_zone_locked: page=0x40 pfn=0x40 order=2 migratetype=1 percpu_refill=1",
            Kind.ZONE_LOCKED,
            *(2, 1),
        ),
        ("mm_page_pcpu_drain: page=0x40 pfn=0x40 order=2 migratetype=1", Kind.PCPU_DRAIN, 2, 1),
    ],
)
def test_page_events_are_keyed_by_frame(
    tmp_path: Path, event: str, kind: Kind, size: int, alloc: int
) -> None:
    """Frame, order and migrate type, in hexadecimal or, from old kernels, decimal."""
    _, (record, *_) = read(tmp_path, f"cc1 7 [001] 5.000001: kmem:{event}", f"cc1 7 [001] 5.000002: {KFREE}")
    assert record == Record(0, 1, kind, 0x40, size, alloc, 7, "cc1", "", "")


@pytest.mark.parametrize("null", ["(nil)", "(null)", "0x0", "0000000000000000", "(nil) "])
def test_the_free_of_null_is_a_record_with_key_zero(tmp_path: Path, null: str) -> None:
    """However NULL is printed."""
    _, records = read(tmp_path, f"cc1 7 [001] 5.000001: kmem:kfree: call_site=f ptr={null}")
    assert [r.key for r in records] == [0]


@pytest.mark.parametrize(
    "event",
    [
        "kmalloc: call_site=f ptr=(nil) bytes_req=8 bytes_alloc=8",
        "kmem_cache_alloc: call_site=f ptr=0x0 name=filp bytes_req=8 bytes_alloc=8",
        "mm_page_alloc: page=(nil) pfn=0x0 order=4 migratetype=0 gfp_flags=A",
    ],
)
def test_an_allocation_that_failed_is_counted_but_no_record(tmp_path: Path, event: str) -> None:
    """The traced kernel had no memory: nothing lives because of it."""
    reader, records = read(tmp_path, f"cc1 7 [001] 5.000001: kmem:{event}", f"cc1 7 [001] 5.000002: {KFREE}")
    assert (len(records), reader.tally.failed_allocs, reader.tally.lines_of_events) == (1, 1, 2)


@pytest.mark.parametrize(
    "event",
    [
        "kmalloc: call_site=f ptr=(____ptrval____) bytes_req=8 bytes_alloc=8",
        "kmalloc: call_site=f ptr=0x1ffffffffffffffff bytes_req=8 bytes_alloc=8",
        "kmalloc: call_site=f ptr=0x10 bytes_req=-8 bytes_alloc=8",
        f"kmalloc: call_site=f ptr=0x10 bytes_req={1 << 60} bytes_alloc=8",
        "kmalloc: call_site=f bytes_req=8 bytes_alloc=8",
        "mm_page_free: page=0x40 pfn=0x40 order=64",
        "mm_page_free: page=0x41 pfn=0x41 order=1",
        "mm_page_free: page=0x40 order=1",
        "kfree: nothing at all",
    ],
)
def test_a_body_that_makes_no_sense_is_counted_and_shown(tmp_path: Path, event: str) -> None:
    """It is an event of its name, gives no record, and stands among the examples."""
    reader, records = read(tmp_path, f"cc1 7 [001] 5.000001: {KFREE}", f"cc1 7 [001] 5.000002: kmem:{event}")
    assert (len(records), reader.tally.unreadable, reader.tally.lines_of_events) == (1, 1, 2)
    assert reader.tally.examples[0].line == 2


def test_system_calls_count_under_one_name_in_all_formats(tmp_path: Path) -> None:
    """Entry and exit, printed in four ways, are `syscalls:sys_mmap`."""
    perf, _ = read(
        tmp_path,
        "cc1 7 [0] 5.000001: syscalls:sys_enter_mmap: addr: 0x0, len: 0x2000",
        "cc1 7 [0] 5.000001: syscalls:sys_exit_mmap: 0x7f",
        f"cc1 7 [0] 5.000001: {KFREE}",
    )
    ftrace, _ = read(
        tmp_path,
        "cc1-7 [000] ..... 5.000001: sys_mmap(addr: 0, len: 0x2000)",
        "cc1-7 [000] ..... 5.000001: sys_mmap -> 0x7f",
        "cc1-7 [000] ..... 5.000001: kfree: call_site=f ptr=0",
    )
    trace_cmd, _ = read(
        tmp_path,
        "cpus=2",
        "cc1-7 [000] 5.000001: sys_enter_mmap:       addr: 0, len: 0x2000",
        "cc1-7 [000] 5.000001: sys_exit_mmap:        0x7f",
        "cc1-7 [000] 5.000001: kfree:                call_site=f ptr=0x0",
    )
    assert perf.tally.events == ftrace.tally.events == trace_cmd.tally.events
    assert perf.tally.events == {"kmem:kfree": 1, "syscalls:sys_mmap": 2}
    assert [r.format for r in (perf, ftrace, trace_cmd)] == ["perf", "ftrace", "trace-cmd"]


def test_what_the_recorders_say_of_losses_is_summed(tmp_path: Path) -> None:
    """Lost chunks and records of perf; lost and overwritten events of the ring buffer."""
    perf, _ = read(
        tmp_path,
        "Warning:",
        "Processed 491 events and lost 3 chunks!",
        "Check IO/CPU overload!",
        f"cc1 7 [0] 5.000001: {KFREE}",
        "cc1 7 [0] 5.000002: PERF_RECORD_LOST lost 12",
    )
    assert (perf.tally.lost_chunks, perf.tally.lost_events) == (3, 12)
    assert (perf.tally.skipped, perf.tally.unparsed) == (4, 0)
    ftrace, _ = read(
        tmp_path,
        "# entries-in-buffer/entries-written: 100/150   #P:2",
        "CPU:1 [LOST 7 EVENTS]",
        "CPU:0 [EVENTS DROPPED]",
        "##### CPU 1 buffer started ####",
        "cc1-7 [000] ..... 5.000001: kfree: call_site=f ptr=0",
    )
    assert (ftrace.tally.lost_events, ftrace.tally.lost_chunks, ftrace.tally.overwritten) == (7, 1, 50)
    assert (ftrace.tally.skipped, ftrace.tally.unparsed) == (4, 0)


def test_stacks_and_blank_lines_are_skipped(tmp_path: Path) -> None:
    """perf script -g prints the stack below each event."""
    reader, records = read(
        tmp_path,
        f"cc1 7 [0] 5.000001: {KFREE}",
        "\tffffffff81231234 kmem_cache_free+0x1 ([kernel.kallsyms])",
        "\t    7f3f3b0b4f7a __mmap+0xa (/usr/lib/libc.so.6)",
        "",
        f"cc1 7 [0] 5.000002: {KFREE}",
        "what is this",
    )
    assert (len(records), reader.tally.skipped, reader.tally.unparsed) == (2, 3, 1)
    assert reader.tally.examples[0].text == "what is this"


def test_stamps_count_from_the_first_event_in_picoseconds(tmp_path: Path) -> None:
    """Nanoseconds and microseconds, over the end of a second, in one file even."""
    _, records = read(
        tmp_path,
        "cc1 7 [0] 5.999999998: sched:sched_switch: prev_comm=x",
        f"cc1 7 [0] 5.999999999: {KFREE}",
        f"cc1 7 [0] 6.000000: {KFREE}",
        f"cc1 7 [0] 6.000001: {KFREE}",
        f"cc1 7 [0] 6.000001001: {KFREE}",
    )
    assert [r.time for r in records] == [1 * NS, 2 * NS, 1 * US + 2 * NS, 1 * US + 3 * NS]


def test_a_stamp_that_goes_back_is_counted_and_lifted(tmp_path: Path) -> None:
    """Records never go back in time, and no stamp is before the first event."""
    reader, records = read(
        tmp_path,
        f"cc1 7 [0] 5.000002: {KFREE}",
        f"cc1 7 [1] 5.000004: {KFREE}",
        f"cc1 7 [0] 5.000003: {KFREE}",
        f"cc1 7 [0] 4.000003: {KFREE}",
        f"cc1 7 [0] 5.000005: {KFREE}",
    )
    assert [r.time for r in records] == [0, 2 * US, 2 * US, 2 * US, 3 * US]
    assert (reader.tally.out_of_order, reader.tally.span, reader.tally.cpus) == (2, 3 * US, {0: 4, 1: 1})


def test_modules_are_cut_off_call_sites(tmp_path: Path) -> None:
    """ftrace prints size and module behind a symbol, perf neither; dots in names stay."""
    line = "cc1-7 [000] ..... 5.000001: kfree: call_site=put_pid.part.0+0x2a/0x90 [nfs] ptr=0000000000000000"
    _, records = read(tmp_path, line)
    assert records[0].site == "put_pid.part.0+0x2a"


def test_distinct_names_do_not_fill_the_memory(tmp_path: Path) -> None:
    """A trace with endless new event names counts them under one."""
    noise = [f"cc1 7 [0] 5.000001: x:event_{n}: a=1" for n in range(2_000)]
    reader, _ = read(tmp_path, f"cc1 7 [0] 5.000001: {KFREE}", *noise)
    assert len(reader.tally.events) <= 1_001
    assert reader.tally.events["(other)"] == 2_001 - 1_000


def test_windows_line_ends_are_no_part_of_a_name(tmp_path: Path) -> None:
    """A trace that went through another system reads the same."""
    _, records = read(tmp_path, "cc1 7 [0] 5.000001: kmem:kmem_cache_free: call_site=f ptr=0x40 name=filp\r")
    assert records[0].name == "filp"
