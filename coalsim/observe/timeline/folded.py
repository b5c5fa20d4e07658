"""Folded stacks: `node0;cpu3;munmap;shootdown;shootdown:flight 1234`, for flame graph tools.

One line for each stack, weighted with the whole ns spent in it; stacks of less than half a ns are
left out.  Source: Brendan Gregg, FlameGraph (stackcollapse).
"""

from typing import IO

from coalsim.guarded import clean
from coalsim.observe.timeline.timeline import Timeline
from coalsim.units import NS, Time


def stacks(timeline: Timeline) -> dict[tuple[str, ...], Time]:
    """Time in ps of each stack, by its names from the root."""
    found: dict[tuple[str, ...], Time] = {}
    for cpu in timeline.cpus:
        root = f"node{timeline.nodes[cpu]}", f"cpu{cpu}"
        for leaf in timeline.leaves(cpu):
            stack = (*root, *(frame.name for frame in leaf.path))
            found[stack] = found.get(stack, 0) + leaf.end - leaf.begin
    return found


def write_folded(timeline: Timeline, out: IO[bytes]) -> None:
    """Write all stacks, sorted."""
    for stack, time in sorted(stacks(timeline).items()):
        if weight := (time + NS // 2) // NS:
            out.write(f"{';'.join(map(_frame, stack))} {weight}\n".encode())


def _frame(name: str) -> str:
    """A name without the two marks that the format uses itself."""
    return clean(name).replace(";", ",").replace(" ", "_")
