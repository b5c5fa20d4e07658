"""What a reader counted while a trace went by: events by name, lines, losses.

Invariant: every line of the file is in exactly one of `lines_of_events`, `skipped` (blank, comment,
stack or notice of loss) and `unparsed`.
"""

from dataclasses import dataclass, field

from coalsim.guarded import clean
from coalsim.units import SEC, Time
from coalsim.workloads.trace.events import MAX_NAMES, OTHER
from coalsim.workloads.trace.fields import Decoder
from coalsim.workloads.trace.records import Kind

EXAMPLES = 5
_EXAMPLE_LENGTH = 160


@dataclass(slots=True)
class EventType:
    """One name of event: how often it came and, for a memory event, how to read it."""

    name: str
    kind: Kind | None = None
    decode: Decoder | None = None
    allocates: bool = False  # key 0 then means that the allocation failed
    count: int = 0


@dataclass(frozen=True, slots=True)
class Example:
    """A line that could not be read; the text is cleaned and cut."""

    line: int
    text: str


@dataclass(slots=True)
class TraceTally:
    """Counts of one trace, complete when the reader has come to the end."""

    format: str
    types: dict[str, EventType] = field(default_factory=dict)
    lines: int = 0
    skipped: int = 0
    unparsed: int = 0
    unreadable: int = 0  # memory events whose body makes no sense: counted by name, no record
    examples: list[Example] = field(default_factory=list)  # of the two above
    failed_allocs: int = 0  # the traced kernel answered NULL: counted by name, no record
    out_of_order: int = 0  # stamps before an earlier line's; their records take the latest time seen
    lost_events: int = 0  # as the recorder says
    lost_chunks: int = 0  # as the recorder says: each held an unknown number of events
    overwritten: int = 0  # by the ring buffer before the trace's first event
    cpus: dict[int, int] = field(default_factory=dict)  # CPU to events on it
    span: Time = 0  # from the first event to the latest

    @property
    def events(self) -> dict[str, int]:
        """Events by reported name, in the order of the names."""
        return {name: self.types[name].count for name in sorted(self.types) if self.types[name].count}

    @property
    def lines_of_events(self) -> int:
        """Events of any kind."""
        return sum(event.count for event in self.types.values())

    @property
    def memory_events(self) -> int:
        """Events of a kind that becomes a record."""
        return sum(event.count for event in self.types.values() if event.kind is not None)

    @property
    def span_s(self) -> float:
        """The span in seconds, for printing."""
        return self.span / SEC

    def type_of(self, name: str) -> EventType:
        """The counter of a name; there are at most `MAX_NAMES` of them and one for all others."""
        if name not in self.types and len(self.types) >= MAX_NAMES:
            name = OTHER
        return self.types.setdefault(name, EventType(name))

    def keep_example(self, number: int, line: str) -> None:
        """Remember a line that could not be read, if there are few yet."""
        if len(self.examples) < EXAMPLES:
            self.examples.append(Example(number, clean(line[:_EXAMPLE_LENGTH]).strip()))
