"""speedscope JSON: a profile of begins and ends for each CPU, and one of all stacks with their weights.

Times are ns with three decimals, written from whole picoseconds.
Source: the file format of speedscope (file-format-spec.ts, Jamie Wong).
"""

import json
from collections.abc import Iterator, Mapping
from typing import IO

from coalsim.observe.timeline.facts import edges
from coalsim.observe.timeline.folded import stacks
from coalsim.observe.timeline.timeline import Timeline
from coalsim.units import NS, Time

SCHEMA = "https://www.speedscope.app/file-format-schema.json"


def nanoseconds(ps: Time) -> str:
    """Exact nanoseconds."""
    whole, rest = divmod(ps, NS)
    return f"{whole}.{rest:03d}"


def write_speedscope(timeline: Timeline, out: IO[bytes]) -> None:
    """Write the whole file, profile by profile."""
    weighed = sorted(stacks(timeline).items())
    frames: dict[str, int] = {}
    for stack, _ in weighed:
        for name in stack:
            frames.setdefault(name, len(frames))

    def write(text: str) -> None:
        out.write(text.encode())

    write(f'{{"$schema":"{SCHEMA}","exporter":"coalsim","activeProfileIndex":0,')
    write(f'"name":{json.dumps(_title(timeline))},')
    write(f'"shared":{{"frames":{json.dumps([{"name": name} for name in frames])}}},"profiles":[\n')
    for cpu in timeline.cpus:
        for text in _evented(timeline, cpu, frames):
            write(text)
    samples = json.dumps([[frames[name] for name in stack] for stack, _ in weighed])
    weights = ",".join(nanoseconds(time) for _, time in weighed)
    total = nanoseconds(sum(time for _, time in weighed))
    write('{"type":"sampled","name":"all CPUs","unit":"nanoseconds","startValue":0,')
    write(f'"endValue":{total},"samples":{samples},"weights":[{weights}]}}\n')
    write("]}\n")


def _title(timeline: Timeline) -> str:
    return " - ".join((f"{timeline.study} on {timeline.machine}", *timeline.notes))


def _evented(timeline: Timeline, cpu: int, frames: Mapping[str, int]) -> Iterator[str]:
    begin, end = nanoseconds(timeline.begin), nanoseconds(timeline.end)
    yield f'{{"type":"evented","name":"CPU {cpu} (node {timeline.nodes[cpu]})","unit":"nanoseconds",'
    yield f'"startValue":{begin},"endValue":{end},"events":['
    comma = ""
    for edge in edges(timeline.leaves(cpu)):
        kind = "O" if edge.opens else "C"
        yield f'{comma}{{"type":"{kind}","frame":{frames[edge.frame.name]},"at":{nanoseconds(edge.at)}}}'
        comma = ",\n"
    yield "]},\n"
