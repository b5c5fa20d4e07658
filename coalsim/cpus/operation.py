"""Operations: how long a munmap or a fault took, and what it waited for.

The latency of an operation is the time that its processor spent between its begin and
its end, by cause: the difference of the processor's own account, so the parts add up
to the whole without remainder.  While its thread is off the processor, what others do
there is not the operation's: that time counts as `asleep`.
Operations nest: a fault inside a copy to user memory counts in both.

Begin and end are looks: up to them all handlers are accounted for.
"""

from collections import defaultdict, deque
from collections.abc import Callable
from itertools import compress, repeat
from operator import sub
from typing import Protocol

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.units import CpuId, Time

ASLEEP = "asleep"
RECENT = 8
"""Operations of each processor that a panic lists."""


class Recorder(Protocol):
    """Where latencies go: a histogram."""

    def record(self, value: int) -> None:
        """Count one value."""

    def clear(self) -> None:
        """Forget all values."""


class Kind:
    """All operations of one name."""

    __slots__ = ("by_cause", "latencies", "name")

    def __init__(self, name: str, latencies: Recorder) -> None:
        self.name = name
        self.latencies = latencies
        self.by_cause: defaultdict[str, Time] = defaultdict(int)


class Running:
    """An operation under way on a thread."""

    __slots__ = ("away", "away_since", "before", "began", "kind")

    def __init__(self, kind: Kind, cpu: Cpu) -> None:
        self.kind = kind
        self.began = cpu.clock
        self.before = list(
            cpu.spent.values()
        )  # causes only come in addition, so their order says whose it is
        self.away: dict[str, Time] = {}  # what others spent while the thread was off its processor
        self.away_since: dict[str, Time] | None = None

    def leave(self, cpu: Cpu) -> None:
        """The thread gives its processor away, synchronised."""
        self.away_since = dict(cpu.spent)

    def come_back(self, cpu: Cpu) -> None:
        """The thread has its processor again."""
        since, away = self.away_since, self.away
        assert since is not None, "a thread comes back after it has left"
        for cause, spent in cpu.spent.items():
            if spent != (was := since.get(cause, 0)):
                away[cause] = away.get(cause, 0) + spent - was
        self.away_since = None


class Operations:
    """Statistics of all operations, by name.

    Args:
        make: a fresh histogram.
    """

    def __init__(self, make: Callable[[], Recorder]) -> None:
        self._make = make
        self.kinds: dict[str, Kind] = {}
        self._recent: dict[CpuId, deque[tuple[Time, Time, str]]] = {}  # the last ones of each processor

    def kind(self, name: str) -> Kind:
        """The statistics of one name, made at the first call."""
        found = self.kinds.get(name)
        if found is None:
            found = self.kinds[name] = Kind(name, self._make())
        return found

    def begin(self, cpu: Cpu, kind: Kind) -> Op[Running]:
        """An operation of the running thread begins."""
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        running = Running(kind, cpu)
        if cpu.current is not None:
            cpu.current.operations.append(running)
        return running

    def end(self, cpu: Cpu, running: Running) -> Op[None]:
        """It is over; its parts add up to its latency."""
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        if cpu.current is not None:
            cpu.current.operations.remove(running)
        kind, away, before, spent = running.kind, running.away, running.before, cpu.spent
        before.extend(repeat(0, len(spent) - len(before)))
        parts = list(map(sub, spent.values(), before))
        by_cause, total = kind.by_cause, sum(parts)
        for cause, part in compress(zip(spent, parts, strict=True), parts):
            by_cause[cause] += part
        for cause, part in away.items():
            by_cause[cause] -= part
            total -= part
        latency = cpu.clock - running.began
        if total != latency:
            by_cause[ASLEEP] += latency - total
        kind.latencies.record(latency)
        recent = self._recent.get(cpu.id)
        if recent is None:
            recent = self._recent[cpu.id] = deque(maxlen=RECENT)
        recent.append((running.began, cpu.clock, kind.name))

    def recent(self, cpu: CpuId) -> list[str]:
        """The last operations of a processor, oldest first, one line each."""
        return [
            f"{name} from {began / 1000:.3f} to {ended / 1000:.3f} ns"
            for began, ended, name in self._recent.get(cpu, ())
        ]

    def reset(self) -> None:
        """Forget what was counted, at the end of the warm-up; what is under way will count."""
        for kind in self.kinds.values():
            kind.latencies.clear()
            kind.by_cause.clear()
