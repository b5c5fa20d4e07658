"""The state of a machine just before and just after a recording.

A snapshot file holds texts of /proc, each under a line `==== /proc/zoneinfo (before)`.  This file
cuts it into sections; `procfs` reads each of them.  The two pictures bracket the recording, so they
also hold what else the machine did around it.

Invariant: a section that is missing reads as empty; one that is damaged is an InputError that names
each damaged line.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

from coalsim.errors import InputError, Problem
from coalsim.guarded import GuardedLines, clean
from coalsim.units import MIB
from coalsim.workloads.trace.procfs import (
    CacheRow,
    Damage,
    Lines,
    Place,
    Zone,
    parse_buddyinfo,
    parse_interrupts,
    parse_pagetypeinfo,
    parse_slabinfo,
    parse_vmstat,
    parse_zoneinfo,
)

MAX_SNAPSHOT = 64 * MIB
MAX_PROBLEMS = 20
_SECTION = re.compile(r"==== /proc/(\w{1,64}) \((before|after)\)\s*\Z")


@dataclass(frozen=True, kw_only=True)
class MemoryPicture:
    """The memory of a machine at one moment."""

    zones: tuple[Zone, ...]
    caches: tuple[CacheRow, ...]
    vmstat: dict[str, int]
    interrupts: dict[str, tuple[int, ...]]  # row name (`TLB`, `CAL`, `24`) to counts by CPU


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Both pictures; one whose sections are all missing is empty."""

    before: MemoryPicture
    after: MemoryPicture


def read_snapshot(path: str | PathLike[str], max_input: int = MAX_SNAPSHOT) -> Snapshot:
    """Read a snapshot file, plain or gzip.

    Raises:
        InputError: missing, not a snapshot, too large, or with damaged lines (all of them, up to
            `MAX_PROBLEMS`).
    """
    limit = min(max_input, MAX_SNAPSHOT)
    sections = _sections(GuardedLines(path, expect="snapshot text (`==== /proc/...`)", max_input=limit))
    damage: list[Damage] = []
    snapshot = Snapshot(
        before=_picture(sections, "before", damage), after=_picture(sections, "after", damage)
    )
    if damage:
        where = clean(str(Path(path)))
        raise InputError([_problem(where, one) for one in sorted(damage)[:MAX_PROBLEMS]])
    return snapshot


def _sections(lines: GuardedLines) -> dict[tuple[str, str], Lines]:
    """Numbered lines by file name and moment."""
    sections: dict[tuple[str, str], Lines] = {}
    current: Lines = []
    for number, line in lines:
        if found := _SECTION.match(line):
            lines.recognised = True
            current = sections.setdefault((found[1], found[2]), [])
        elif line.strip():
            current.append((number, line))
    return sections


def _picture(sections: dict[tuple[str, str], Lines], moment: str, damage: list[Damage]) -> MemoryPicture:
    def section(name: str) -> Lines:
        return sections.get((name, moment), [])

    zones = parse_zoneinfo(section("zoneinfo"), damage)
    free = parse_buddyinfo(section("buddyinfo"), damage)
    by_type = parse_pagetypeinfo(section("pagetypeinfo"), damage)
    return MemoryPicture(
        zones=tuple(_with_blocks(zones, free, by_type)),
        caches=parse_slabinfo(section("slabinfo"), damage),
        vmstat=parse_vmstat(section("vmstat"), damage),
        interrupts=parse_interrupts(section("interrupts"), damage),
    )


def _with_blocks(
    zones: list[Zone],
    free: dict[Place, tuple[int, ...]],
    by_type: dict[Place, dict[str, tuple[int, ...]]],
) -> Iterator[Zone]:
    """Zones in the order of zoneinfo; without it, those that buddyinfo names."""
    for zone in zones or [Zone(node, name) for node, name in free]:
        place = (zone.node, zone.name)
        yield replace(zone, free_blocks=free.get(place, ()), free_by_type=by_type.get(place, {}))


def _problem(where: str, damage: Damage) -> Problem:
    return Problem(
        where=where,
        line=damage.line,
        key=damage.section,
        value=damage.text,
        message="not a line of this section",
        remedy="record the snapshot again, or delete the line",
    )
