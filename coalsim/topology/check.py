"""Whether a machine can exist: every mistake in it, not only the first.

Called when a `Machine` is built, so that nothing above ever sees a crooked one.
The limits are generous on purpose: they keep out slips (a latency in seconds, a
negative size), not unusual machines.
"""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from coalsim.errors import Problem
from coalsim.provenance import Sourced
from coalsim.topology.distance import UNREACHABLE, socket_hops
from coalsim.topology.interrupts import interrupt_problems
from coalsim.topology.mmu import TIMES, mmu_problems
from coalsim.units import PAGE_SIZE, SEC, TIB

if TYPE_CHECKING:
    from coalsim.topology.machine import Machine

MAX_CPUS = 8192  # the most that Linux can be built for on x86-64 (NR_CPUS)
MAX_NODES = 1024  # Linux: MAX_NUMNODES with NODES_SHIFT 10
MAX_MEMORY = 4096 * TIB  # 52 bits of physical address


def machine_problems(machine: "Machine") -> list[Problem]:
    """All mistakes; what rests on the layout is looked at once the layout holds."""
    problems = list(_layout(machine))
    return problems or list(_matrices(machine)) or [*_numbers(machine), *_classes(machine)]


def size_problem(cpus: int, nodes: int, where: str, line: int = 0) -> Problem | None:
    """Importers ask before they build something enormous."""
    if cpus > MAX_CPUS:
        return Problem(
            where=where, line=line, message=f"{cpus} CPUs are too many", remedy=f"use at most {MAX_CPUS}"
        )
    if nodes > MAX_NODES:
        return Problem(
            where=where, line=line, message=f"{nodes} nodes are too many", remedy=f"use at most {MAX_NODES}"
        )
    return None


def _layout(machine: "Machine") -> Iterator[Problem]:
    where = machine.name
    if not machine.cpus:
        yield Problem(where=where, message="a machine without CPUs", remedy="give it at least one CPU")
    if not machine.nodes:
        yield Problem(where=where, message="a machine without memory nodes", remedy="give it at least one")
    if too_big := size_problem(len(machine.cpus), len(machine.nodes), where):
        yield too_big
    for node in machine.nodes:
        if node.memory < 0:
            yield Problem(
                where=where,
                key=f"node.{node.node}.memory",
                value=str(node.memory),
                message="a negative size",
                remedy="give 0 or more bytes",
            )
        elif node.memory > MAX_MEMORY or node.memory % PAGE_SIZE:
            yield Problem(
                where=where,
                key=f"node.{node.node}.memory",
                value=str(node.memory),
                message="not a size that a node can have",
                remedy="give whole 4 KiB pages, 4 PiB at most",
            )
    if machine.nodes and all(node.memory == 0 for node in machine.nodes):
        yield Problem(where=where, message="a machine without memory", remedy="give at least one node some")
    yield from _ids(machine)


def _ids(machine: "Machine") -> Iterator[Problem]:
    dense: dict[str, list[int]] = {
        "CPU": [int(place.cpu) for place in machine.cpus],
        "node": [int(node.node) for node in machine.nodes],
    }
    spread = {
        "socket": _sockets(machine),
        "cluster": [place.cluster for place in machine.cpus],
        "core": [place.core for place in machine.cpus],
    }
    for what, found in dense.items():
        if list(range(len(found))) != found:
            yield _gap(machine, what)
    for what, numbers in spread.items():
        if any(number != i for i, number in enumerate(sorted(dict.fromkeys(numbers)))):
            yield _gap(machine, what)
    for place in machine.cpus:
        if not 0 <= place.node < len(machine.nodes):
            yield Problem(
                where=machine.name,
                message=f"CPU {place.cpu} is in node {place.node}, which does not exist",
                remedy="name one of its nodes",
            )
    yield from _containment(machine)


def _sockets(machine: "Machine") -> list[int]:
    return [place.socket for place in machine.cpus] + [node.socket for node in machine.nodes]


def _gap(machine: "Machine", what: str) -> Problem:
    return Problem(
        where=machine.name,
        message=f"{what} numbers have gaps or repeat",
        remedy=f"number every {what} from 0 up",
    )


