"""Files that are no trace, or a hostile one, are refused in one way and with a remedy."""

import gzip
import zlib
from pathlib import Path

import pytest
from trace_oracle import FTRACE, PERF

from coalsim.errors import ConfigError, InputError, Problem
from coalsim.units import MIB
from coalsim.workloads.trace.reader import open_trace

EVENT = b"cc1 7 [0] 5.000001: kmem:kfree: call_site=f ptr=0x40\n"


def refused(path: Path, **limits: int) -> Problem:
    """Read to the end and return the one problem; it names the file and gives a remedy."""
    with pytest.raises(InputError) as caught:
        list(open_trace(path, **limits))  # type: ignore[arg-type]
    (problem,) = caught.value.problems
    assert path.name in problem.where
    assert problem.remedy
    assert str(problem).isprintable()
    return problem


def written(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "trace.txt"
    path.write_bytes(content)
    return path


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """As such."""
    assert "no such file" in refused(tmp_path / "absent.txt").message


def test_a_directory_is_refused(tmp_path: Path) -> None:
    """As such."""
    assert "directory" in refused(tmp_path).message


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    """As such, also when it is an empty gzip."""
    assert "empty" in refused(written(tmp_path, b"")).message
    assert "empty" in refused(written(tmp_path, gzip.compress(b""))).message


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    """Zero bytes do not occur in text."""
    assert "binary" in refused(written(tmp_path, b"\x7fELF\0\0\0")).message


@pytest.mark.parametrize("magic", [b"PERFILE2", b"\x17\x08Dtracing"])
def test_a_recording_is_told_from_its_text(tmp_path: Path, magic: bytes) -> None:
    """Giving perf.data or trace.dat is the likeliest mistake: the remedy is the command to run."""
    assert "into text" in refused(written(tmp_path, magic + bytes(100))).remedy


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99, 0.9999])
def test_a_truncated_gzip_is_refused(tmp_path: Path, kept: float) -> None:
    """Wherever it was cut."""
    packed = PERF.read_bytes()
    assert "ends too early" in refused(written(tmp_path, packed[: int(len(packed) * kept)])).message


def test_a_damaged_gzip_is_refused(tmp_path: Path) -> None:
    """A wrong byte in the middle."""
    packed = bytearray(PERF.read_bytes())
    packed[len(packed) // 2 : len(packed) // 2 + 8] = b"\xff" * 8
    assert "damaged" in refused(written(tmp_path, bytes(packed))).message


def test_text_without_events_is_refused(tmp_path: Path) -> None:
    """At its end if it is short, after a MiB if it is long."""
    assert "no line of" in refused(written(tmp_path, b"Dear diary,\n")).message
    long = written(tmp_path, b"Dear diary,\n" * 400_000)
    reader_bytes = refused(long, max_input=2 * MIB).message
    assert "first 1 MiB" in reader_bytes


def test_events_that_nobody_knows_are_no_trace(tmp_path: Path) -> None:
    """A recording of the network has the right layout and nothing to replay."""
    content = b"cc1 7 [0] 5.000001: net:netif_rx: dev=lo\n"
    assert "no line of" in refused(written(tmp_path, content)).message


def test_a_trace_without_memory_events_is_refused_at_its_end(tmp_path: Path) -> None:
    """It tells what there is instead, and how to record what is needed."""
    problem = refused(written(tmp_path, b"cc1 7 [0] 5.000001: sched:sched_switch: prev_comm=x\n" * 3))
    assert "sched:sched_switch 3" in problem.message
    assert "kmem:*" in problem.remedy


@pytest.mark.parametrize("length", [70_000, 1_000_000])
def test_a_line_without_end_is_refused(tmp_path: Path, length: int) -> None:
    """Past 64 KiB, with its number; in the middle of a trace as well as at its beginning."""
    assert refused(written(tmp_path, EVENT + b"x" * length + b"\n" + EVENT)).line == 2
    assert refused(written(tmp_path, b"x" * length)).line == 1


def test_a_gzip_bomb_is_refused_early(tmp_path: Path) -> None:
    """Both kinds: of nothing that is known, and of good lines without end."""
    bomb = written(tmp_path, gzip.compress(b"\n" * (16 * MIB)))
    assert bomb.stat().st_size < MIB // 8
    assert "first 1 MiB" in refused(bomb).message
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    events = written(tmp_path, packer.compress(EVENT * 100_000) + packer.flush())
    assert "more than 1 MiB unpacked" in refused(events, max_input=MIB).message


def test_the_format_may_be_given_and_is_then_required(tmp_path: Path) -> None:
    """perf text read as ftrace shows no known line, and the other way round."""
    assert open_trace(PERF, "perf").format == "perf"
    assert open_trace(FTRACE, "ftrace").format == "ftrace"
    assert open_trace(FTRACE, "trace-cmd").format == "trace-cmd"
    for path, wrong in ((PERF, "ftrace"), (FTRACE, "perf")):
        with pytest.raises(InputError, match="no line of"):
            open_trace(path, wrong)
    with pytest.raises(ConfigError, match="use auto, perf, ftrace, trace-cmd"):
        open_trace(PERF, "strace")


def test_terminal_escapes_never_leave_the_reader(tmp_path: Path) -> None:
    """Commands, caches, call sites and examples of odd lines are safe to print."""
    evil = "\x1b]0;owned\x07\x1b[2J\u202egood\x9b31m\x08"
    line = f"{evil} 7 [0] 5.000001: kmem:kmem_cache_free: call_site={evil}+0x1 ptr=0x40 name={evil}\n"
    path = written(tmp_path, (line + f"{evil} unread\n").encode())
    reader = open_trace(path)
    (record,) = reader
    assert (record.comm, record.name, record.site) == ("good", "good", "good+0x1")
    assert reader.tally.examples[0].text == "good unread"


def test_a_plain_copy_reads_like_the_gzip(tmp_path: Path) -> None:
    """Packing is told by content, not by name, and changes nothing."""
    plain = written(tmp_path, gzip.decompress(PERF.read_bytes()))
    assert list(open_trace(plain)) == list(open_trace(PERF))


def test_a_reader_is_one_pass() -> None:
    """The second iteration finds nothing and counts nothing again."""
    reader = open_trace(PERF)
    first = sum(1 for _ in reader)
    counted = reader.tally.events
    assert list(reader) == []
    assert reader.tally.events == counted
    assert sum(counted.values()) > first > 0
