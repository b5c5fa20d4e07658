"""A finished timeline: what the writers write.

Invariants, where nothing was left out: the waits of a lock add up to its `waittime_total` in the
lock table, and what a CPU spent by cause to its row of the table of time, both in whole ps; every
message has both its ends; all that happens on one CPU comes in order of time and nests.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import merge
from typing import NamedTuple, TypeAlias

from coalsim.observe.timeline.facts import (
    OPERATION,
    Edge,
    Frame,
    Leaf,
    LockWait,
    Mark,
    Message,
    Sample,
    edges,
)
from coalsim.observe.timeline.track import Track
from coalsim.units import Time

FAULT = "fault"
"""The operation whose begin is marked as a page fault."""
HOT_LOCKS = 8
"""Locks whose queues have a counter: those that were waited for longest."""


class FlowEnd(NamedTuple):
    """Where an arrow touches a CPU: `s` it leaves, `t` it passes on, `f` it ends."""

    at: Time
    step: str
    number: int  # of the arrow
    text: str
    is_answer: bool = False


Event: TypeAlias = Edge | Mark | FlowEnd


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """One recording.

    Args:
        study, machine, profile, seed: of the run.
        begin, end: the interval that is told, in absolute simulated ps.
        nodes: of each CPU that is told.
        what: categories that are told.
        tracks: by CPU.
        waits, messages, marks, samples: sorted.
        notes: what was left out, one sentence each.
    """

    study: str
    machine: str
    profile: str
    seed: int
    begin: Time
    end: Time
    nodes: Mapping[int, int]
    what: Sequence[str]
    tracks: Mapping[int, Track]
    waits: Sequence[LockWait]
    messages: Sequence[Message]
    marks: Sequence[Mark]
    samples: Sequence[Sample]
    notes: Sequence[str]

    @property
    def has_time(self) -> bool:
        """What CPUs spent their time on is told."""
        return "time" in self.what

    @property
    def cpus(self) -> list[int]:
        """CPUs that are told, node by node."""
        return sorted(self.nodes, key=lambda cpu: (self.nodes[cpu], cpu))

    def leaves(self, cpu: int) -> Iterator[Leaf]:
        """What a CPU did, stretch by stretch."""
        track = self.tracks.get(cpu)
        return iter(()) if track is None else track.leaves(self.begin, self.end)

    def time_by_cause(self, cpu: int) -> dict[str, Time]:
        """What a CPU spent its time on: each frame's own time, without that of the frames in it."""
        spent: dict[str, Time] = {}
        for leaf in self.leaves(cpu):
            cause = leaf.path[-1].name
            spent[cause] = spent.get(cause, 0) + leaf.end - leaf.begin
        return spent

    def counted_otherwise(self) -> dict[str, dict[str, Time]]:
        """Where the table of time differs from the slices, by CPU and cause; nearly always nowhere.

        A wait that began before the interval and is divided when it ends: the table has counted its
        first part as waiting already, and counts all of the divided parts in the interval.
        """
        return {
            str(cpu): dict(sorted(track.named_later.items()))
            for cpu, track in sorted(self.tracks.items())
            if track.named_later
        }

    def waits_by_lock(self) -> dict[tuple[str, str], Time]:
        """What was waited for each row of the lock table, (name, type) to ps."""
        waited: dict[tuple[str, str], Time] = {}
        for wait in self.waits:
            row = wait.name, wait.type
            waited[row] = waited.get(row, 0) + wait.granted - wait.arrived
        return waited

    def events(self, cpu: int) -> Iterator[Event]:
        """Everything that is drawn on a CPU's own track, in order of time; frames nest.

        What happens at the moment at which a frame begins lies in that frame; but an answer is seen
        in the frame that ends with it, the wait.
        """
        arrows = self._flow_ends.get(cpu, [])
        answers = [arrow for arrow in arrows if arrow.is_answer]
        others = [arrow for arrow in arrows if not arrow.is_answer]
        marks = self._marks_of.get(cpu, [])
        return merge(answers, self._edges(cpu), marks, others, key=lambda event: event.at)

    @cached_property
    def _marks_of(self) -> dict[int, list[Mark]]:
        marks: dict[int, list[Mark]] = {}
        for mark in self.marks:
            marks.setdefault(mark.cpu, []).append(mark)
        return marks

    def waits_of(self, cpu: int) -> list[LockWait]:
        """What one CPU waited for."""
        return self._waits_of.get(cpu, [])

    @cached_property
    def _waits_of(self) -> dict[int, list[LockWait]]:
        waits: dict[int, list[LockWait]] = {}
        for wait in self.waits:
            waits.setdefault(wait.cpu, []).append(wait)
        return waits

    def _edges(self, cpu: int) -> Iterator[Edge | Mark]:
        seen: dict[int, int] = {}
        for edge in edges(self.leaves(cpu)):
            if self.has_time:
                yield edge
            if edge.opens and "instants" in self.what and _begins_fault(edge.frame, seen):
                yield Mark(edge.at, cpu, "page fault", "")

    @cached_property
    def _flow_ends(self) -> dict[int, list[FlowEnd]]:
        ends: dict[int, list[FlowEnd]] = {}
        for number, message in enumerate(self.messages, 1):
            sender, target, sent, started, ended, seen = message
            asks = f"to CPU {target}"
            answers = seen >= 0
            ends.setdefault(sender, []).append(FlowEnd(sent, "s", number, asks))
            ends.setdefault(target, []).append(
                FlowEnd(started, "t" if answers else "f", number, f"from CPU {sender}")
            )
            if answers:
                text = f"answer of CPU {target}, given at {ended} ps"
                ends[sender].append(FlowEnd(seen, "f", number, text, is_answer=True))
        for own in ends.values():
            own.sort()
        return ends

    def queue_lengths(self) -> Iterator[Sample]:
        """How many wait for each of the hottest locks, whenever that changes, lock by lock."""
        waited: dict[str, Time] = {}
        for wait in self.waits:
            waited[wait.lock] = waited.get(wait.lock, 0) + wait.granted - wait.arrived
        hottest = sorted(waited, key=lambda lock: (-waited[lock], lock))[:HOT_LOCKS]
        for lock in hottest:
            changes: dict[Time, int] = {}
            for wait in self.waits:
                if wait.lock == lock:
                    changes[wait.arrived] = changes.get(wait.arrived, 0) + 1
                    changes[wait.granted] = changes.get(wait.granted, 0) - 1
            length = 0
            for at in sorted(changes):
                if changes[at]:
                    length += changes[at]
                    yield Sample(at, f"waiting for {lock}", -1, length)

    def counters(self) -> list[Sample]:
        """All samples, counter by counter, each in order of time."""
        if "counters" not in self.what:
            return []
        return sorted((*self.samples, *self.queue_lengths()), key=lambda one: (one.node, one.name, one.at))

    @property
    def described(self) -> dict[str, object]:
        """What a file says about itself."""
        return {
            "study": self.study,
            "machine": self.machine,
            "profile": self.profile,
            "seed": self.seed,
            "begin_ps": self.begin,
            "end_ps": self.end,
            "recorded": list(self.what),
            "notes": list(self.notes),
            **({"counted_otherwise_ps": otherwise} if (otherwise := self.counted_otherwise()) else {}),
        }


def _begins_fault(frame: Frame, seen: dict[int, int]) -> bool:
    """A fault begins here, and does not only go on after its thread was away."""
    if frame.kind != OPERATION or frame.name != FAULT:
        return False
    serial, began = frame.key
    if seen.get(serial) == began:
        return False
    seen[serial] = began
    return True


def lanes(waits: Sequence[LockWait]) -> list[tuple[int, LockWait]]:
    """Waits of one CPU, each with the first lane in which it overlaps no other."""
    ends: list[Time] = []
    placed = []
    for wait in sorted(waits, key=lambda wait: (wait.arrived, wait.granted)):
        lane = next((lane for lane, end in enumerate(ends) if end <= wait.arrived), len(ends))
        ends[lane : lane + 1] = [wait.granted]
        placed.append((lane, wait))
    return placed
