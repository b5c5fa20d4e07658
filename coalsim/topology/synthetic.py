"""hwloc synthetic strings: ``pack:2 numa:2 l3:1 core:2 pu:2``.

Levels go from the outside in, each a type and how many of it each object of the
level above has.  `pu` ends the list.  Memory stands as a level (``numa:2``) or, as
in newer hwloc, as a child in brackets: ``pack:2 [numa(memory=4GB)] core:8 pu:2``.
PUs are numbered depth first, as hwloc does.

Clusters are the innermost shared L3, else dies, else groups.
Source: hwloc documentation, "Synthetic topologies".
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from coalsim.errors import ConfigError, Problem
from coalsim.guarded import clean
from coalsim.topology.assembly import Found, FoundNode, assembled
from coalsim.topology.check import MAX_CPUS, MAX_NODES
from coalsim.topology.machine import Machine
from coalsim.topology.placing import FoundCpu
from coalsim.units import GIB, parse_size

TYPES = {
    "machine": "machine",
    "pack": "pack",
    "package": "pack",
    "socket": "pack",
    "sock": "pack",
    "die": "die",
    "group": "group",
    "numa": "numa",
    "numanode": "numa",
    "node": "numa",
    "l5": "cache",
    "l4": "cache",
    "l3": "l3",
    "l2": "cache",
    "l1": "cache",
    "core": "core",
    "pu": "pu",
}
CLUSTERS = ("l3", "die", "group")  # what makes a cluster, the best first
DEFAULT_MEMORY = GIB  # of a node whose size is not given: what hwloc assumes
MAX_TEXT = 1000
_LEVEL = re.compile(
    r"\s*(?:(?P<open>\[)\s*(?P<child>[A-Za-z]+)\s*(?:\((?P<child_attributes>[^()]*)\))?\s*\]"
    r"|(?P<type>[A-Za-z]+[0-9]?)(?:[di]?(?:cache)?)?:(?P<count>[0-9]{1,6})(?:\((?P<attributes>[^()]*)\))?)(?=\s|\Z)",
    re.IGNORECASE,
)
_LOOKS_LIKE = re.compile(r"\s*[A-Za-z][A-Za-z0-9]*:")


def is_synthetic(text: str) -> bool:
    """Whether a machine's name is a synthetic string rather than a name or a path."""
    return bool(_LOOKS_LIKE.match(text))


@dataclass(frozen=True, kw_only=True)
class _Level:
    kind: str
    count: int
    memory: int = DEFAULT_MEMORY


def machine_from_synthetic(text: str) -> Machine:
    """The machine that a synthetic string describes, with assumed costs.

    Raises:
        ConfigError: it is not such a string, or a machine that cannot be.
    """
    return assembled(_found(text, _levels(text)))


def _levels(text: str) -> list[_Level]:
    if len(text) > MAX_TEXT:
        raise _refuse(text[:40] + "...", "a synthetic string this long", f"use at most {MAX_TEXT} characters")
    levels: list[_Level] = []
    at = 0
    while text[at:].strip():
        found = _LEVEL.match(text, at)
        if not found:
            raise _refuse(text, f"{clean(text[at:].split()[0])!r} is not a level", "write levels like core:4")
        word = (found["child"] or found["type"]).lower()
        if word not in TYPES:
            raise _refuse(text, f"{word!r} is no level", f"use {', '.join(TYPES)}")
        attributes = found["child_attributes"] or found["attributes"] or ""
        levels.append(
            _Level(kind=TYPES[word], count=int(found["count"] or 1), memory=_memory(text, attributes))
        )
        at = found.end()
    _check(text, levels)
    return levels


