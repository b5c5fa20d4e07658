"""A plain event log: one line for each thing that happens, all CPUs together in order of time.

1234.567 ns  cpu3    +34.000 ns  munmap > shootdown > shootdown:flight
"""

from collections.abc import Iterator
from heapq import merge
from operator import itemgetter
from typing import IO, TypeAlias

from coalsim.guarded import clean
from coalsim.observe.timeline.facts import LockWait, Mark
from coalsim.observe.timeline.speedscope import nanoseconds
from coalsim.observe.timeline.timeline import FlowEnd, Timeline
from coalsim.units import Time

_Line: TypeAlias = tuple[Time, int, str]


def write_text(timeline: Timeline, out: IO[bytes]) -> None:
    """Write what the file is about, then the log."""
    for key, value in timeline.described.items():
        values = value if isinstance(value, list) else [value]
        out.writelines(f"# {key}: {clean(str(one))}\n".encode() for one in values)
    sources = [_cpu(timeline, cpu) for cpu in timeline.cpus]
    sources.append(_wait(wait) for wait in timeline.waits)
    everywhere = [mark for mark in timeline.marks if mark.cpu < 0]
    sources.append((mark.at, -1, f"! {mark.name}: {mark.text}") for mark in everywhere)
    counters = sorted(timeline.counters(), key=lambda sample: sample.at)
    sources.append(
        (one.at, -1, f"= {one.name}{f' of node {one.node}' if one.node >= 0 else ''}: {one.value}")
        for one in counters
    )
    for at, cpu, text in merge(*sources, key=itemgetter(0)):
        who = f"cpu{cpu}" if cpu >= 0 else "-"
        out.write(f"{nanoseconds(at):>18} ns  {who:<7} {clean(text)}\n".encode())


def _cpu(timeline: Timeline, cpu: int) -> Iterator[_Line]:
    return merge(_spent(timeline, cpu), _moments(timeline, cpu), key=itemgetter(0))


def _spent(timeline: Timeline, cpu: int) -> Iterator[_Line]:
    if timeline.has_time:
        for leaf in timeline.leaves(cpu):
            path = " > ".join(frame.name for frame in leaf.path)
            yield leaf.begin, cpu, f"+{nanoseconds(leaf.end - leaf.begin)} ns  {path}"


def _moments(timeline: Timeline, cpu: int) -> Iterator[_Line]:
    for event in timeline.events(cpu):
        if isinstance(event, FlowEnd):
            yield event.at, cpu, f"~ ipi {event.number} {event.text}"
        elif isinstance(event, Mark):
            yield event.at, cpu, f"! {event.name}" + (f": {event.text}" if event.text else "")


def _wait(wait: LockWait) -> _Line:
    behind = f" behind {wait.behind}" if wait.behind else ""
    text = (
        f"? waits {nanoseconds(wait.granted - wait.arrived)} ns for {wait.name} ({wait.type} {wait.lock}) "
        f"at {wait.site}{behind}"
    )
    return wait.arrived, wait.cpu, text
