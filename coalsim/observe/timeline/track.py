"""One CPU's time: what it was spent on, in order, and where that lies.

    own time    user 30 | lock:zone:wait 100 | ...        in order, without times
    handlers    [40, 55) shootdown:handler, ...           with times
    laid out    user 0..30 | lock:zone:wait 30..145 with the handler in it at 40..55 | ...

Every picosecond of a CPU is counted for exactly one cause.  So its own time, laid out one after
the other and around its handlers, ends up exactly where it was spent; nothing needs a time of its
own but what interrupts.  Time may be given another cause later, when a wait is over: that is
always taken from the end of what has that cause, so a wait that is divided is divided in order.

Invariant: own time and handlers so far add up to the CPU's clock (while it waits: to the time at
which the wait began, and what handlers have stolen since).
What lies before the window is forgotten piece by piece, so a late window costs no memory.
"""

from array import array
from collections.abc import Iterator
from typing import NamedTuple

from coalsim.observe.timeline.facts import CAUSE, HANDLER, PHASE, Frame, Leaf, Path, common_prefix
from coalsim.units import Time

KEPT = 64
"""Pieces that may still be given other causes; older ones before the window are forgotten."""
EARLY = 16
"""Pieces after the begin of the window in which time before it may still be given another cause."""
NO_OPERATION = 0


class _Placed(NamedTuple):
    """A piece of own time where it lies, with the handlers before it and in it."""

    piece: int
    begin: Time
    end: Time
    before: range
    inside: range


