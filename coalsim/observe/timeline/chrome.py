"""Chrome trace JSON: opens in ui.perfetto.dev, chrome://tracing and speedscope.

    process = memory node, thread = CPU         B/E  what the CPU does, nested
    b/e  waits for locks (they may overlap)     s/t/f  arrows of interrupts: sent, handler, answer seen
    i    moments                                C      counters

Times are microseconds with six decimals, written from whole picoseconds: nothing is rounded.
Source: "Trace Event Format", the Chromium project.
"""

import json
from collections.abc import Iterator
from typing import IO

from coalsim.observe.timeline.facts import Edge, LockWait, Mark
from coalsim.observe.timeline.timeline import Timeline
from coalsim.units import US, Time

MACHINE_PID = 1_000_000
"""The process for what belongs to no node."""


def write_chrome(timeline: Timeline, out: IO[bytes]) -> None:
    """Write the whole file, event by event."""
    out.write(b'{"displayTimeUnit":"ns","traceEvents":[\n')
    first = True
    for event in _events(timeline):
        out.write((b"" if first else b",\n") + event.encode())
        first = False
    about = json.dumps(timeline.described, sort_keys=True)
    out.write(b'\n],"otherData":' + about.encode() + b"}\n")


def microseconds(ps: Time) -> str:
    """Exact microseconds."""
    whole, rest = divmod(ps, US)
    return f"{whole}.{rest:06d}"


def _event(phase: str, place: tuple[int, int], at: Time, name: str, more: str = "") -> str:
    pid, tid = place
    return (
        f'{{"ph":"{phase}","pid":{pid},"tid":{tid},"ts":{microseconds(at)},"name":{json.dumps(name)}{more}}}'
    )


def _args(**values: object) -> str:
    return f',"args":{json.dumps(values)}'


def _events(timeline: Timeline) -> Iterator[str]:
    yield from _names(timeline)
    for cpu in timeline.cpus:
        yield from _on_cpu(timeline, cpu)
    for number, wait in enumerate(timeline.waits, 1):
        yield from _wait(wait, number, (timeline.nodes[wait.cpu], wait.cpu))
    for mark in timeline.marks:
        if mark.cpu < 0:
            yield _event("i", (MACHINE_PID, 0), mark.at, mark.name, ',"s":"g"' + _args(text=mark.text))
    for sample in timeline.counters():
        pid = sample.node if sample.node >= 0 else MACHINE_PID
        yield _event("C", (pid, 0), sample.at, sample.name, _args(value=sample.value))


def _names(timeline: Timeline) -> Iterator[str]:
    def named(kind: str, place: tuple[int, int], **values: object) -> str:
        return _event("M", place, 0, kind, _args(**values))

    for node in sorted(dict.fromkeys(timeline.nodes.values())):
        yield named("process_name", (node, 0), name=f"node {node}")
        yield named("process_sort_index", (node, 0), sort_index=node)
    yield named("process_name", (MACHINE_PID, 0), name="machine")
    yield named("process_sort_index", (MACHINE_PID, 0), sort_index=MACHINE_PID)
    for cpu in timeline.cpus:
        place = timeline.nodes[cpu], cpu
        yield named("thread_name", place, name=f"CPU {cpu}")
        yield named("thread_sort_index", place, sort_index=cpu)


def _on_cpu(timeline: Timeline, cpu: int) -> Iterator[str]:
    place = timeline.nodes[cpu], cpu
    for event in timeline.events(cpu):
        if isinstance(event, Edge):
            frame = event.frame
            yield _event("B" if event.opens else "E", place, event.at, frame.name, f',"cat":"{frame.kind}"')
        elif isinstance(event, Mark):
            yield _event("i", place, event.at, event.name, ',"s":"t"' + _args(text=event.text))
        else:
            binds = ',"bp":"e"' if event.step == "f" else ""
            more = f',"cat":"ipi","id":{event.number}{binds}' + _args(text=event.text)
            yield _event(event.step, place, event.at, "ipi", more)


def _wait(wait: LockWait, number: int, place: tuple[int, int]) -> Iterator[str]:
    identity = f',"cat":"lock","id":{number}'
    args = _args(
        type=wait.type,
        lock=wait.lock,
        site=wait.site,
        behind=wait.behind,
        wait_ps=wait.granted - wait.arrived,
        released_ps=wait.released,
    )
    yield _event("b", place, wait.arrived, wait.name, identity + args)
    yield _event("e", place, wait.granted, wait.name, identity)
