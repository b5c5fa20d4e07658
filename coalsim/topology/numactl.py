"""``numactl -H`` text: nodes, their CPUs and sizes, and the distance table.

    available: 2 nodes (0-1)
    node 0 cpus: 0 1 4 5
    node 0 size: 65442 MB
    node distances:
    node   0   1
      0:  10  21

The text knows no sockets, cores or threads.  Two rules guess them, each with a
warning: nodes nearer than 16 to each other share a socket, if farther ones exist;
and if every node's CPUs come in runs of equal length, one core count apart, the runs
are the threads of the same cores (Linux's usual numbering).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from coalsim.errors import InputError, Problem
from coalsim.guarded import DEFAULT_MAX_INPUT, GuardedLines, clean
from coalsim.topology.assembly import Found, FoundNode, assembled
from coalsim.topology.check import MAX_CPUS, MAX_NODES
from coalsim.topology.machine import Machine
from coalsim.topology.placing import FoundCpu
from coalsim.units import MIB

NEAR = 15  # SLIT: nodes of one socket report 11 or 12, other sockets mostly 20 and more
MAX_PROBLEMS = 20  # a file this wrong is another file
_LINE = re.compile(
    r"available:\s+(?P<count>\d{1,6})\s+nodes?\b"
    r"|node\s+(?P<node>\d{1,6})\s+(?P<what>cpus|size|free):(?P<rest>.*)"
    r"|(?P<header>node\s+distances:)"
    r"|(?P<columns>node(?:\s+\d{1,6})+)\s*\Z"
    r"|(?P<row>\d{1,6}):(?P<values>(?:\s+\d{1,6})+)\s*\Z"
)
_SIZE = re.compile(r"\s*(\d{1,12})\s*(MB|kB|GB)\s*\Z")
_UNITS = {"kB": 1024, "MB": MIB, "GB": 1024 * MIB}


@dataclass
class _Listing:
    """What the lines said so far."""

    cpus: dict[int, list[int]] = field(default_factory=dict)  # node: CPUs
    sizes: dict[int, int] = field(default_factory=dict)
    columns: list[int] = field(default_factory=list)
    slit: dict[tuple[int, int], int] = field(default_factory=dict)
    announced: int | None = None
    problems: list[Problem] = field(default_factory=list)


def machine_from_numactl(path: Path, max_input: int = DEFAULT_MAX_INPUT) -> Machine:
    """The machine that `numactl -H` described, with assumed costs.

    Raises:
        InputError: not such a text, or a machine that cannot be; every mistake with its line.
    """
    listing = _read(path, max_input)
    if listing.problems:
        raise InputError(listing.problems)
    sockets, warnings = _sockets(listing)
    cores, guess = _cores(listing.cpus)
    cpus = [
        FoundCpu(os_index=cpu, node=node, socket=sockets[node], cluster=0, core=cores.get(cpu, ("cpu", cpu)))
        for node, cpus in listing.cpus.items()
        for cpu in cpus
    ]
    return assembled(
        Found(
            name=path.stem,
            title=f"imported from {path.name}",
            where=clean(str(path)),
            source=f"numactl -H text {clean(path.name)}",
            cpus=cpus,
            nodes=[
                FoundNode(
                    os_index=node, memory=size, socket=sockets.get(node) if listing.cpus.get(node) else None
                )
                for node, size in listing.sizes.items()
            ],
            slit=listing.slit,
            warnings=[*warnings, guess],
        )
    )


def _read(path: Path, max_input: int) -> _Listing:
    listing = _Listing()
    lines = GuardedLines(path, expect="numactl -H text", max_input=max_input)
    for number, line in lines:
        if found := _LINE.match(line.strip()):
            if not found["columns"] and not found["row"]:
                lines.recognised = True
            problem = _take(listing, found)
            if problem:
                listing.problems.append(_problem(path, number, line, *problem))
                if len(listing.problems) >= MAX_PROBLEMS:
                    break
    where = clean(str(path))
    if listing.announced is not None and listing.announced != len(listing.sizes):
        message = f"{listing.announced} nodes announced, but sizes of {len(listing.sizes)}"
        listing.problems.append(Problem(where=where, message=message, remedy="copy the whole output"))
    if not listing.sizes and not listing.problems:
        listing.problems.append(
            Problem(where=where, message="no node has a size", remedy="give the output of numactl -H")
        )
    return listing


def _problem(path: Path, number: int, line: str, message: str, remedy: str) -> Problem:
    value = clean(line.strip())[:60]
    return Problem(where=clean(str(path)), line=number, value=value, message=message, remedy=remedy)


def _take(listing: _Listing, found: re.Match[str]) -> tuple[str, str] | None:
    """Note one line; returns what is wrong with it and the remedy."""
    if found["count"]:
        listing.announced = int(found["count"])
    elif found["columns"]:
        listing.columns = [int(node) for node in found["columns"].split()[1:]]
        if len(listing.columns) > MAX_NODES:
            return f"more than {MAX_NODES} nodes", "numactl never prints so many"
    elif found["row"]:
        values = found["values"].split()
        if len(values) != len(listing.columns):
            return f"{len(values)} distances for {len(listing.columns)} nodes", "copy the whole table"
        row = int(found["row"])
        listing.slit.update({(row, node): int(v) for node, v in zip(listing.columns, values, strict=True)})
    elif found["what"] == "cpus":
        return _take_cpus(listing, int(found["node"]), found["rest"].split())
    elif found["what"] == "size":
        size = _SIZE.match(found["rest"])
        if not size:
            return "not a size", "write it like node 0 size: 65442 MB"
        listing.sizes[int(found["node"])] = int(size[1]) * _UNITS[size[2]]
    return None


def _take_cpus(listing: _Listing, node: int, words: Sequence[str]) -> tuple[str, str] | None:
    if not all(word.isascii() and word.isdigit() and len(word) <= 6 for word in words):
        return "not a list of CPUs", "write it like node 0 cpus: 0 1 2 3"
    if sum(map(len, listing.cpus.values())) + len(words) > MAX_CPUS:
        return f"more than {MAX_CPUS} CPUs", "check the file"
    listing.cpus[node] = [int(word) for word in words]
    listing.sizes.setdefault(node, 0)
    return None


def _sockets(listing: _Listing) -> tuple[Mapping[int, int], Iterator[str] | list[str]]:
    """A socket for each node, named by its first node."""
    others = [distance for (a, b), distance in listing.slit.items() if a != b]
    if not others or max(others) <= NEAR or min(others) > NEAR:
        return {node: node for node in listing.sizes}, [
            "sockets are not in the text: each node was taken for one"
        ]
    sockets: dict[int, int] = {}
    for node in sorted(listing.sizes):
        near = [other for other in sockets if listing.slit.get((node, other), 255) <= NEAR]
        sockets[node] = sockets[min(near)] if near else node
    text = f"sockets are not in the text: nodes at a distance up to {NEAR} were taken for one socket"
    return sockets, [text]


def _cores(by_node: Mapping[int, Sequence[int]]) -> tuple[Mapping[int, int], str]:
    """CPU to core, if the numbering shows threads; and what was guessed."""
    total = sum(len(cpus) for cpus in by_node.values())
    runs = {node: _runs(sorted(cpus)) for node, cpus in by_node.items() if cpus}
    threads = {len(found) for found in runs.values()}
    alone = "threads are not in the text: each CPU was taken for a core"
    if len(threads) != 1 or threads.isdisjoint((2, 4, 8)):
        return {}, alone
    (count,) = threads
    apart = total // count
    cores: dict[int, int] = {}
    for found in runs.values():
        first = found[0]
        for thread, run in enumerate(found):
            alike = len(run) == len(first) > 1 and run[0] == first[0] + thread * apart
            if not alike:  # runs of one CPU are nodes that take turns
                return {}, alone
            cores.update(zip(run, first, strict=True))
    return cores, f"threads are not in the text: CPUs {apart} apart were taken for threads of one core"


def _runs(cpus: Sequence[int]) -> list[list[int]]:
    """Maximal runs of successive numbers."""
    runs: list[list[int]] = []
    for cpu in cpus:
        if runs and cpu == runs[-1][-1] + 1:
            runs[-1].append(cpu)
        else:
            runs.append([cpu])
    return runs