def _memory(text: str, attributes: str) -> int:
    """`memory=` among a level's attributes; cache sizes mean nothing here."""
    for attribute in attributes.split():
        key, _, value = attribute.partition("=")
        if key == "memory":
            try:
                return parse_size(value)
            except ValueError as refusal:
                message, _, remedy = str(refusal).partition("; ")
                raise _refuse(text, message, remedy or "write it like memory=4GiB") from None
        if key != "size":
            raise _refuse(text, f"{clean(key)!r} is not an attribute that is known", "use memory= or size=")
    return DEFAULT_MEMORY


def _check(text: str, levels: list[_Level]) -> None:
    kinds = [level.kind for level in levels]
    problems = []
    if not kinds or kinds[-1] != "pu" or kinds.count("pu") != 1:
        problems.append(("it does not end in one pu level", "end it with pu:1, or pu:2 for two threads"))
    problems += [
        (f"{kind} is there {kinds.count(kind)} times", "name it once")
        for kind in ("machine", "pack", "core", "numa", "l3", "die")
        if kinds.count(kind) > 1
    ]
    if any(level.count == 0 for level in levels):
        problems.append(("a level of none", "give every level at least one"))
    if prod(level.count for level in levels) > MAX_CPUS:
        problems.append((f"more than {MAX_CPUS} CPUs", "make it smaller"))
    outer = kinds[: kinds.index("pack")] if "pack" in kinds else []
    if any(kind in ("core", "l3", "die") for kind in outer):
        problems.append(("a package inside its own parts", "name pack before die, l3 and core"))
    if problems:
        raise ConfigError([_problem(text, message, remedy) for message, remedy in problems])
    if _nodes_above(levels) > MAX_NODES:
        raise _refuse(text, f"more than {MAX_NODES} nodes", "make it smaller")


def _nodes_above(levels: list[_Level]) -> int:
    kinds = [level.kind for level in levels]
    depth = kinds.index("numa") if "numa" in kinds else -1
    return prod(level.count for level in levels[: depth + 1])


def _found(text: str, levels: list[_Level]) -> Found:
    """Every PU by its path: one index per level."""
    kinds = [level.kind for level in levels]
    cluster = next((kind for kind in CLUSTERS if kind in kinds), "pack")
    depth = {
        kind: kinds.index(kind) + 1 if kind in kinds else 0 for kind in ("pack", "numa", "core", cluster)
    }
    nodes: dict[tuple[int, ...], int] = {}
    sockets: dict[int, tuple[int, ...]] = {}
    cpus = []
    for pu, path in enumerate(_paths(levels)):
        node = nodes.setdefault(path[: depth["numa"]], len(nodes))
        socket = path[: depth["pack"]]
        sockets.setdefault(node, socket)
        cpus.append(
            FoundCpu(
                os_index=pu,
                node=node,
                socket=socket,
                cluster=path[: depth[cluster]],
                core=path[: depth["core"]] if depth["core"] else path,
            )
        )
    memory = next((level.memory for level in levels if level.kind == "numa"), DEFAULT_MEMORY)
    plain = " ".join(clean(text).split())
    return Found(
        name="synthetic",
        title=plain,
        where=plain,
        source=f"hwloc synthetic string {plain!r}",
        status="assumed",  # somebody made it up
        cpus=cpus,
        nodes=[FoundNode(os_index=node, memory=memory, socket=socket) for node, socket in sockets.items()],
    )


def _paths(levels: list[_Level]) -> Iterator[tuple[int, ...]]:
    """All PUs, depth first, each as the index taken at every level."""
    path = [0] * len(levels)
    for _ in range(prod(level.count for level in levels)):
        yield tuple(path)
        for depth in reversed(range(len(levels))):
            path[depth] += 1
            if path[depth] < levels[depth].count:
                break
            path[depth] = 0


def _problem(text: str, message: str, remedy: str) -> Problem:
    return Problem(
        where="synthetic machine", value=" ".join(clean(text).split()), message=message, remedy=remedy
    )


def _refuse(text: str, message: str, remedy: str) -> ConfigError:
    return ConfigError([_problem(text, message, remedy)])