class Track:
    """The recorded time of one CPU.

    Args:
        begin: of the window; what ends before may be forgotten.
    """

    def __init__(self, begin: Time) -> None:
        self._begin = begin
        self._laid: Time = 0  # where the first piece that is kept begins
        self._amounts = array("q")
        self._causes = array("q")  # indexes of names
        self._paths = array("q")  # indexes of operations
        self._handler_begins = array("q")
        self._handler_ends = array("q")
        self._handler_causes = array("q")
        self._names: dict[str, int] = {}
        self._operations: list[Path] = [()]
        self._in_window = 0  # pieces that have ended in the window
        self._behind: dict[str, Time] = {}  # own time behind the window, by cause
        self.named_later: dict[str, Time] = {}  # what later names gave to each cause before the window
        self.position: Time = 0  # of the last time that was added
        self.stolen: Time = 0  # by handlers since then

    def operation(self, path: Path) -> int:
        """A number for the operations that time is spent in."""
        self._operations.append(path)
        return len(self._operations) - 1

    @property
    def next_begins(self) -> Time:
        """Own time that is added now begins here or later."""
        return self.position - self.stolen

    # -- recording ---------------------------------------------------------------------

    def pass_over(self, cause: str, amount: Time) -> None:
        """Own time that is not kept, because it lies behind the window."""
        self._behind[cause] = self._behind.get(cause, 0) + amount
        self._advance(amount)

    def _advance(self, amount: Time) -> None:
        self.position += amount
        self.stolen = 0

    def add(self, cause: str, amount: Time, operation: int) -> bool:
        """Own time comes next; True if it begins a new piece."""
        self._advance(amount)
        name = self._name(cause)
        if self._amounts and self._causes[-1] == name and self._paths[-1] == operation:
            self._amounts[-1] += amount
            return False
        self._amounts.append(amount)
        self._causes.append(name)
        self._paths.append(operation)
        if self.position >= self._begin:
            self._in_window += 1
        elif len(self._amounts) > 2 * KEPT:
            self._forget()
        return True

    def add_handler(self, cause: str, begin: Time, end: Time, *, keep: bool) -> bool:
        """A handler runs at a known time; True if it begins a new piece."""
        self.position += end - begin
        self.stolen += end - begin
        if not keep:
            return False
        name = self._name(cause)
        if self._handler_ends and self._handler_ends[-1] == begin and self._handler_causes[-1] == name:
            self._handler_ends[-1] = end
            return False
        self._handler_begins.append(begin)
        self._handler_ends.append(end)
        self._handler_causes.append(name)
        return True

    def rename(self, source: str, target: str, amount: Time) -> None:
        """The last `amount` of what has the cause `source` has another cause.

        The time table has counted what lies before its interval under the old cause, and counts
        all of it under the new one when it gets that; `named_later` says what that comes to.
        """
        if behind := min(amount, self._behind.get(source, 0)):
            self._behind[source] -= behind
            self._behind[target] = self._behind.get(target, 0) + behind
            amount -= behind
        if not self._begin or self._in_window > EARLY or self.position < self._begin:
            self._rename(source, target, amount)
            return
        before = self._before_window(target)
        self._rename(source, target, amount)
        if change := self._before_window(target) - before:
            self.named_later[target] = self.named_later.get(target, 0) + change
            self.named_later[source] = self.named_later.get(source, 0) - change

    def _before_window(self, cause: str) -> Time:
        """Time of a cause that lies before the window, as far as it has not been forgotten."""
        leaves = self.leaves(0, self._begin)
        return sum(leaf.end - leaf.begin for leaf in leaves if leaf.path[-1].name == cause)

    def _rename(self, source: str, target: str, amount: Time) -> None:
        old, new = self._name(source), self._name(target)
        index = len(self._amounts) - 1
        while amount and index >= 0:
            if self._causes[index] == old:
                part = min(amount, self._amounts[index])
                amount -= part
                self._split(index, part, new)
            index -= 1

    def _split(self, index: int, part: Time, name: int) -> None:
        """The last part of a piece gets another name."""
        if part == self._amounts[index]:
            self._causes[index] = name
            return
        self._amounts[index] -= part
        self._amounts.insert(index + 1, part)
        self._causes.insert(index + 1, name)
        self._paths.insert(index + 1, self._paths[index])

    def _name(self, cause: str) -> int:
        return self._names.setdefault(cause, len(self._names))

    # -- layout ------------------------------------------------------------------------

    def leaves(self, begin: Time, end: Time) -> Iterator[Leaf]:
        """What the CPU did in an interval, without gap, as far as it has been recorded."""
        for leaf in self._leaves():
            if leaf.begin < end and leaf.end > begin:
                yield Leaf(max(leaf.begin, begin), min(leaf.end, end), leaf.path)

    def _leaves(self) -> Iterator[Leaf]:
        names = list(self._names)
        path: Path = ()
        phase, phases, last = "", 0, -1
        done = 0  # handlers
        for piece, begin, end, before, inside in self._placed(len(self._amounts)):
            cause, number = names[self._causes[piece]], self._paths[piece]
            family = cause.rpartition(":")[0]
            if (family, number) != (phase, last):
                phase, last, phases = family, number, phases + 1
            outer = self._operations[number]
            if family:
                outer = (*outer, Frame(family, PHASE, (phases, 0)))
            new = (*outer, Frame(cause, CAUSE, (piece, 0)))
            yield from self._handlers(before, common_prefix(path, new), names)
            path = new
            at = begin
            for handler in inside:
                if self._handler_begins[handler] > at:
                    yield Leaf(at, self._handler_begins[handler], path)
                yield from self._handlers(range(handler, handler + 1), path, names)
                at = self._handler_ends[handler]
            if end > at:
                yield Leaf(at, end, path)
            done = inside.stop
        yield from self._handlers(range(done, len(self._handler_begins)), (), names)

    def _handlers(self, numbers: range, path: Path, names: list[str]) -> Iterator[Leaf]:
        for number in numbers:
            frame = Frame(names[self._handler_causes[number]], HANDLER, (number, 0))
            yield Leaf(self._handler_begins[number], self._handler_ends[number], (*path, frame))

    def _placed(self, count: int) -> Iterator[_Placed]:
        """The first `count` pieces, laid out one after the other and around handlers."""
        begins, ends = self._handler_begins, self._handler_ends
        at, handler, handlers = self._laid, 0, len(begins)
        for piece in range(count):
            first = handler
            while handler < handlers and begins[handler] <= at:
                at = ends[handler]
                handler += 1
            before, begin, left, first = range(first, handler), at, self._amounts[piece], handler
            while handler < handlers and begins[handler] < at + left:
                left -= begins[handler] - at
                at = ends[handler]
                handler += 1
            at += left
            yield _Placed(piece, begin, at, before, range(first, handler))

    def _forget(self) -> None:
        """Drop the oldest pieces: they lie before the window."""
        *_, last = self._placed(KEPT)
        self._laid, handlers = last.end, last.inside.stop
        for column in (self._amounts, self._causes, self._paths):
            del column[:KEPT]
        for column in (self._handler_begins, self._handler_ends, self._handler_causes):
            del column[:handlers]
        self._forget_operations()

    def _forget_operations(self) -> None:
        """Keep the operations of the pieces that are left, and that of the piece to come."""
        oldest = min(
            (number for number in self._paths if number != NO_OPERATION), default=len(self._operations)
        )
        for number in range(1, min(oldest, len(self._operations) - 1)):
            self._operations[number] = ()
