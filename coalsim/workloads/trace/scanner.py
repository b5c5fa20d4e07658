r"""The loop that reads lines of either format: cut, look up, decode.

Both formats print `who [cpu] ... stamp: ... event: body`, so one loop serves both:

    '       cc1 13546 [000]  1327.367092568:  kmem:mm_page_free: page=... pfn=... order=0'
     `------ who ----'  cpu  `---- stamp ---'  `---- token ----'  `------- body -------'
    '       cc1-13546   [000] ...2.  1327.367092: mm_page_free: page=... pfn=... order=0'

Speed trick: the first time that a task, CPU, event or second shows up, its line goes to `_study`,
where a regular expression checks everything; what it found is kept in dictionaries under the raw
text.  All later lines are plain lookups in these, and whatever is not found there (or is no number)
is studied again.  So an odd line costs time, never a wrong answer.

Invariant: the dictionaries hold only what `_study` has verified, and at most `MAX_CACHED` entries.
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol, TypeVar

from coalsim.units import SEC, Time
from coalsim.workloads.trace.events import KINDS
from coalsim.workloads.trace.fields import MAX_CACHED, Body, BodyReader
from coalsim.workloads.trace.records import Kind, Record
from coalsim.workloads.trace.tally import EventType, TraceTally

HEADER_LENGTH = 320  # characters before the event's name: a command has 15, a column at most 100
_PS_DIGITS = 12  # of the fraction of a second
_T = TypeVar("_T")
_ALLOCATIONS = (Kind.KMALLOC, Kind.CACHE_ALLOC, Kind.PAGE_ALLOC)


class Task(NamedTuple):
    """Who did it."""

    comm: str
    tid: int


class TextFormat(Protocol):
    """What differs between the formats."""

    columns: re.Pattern[str]
    """From the `[` of the CPU to the event's token; groups cpu, flags, seconds, fraction, event."""

    def task(self, who: str) -> Task | None:
        """Read what stands before the CPU."""

    def event_name(self, token: str) -> str:
        """The reported name of a token that `columns` matched."""

    def is_noise(self, line: str, tally: TraceTally) -> bool:
        """Whether a line that is no event is of a known kind; notes what it says of losses."""


class Header(NamedTuple):
    """The beginning of one line, verified."""

    task: Task
    columns: re.Match[str]
    name: str


class _Layout(NamedTuple):
    """Where the last studied line had its columns; most lines are like the one before."""

    splits: int = 0  # columns before the body
    stamp_at: int = 0
    seconds: str = ""  # with the point
    cut: int = 0  # where the fraction begins
    colon: int = 0  # and ends
    base: Time = 0  # time of that second, since the first event
    scale: Time = 0  # ps in the last digit of the stamp


def read_header(form: TextFormat, line: str) -> Header | None:
    """The verified header of a line, or None if it is no event of this format."""
    at = line.find(" [", 0, HEADER_LENGTH)
    while at >= 0:  # a command name may hold " [" too
        columns = form.columns.match(line, at + 1, at + HEADER_LENGTH)
        if columns and (task := form.task(line[:at])):
            return Header(task, columns, form.event_name(columns["event"]))
        at = line.find(" [", at + 1, HEADER_LENGTH)
    return None


