"""Opening a trace: which format it is, and the records in it.

The format is told by the content: the first line that is an event of the kernel's memory manager,
or of what surrounds it, in one of the formats.  A file that shows none within its first MiB is refused, and
so is one that ends without a single memory event.

Invariant: memory does not grow with the length of the trace.  What the reader keeps are the names of
tasks, events and call sites, each up to a fixed number.
"""

from collections.abc import Iterator
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Final

from coalsim.errors import ConfigError, Problem
from coalsim.guarded import DEFAULT_MAX_INPUT, MAX_LINE, GuardedLines, clean, refusal
from coalsim.workloads.trace.events import is_known
from coalsim.workloads.trace.ftrace import FtraceText
from coalsim.workloads.trace.perf import PerfText
from coalsim.workloads.trace.records import Record
from coalsim.workloads.trace.scanner import Scanner, TextFormat, read_header
from coalsim.workloads.trace.tally import TraceTally

PERF: Final = "perf"
FTRACE: Final = "ftrace"
TRACE_CMD: Final = "trace-cmd"
AUTO: Final = "auto"
FORMATS: Final = (AUTO, PERF, FTRACE, TRACE_CMD)

_EXPECTED = {
    AUTO: "perf script, ftrace or trace-cmd text",
    PERF: "perf script text",
    FTRACE: "ftrace text",
    TRACE_CMD: "trace-cmd report text",
}
_RECORDINGS = {
    b"PERFILE2": ("a perf.data recording", "turn it into text: perf script --ns -i FILE > trace.txt"),
    b"\x17\x08Dtraci": ("a trace.dat recording", "turn it into text: trace-cmd report -i FILE > trace.txt"),
}


class TraceReader:
    """The records of one trace in the order of its text, one pass: ``for record in reader``.

    Made by `open_trace`.

    Attributes:
        path: the file.
        format: `perf`, `ftrace` or `trace-cmd`, as found.
        tally: what was counted so far; complete after the last record.
    """

    def __init__(self, path: Path, lines: GuardedLines, format_: str) -> None:
        self.path = path
        self._lines = lines
        self._numbered = iter(lines)
        self._head, self._form = self._recognise(format_)
        self.tally = TraceTally(self.format)

    @property
    def bytes_read(self) -> int:
        """Unpacked bytes so far, by whole blocks: the reader's progress."""
        return self._lines.bytes_read

    def __iter__(self) -> Iterator[Record]:
        head, self._head = self._head, []
        scanner = Scanner(self._form, self.tally)
        yield from scanner.records(chain(head, self._numbered))
        if not self.tally.memory_events:
            raise self._no_memory_event()

    def _recognise(self, format_: str) -> tuple[list[tuple[int, str]], TextFormat]:
        """Read on to the first known event; GuardedLines refuses the file if there is none."""
        forms: list[TextFormat] = []
        if format_ in (AUTO, PERF):
            forms.append(PerfText())
        if format_ != PERF:
            forms.append(FtraceText())
        head: list[tuple[int, str]] = []
        for number, line in self._numbered:
            head.append((number, line))
            for form in forms:
                header = read_header(form, line)
                if header and is_known(header.name):
                    self._lines.recognised = True
                    self.format = (
                        format_ if format_ != AUTO else _name_of(form, head, header.columns["flags"])
                    )
                    return head, form
        raise AssertionError("GuardedLines refuses a file in which nothing was recognised")

    def _no_memory_event(self) -> ConfigError:
        most = sorted(self.tally.events.items(), key=lambda item: (-item[1], item[0]))[:3]
        seen = ", ".join(f"{clean(name)} {count}" for name, count in most)
        return refusal(
            self.path,
            f"none of its events allocates or frees memory ({seen})",
            "record the kmem events too: perf record -a -e 'kmem:*'",
        )


def open_trace(
    path: str | PathLike[str],
    format: str = AUTO,
    max_input: int = DEFAULT_MAX_INPUT,
    max_line: int = MAX_LINE,
) -> TraceReader:
    """Open a recorded trace, plain or gzip.

    Args:
        path: text of `perf script`, of ftrace's `trace` file or of `trace-cmd report`.
        format: one of `FORMATS`; `auto` tells by the content.
        max_input: unpacked bytes that may be read.
        max_line: bytes that one line may have.

    Raises:
        InputError: here or while iterating, if the file is missing, damaged, binary, too large, or
            holds no event that is known.
        ConfigError: no such format.
    """
    if format not in FORMATS:
        known = ", ".join(FORMATS)
        raise ConfigError(
            [
                Problem(
                    key="format", value=clean(format), message="no such trace format", remedy=f"use {known}"
                )
            ]
        )
    _refuse_recordings(Path(path))
    lines = GuardedLines(path, expect=_EXPECTED[format], max_input=max_input, max_line=max_line)
    return TraceReader(Path(path), lines, format)


def _name_of(form: TextFormat, head: list[tuple[int, str]], flags: str | None) -> str:
    if isinstance(form, PerfText):
        return PERF
    first = head[0][1]
    return TRACE_CMD if flags is None or first.startswith(("cpus=", "version = ")) else FTRACE


def _refuse_recordings(path: Path) -> None:
    """The binary recording instead of its text is the mistake made most often."""
    if not path.is_file():
        return  # let the guarded reader say what it is; reading from a pipe would take its bytes
    try:
        with path.open("rb") as file:
            magic = file.read(8)
    except OSError:
        return  # as above
    if magic in _RECORDINGS:
        what, remedy = _RECORDINGS[magic]
        raise refusal(path, f"{what}, not its text", remedy)