def _containment(machine: "Machine") -> Iterator[Problem]:
    """A core lies in one cluster and a cluster in one socket."""
    of_core: dict[int, int] = {}
    of_cluster: dict[int, int] = {}
    for place in machine.cpus:
        if of_core.setdefault(place.core, place.cluster) != place.cluster:
            yield Problem(
                where=machine.name,
                message=f"core {place.core} lies in two clusters",
                remedy="put all its threads in one",
            )
        if of_cluster.setdefault(place.cluster, place.socket) != place.socket:
            yield Problem(
                where=machine.name,
                message=f"cluster {place.cluster} lies in two sockets",
                remedy="give each socket clusters of its own",
            )


def _matrices(machine: "Machine") -> Iterator[Problem]:
    nodes = len(machine.nodes)
    shapes = {"dram": [len(row) for row in machine.dram]}
    if machine.slit:
        shapes["slit"] = [len(row) for row in machine.slit.rows]
    for name, widths in shapes.items():
        if widths != [nodes] * nodes:
            yield Problem(
                where=machine.name,
                key=name,
                message=f"the matrix is not {nodes} x {nodes}",
                remedy="give one row and one column for each node",
            )
    sockets = 1 + max(_sockets(machine))
    for a, b in machine.links:
        if not (0 <= a < sockets and 0 <= b < sockets and a != b):
            yield Problem(
                where=machine.name,
                key="links",
                value=f"{a}-{b}",
                message="no such pair of sockets",
                remedy=f"name two different sockets from 0 to {sockets - 1}",
            )
            return
    for there, hops in enumerate(socket_hops(sockets, machine.links)[0]):
        if hops == UNREACHABLE:
            yield Problem(
                where=machine.name,
                key="links",
                message=f"no way leads from socket 0 to socket {there}",
                remedy="add a link",
            )


def _numbers(machine: "Machine") -> Iterator[Problem]:
    clock = machine.clock_ghz
    if clock.unit != "GHz" or not Decimal("0.001") <= clock.value <= 1000:
        yield _unfit(machine, "clock_ghz", clock, "give a clock from 0.001 to 1000 GHz")
        return  # cycles mean nothing without it
    free = ("line_transfer.self", "line_occupancy.self", "ipi_send")  # these cross nothing
    good: dict[int, None] = {}  # many cells of a large matrix are one object
    for problem in mmu_problems(machine.mmu, clock.value):
        yield replace(problem, where=machine.name)
    for problem in interrupt_problems(machine.ipi, machine.guest, clock.value):
        yield replace(problem, where=machine.name)
    for key, number in machine.parameters():
        if key.startswith(("layout.", "mmu.", "guest.")) or key.endswith(".memory") or key == "clock_ghz":
            continue  # looked at elsewhere
        if id(number) in good:
            continue
        if key.endswith("bandwidth"):
            if number.unit != "GB/s" or not 0 < number.value <= 1_000_000:
                yield _unfit(machine, key, number, "give a bandwidth above 0 in GB/s")
        elif number.unit not in TIMES:
            yield _unfit(machine, key, number, f"give a time in {', '.join(TIMES)}")
        elif not number.value.is_finite() or number.value > SEC or number.picoseconds(clock.value) > SEC:
            yield _unfit(machine, key, number, "give less than a second")
        elif number.picoseconds(clock.value) < (0 if key in free else 1):
            yield _unfit(machine, key, number, "nothing crosses in no time: give at least 1 ps")
        elif key not in free:
            good[id(number)] = None


def _unfit(machine: "Machine", key: str, number: Sourced, remedy: str) -> Problem:
    return Problem(
        where=machine.name,
        key=key,
        value=f"{number.value} {number.unit}",
        message="not a cost that a machine can have",
        remedy=remedy,
    )


def _classes(machine: "Machine") -> Iterator[Problem]:
    for name, table in machine.tables().items():
        for distance in machine.distances():
            if distance not in table:
                yield Problem(
                    where=machine.name,
                    key=f"{name}.{distance.key}",
                    message="missing, though such pairs of CPUs exist",
                    remedy="give value, unit, source and status",
                )