class Scanner:
    """Turns numbered lines into records and keeps the tally.

    Args:
        form: the format of the lines.
        tally: what to count into.
    """

    def __init__(self, form: TextFormat, tally: TraceTally) -> None:
        self._form = form
        self._tally = tally
        self._bodies = BodyReader()
        self._tasks: dict[str, Task] = {}
        self._cpus: dict[str, int] = {}  # text "000]" to the number
        self._tokens: dict[str, EventType] = {}
        self._layout = _Layout()
        self._origin: Time | None = None  # absolute time of the first event

    def records(self, lines: Iterable[tuple[int, str]]) -> Iterator[Record]:
        """The memory events of the lines, in their order."""
        tally, tasks, cpus, tokens = self._tally, self._tasks, self._cpus, self._tokens
        splits, stamp_at, seconds, cut, colon, base, scale = self._layout
        cpu_events, make = tally.cpus, tuple.__new__  # NamedTuple's own constructor takes twice as long
        latest: Time = 0
        for number, line in lines:
            tally.lines = number
            who, _, rest = line.partition(" [")
            try:
                task = tasks[who]
                columns = rest.split(None, splits)
                event = tokens[columns[-2]]
                cpu = cpus[columns[0]]
                stamp = columns[stamp_at]
                fraction = stamp[cut:colon]
                if stamp[:cut] != seconds or stamp[colon:] != ":" or not fraction.isdecimal():
                    raise ValueError(stamp)
                time = base + int(fraction) * scale
                body = columns[-1]
            except (KeyError, IndexError, ValueError):
                studied = self._study(number, line)
                if studied is None:
                    continue
                task, cpu, time, event, body = studied
                splits, stamp_at, seconds, cut, colon, base, scale = self._layout
            event.count += 1
            cpu_events[cpu] += 1
            if time >= latest:
                latest = tally.span = time
            else:
                tally.out_of_order += 1
                time = latest
            if event.decode is None:
                continue
            try:
                key, size, alloc, name, site = event.decode(body)
            except ValueError:
                decoded = self._decode_by_name(number, event, body)
                if decoded is None:
                    continue
                key, size, alloc, name, site = decoded
            if not key and event.allocates:
                tally.failed_allocs += 1
                continue
            yield make(Record, (time, cpu, event.kind, key, size, alloc, task[1], task[0], name, site))

    def _study(self, number: int, line: str) -> tuple[Task, int, Time, EventType, str] | None:
        """Read a line with all checks, and learn from it how to read the next ones."""
        header = read_header(self._form, line)
        if header is None:
            self._set_aside(number, line)
            return None
        task, columns, name = header
        seconds, fraction = columns["seconds"], columns["fraction"]
        scale = 10 ** (_PS_DIGITS - len(fraction))
        second = int(seconds) * SEC
        if self._origin is None:
            self._origin = second + int(fraction) * scale
        before_stamp = line[columns.start() : columns.start("seconds")].split()
        before_event = line[columns.start() : columns.start("event")].split()
        base = second - self._origin
        self._layout = _Layout(
            splits=len(before_event) + 1,
            stamp_at=len(before_stamp),
            seconds=seconds + ".",
            cut=len(seconds) + 1,
            colon=len(seconds) + 1 + len(fraction),
            base=base,
            scale=scale,
        )
        if len(before_event) > len(before_stamp) + 1:
            self._layout = _Layout()  # a period too: rare, and only a study checks that it is a number
        event = self._event(name)
        token = line[columns.start("event") :].split(None, 1)[0]
        if event.decode is None or token == line[columns.start("event") : columns.end()]:
            _remember(self._tokens, token, event)
        cpu = int(columns["cpu"])
        self._tally.cpus.setdefault(cpu, 0)
        _remember(self._cpus, columns["cpu"] + "]", cpu)
        _remember(self._tasks, line[: columns.start() - 1], task)
        time = base + int(fraction) * scale
        return task, cpu, time, event, line[columns.end() :].strip()

    def _event(self, name: str) -> EventType:
        event = self._tally.type_of(name)
        kind = KINDS.get(event.name)
        if kind is not None and event.decode is None:
            event.kind, event.decode = kind, self._bodies.decoder(kind)
            event.allocates = kind in _ALLOCATIONS
        return event

    def _decode_by_name(self, number: int, event: EventType, body: str) -> Body | None:
        assert event.kind is not None
        try:
            return self._bodies.by_name(event.kind, body)
        except ValueError:
            self._tally.unreadable += 1
            self._tally.keep_example(number, f"{event.name}: {body}")
            return None

    def _set_aside(self, number: int, line: str) -> None:
        """File a line that is no event."""
        if self._form.is_noise(line, self._tally):
            self._tally.skipped += 1
        else:
            self._tally.unparsed += 1
            self._tally.keep_example(number, line)


def _remember(known: dict[str, _T], text: str, meaning: _T) -> None:
    if len(known) >= MAX_CACHED:
        known.clear()
    known[text] = meaning
