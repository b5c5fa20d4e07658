"""The texts of /proc that describe memory: zoneinfo, buddyinfo, pagetypeinfo, slabinfo, vmstat, interrupts.

Each parser takes numbered lines and a list for the damage that it finds; it reads what it can and
never raises.  Fields that a kernel does not print keep their default.

Invariant: a line is read, or is known to be of no interest, or is in the damage.
Source: mm/vmstat.c, mm/slab_common.c and fs/proc/interrupts.c of the Linux kernel.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from coalsim.guarded import clean

Lines: TypeAlias = list[tuple[int, str]]
Place: TypeAlias = tuple[int, str]
"""Node and name of a zone."""

MAX_DAMAGE = 1_000
_SHOWN = 80
_DIGITS = r"\d{1,20}"
_ZONE = re.compile(r"Node +(\d{1,9}), zone +(\w{1,32})(.*)\Z", re.ASCII)
_TYPE = re.compile(r", type +(\w{1,32})(.*)\Z", re.ASCII)
_NUMBER = re.compile(rf" *(?:pages )?(\w{{1,64}}):? +({_DIGITS})\Z", re.ASCII)
_CPU = re.compile(r" +cpu: (\d{1,9})\Z", re.ASCII)
_CACHE = re.compile(
    rf"(\S.{{0,127}}?) +({_DIGITS}) +({_DIGITS}) +({_DIGITS}) +({_DIGITS}) +({_DIGITS}) : tunables .*"
    rf": slabdata +({_DIGITS}) +({_DIGITS}) +{_DIGITS}\s*\Z",
    re.ASCII,
)
_VMSTAT = re.compile(r"(\w{1,64}) (-?\d{1,20})\s*\Z", re.ASCII)
_INTERRUPT = re.compile(r" *([\w-]{1,32}): *((?:\d{1,20} *)+)", re.ASCII)


class Damage(NamedTuple):
    """A line that could not be read; the text is cleaned and cut."""

    line: int
    section: str
    text: str


@dataclass(frozen=True, slots=True)
class PageSet:
    """The per-CPU page list of one zone and CPU."""

    cpu: int
    count: int = 0
    high: int = 0
    batch: int = 0
    high_min: int = 0  # since 6.7
    high_max: int = 0  # since 6.7


@dataclass(frozen=True, slots=True)
class Zone:
    """One zone; sizes and marks in frames."""

    node: int
    name: str
    start_pfn: int = 0
    spanned: int = 0
    present: int = 0
    managed: int = 0
    free: int = 0
    cma: int = 0
    boost: int = 0
    min: int = 0
    low: int = 0
    high: int = 0
    promo: int = 0
    pagesets: tuple[PageSet, ...] = ()
    free_blocks: tuple[int, ...] = ()  # by order, from buddyinfo
    free_by_type: dict[str, tuple[int, ...]] = field(default_factory=dict)  # by migrate type


@dataclass(frozen=True, slots=True)
class CacheRow:
    """One slab cache of slabinfo."""

    name: str
    active_objects: int
    objects: int
    object_size: int  # bytes
    objects_per_slab: int
    pages_per_slab: int
    active_slabs: int
    slabs: int


_ZONE_NUMBERS = (
    *("start_pfn", "spanned", "present", "managed", "free", "cma"),
    *("boost", "min", "low", "high", "promo"),
)
_PAGESET_NUMBERS = ("count", "high", "batch", "high_min", "high_max")


def parse_zoneinfo(lines: Lines, damage: list[Damage]) -> list[Zone]:
    """All zones in their order, empty ones too."""
    zones: list[Zone] = []
    numbers: dict[str, int] = {}
    pagesets: dict[int, dict[str, int]] = {}
    place: Place | None = None
    cpu: dict[str, int] | None = None  # of the per-CPU list that is being read
    for number, line in lines:
        if found := _ZONE.match(line):
            if place:
                zones.append(_zone(place, numbers, pagesets))
            place, numbers, pagesets, cpu = (int(found[1]), found[2]), {}, {}, None
        elif place and (found := _CPU.match(line)):
            cpu = pagesets.setdefault(int(found[1]), {})
        elif place and (found := _NUMBER.match(line)):
            name, value = found[1], int(found[2])
            if cpu is not None and name in _PAGESET_NUMBERS:
                cpu[name] = value
            elif name in _ZONE_NUMBERS:
                numbers.setdefault(name, value)
        elif not place or _names_a_number(line):
            _note(damage, number, "zoneinfo", line)
    if place:
        zones.append(_zone(place, numbers, pagesets))
    return zones


def _zone(place: Place, numbers: dict[str, int], pagesets: dict[int, dict[str, int]]) -> Zone:
    node, name = place
    start, spanned, present, managed, free, cma, boost, low_min, low, high, promo = (
        numbers.get(number, 0) for number in _ZONE_NUMBERS
    )
    return Zone(
        node=node,
        name=name,
        start_pfn=start,
        spanned=spanned,
        present=present,
        managed=managed,
        free=free,
        cma=cma,
        boost=boost,
        min=low_min,
        low=low,
        high=high,
        promo=promo,
        pagesets=tuple(PageSet(cpu, **found) for cpu, found in pagesets.items()),
    )


def _names_a_number(line: str) -> bool:
    """Whether a line that did not read as a number should have."""
    name, *_ = line.strip().removeprefix("pages ").replace(":", " ").split() or [""]
    return name in _ZONE_NUMBERS or name in _PAGESET_NUMBERS


def parse_buddyinfo(lines: Lines, damage: list[Damage]) -> dict[Place, tuple[int, ...]]:
    """Free blocks by order, for each zone."""
    free: dict[Place, tuple[int, ...]] = {}
    for number, line in lines:
        zone = _ZONE.match(line)
        counts = _counts(zone[3]) if zone else None
        if zone and counts:
            free[int(zone[1]), zone[2]] = counts
        else:
            _note(damage, number, "buddyinfo", line)
    return free


def parse_pagetypeinfo(lines: Lines, damage: list[Damage]) -> dict[Place, dict[str, tuple[int, ...]]]:
    """Free blocks by order, for each zone and migrate type; `>100000` is read as 100000."""
    free: dict[Place, dict[str, tuple[int, ...]]] = {}
    for number, line in lines:
        zone = _ZONE.match(line)
        row = _TYPE.match(zone[3]) if zone else None
        if not zone or not row:
            continue  # titles, and the table of page blocks
        if counts := _counts(row[2].replace(">", " ")):
            free.setdefault((int(zone[1]), zone[2]), {})[row[1]] = counts
        else:
            _note(damage, number, "pagetypeinfo", line)
    return free


def parse_slabinfo(lines: Lines, damage: list[Damage]) -> tuple[CacheRow, ...]:
    """All caches in their order."""
    caches = []
    for number, line in lines:
        if line.startswith(("slabinfo - version", "#")):
            continue
        if row := _CACHE.match(line):
            caches.append(CacheRow(clean(row[1]), *(int(text) for text in row.groups()[1:])))
        else:
            _note(damage, number, "slabinfo", line)
    return tuple(caches)


def parse_vmstat(lines: Lines, damage: list[Damage]) -> dict[str, int]:
    """Counters by name."""
    counters: dict[str, int] = {}
    for number, line in lines:
        if found := _VMSTAT.match(line):
            counters[found[1]] = int(found[2])
        else:
            _note(damage, number, "vmstat", line)
    return counters


def parse_interrupts(lines: Lines, damage: list[Damage]) -> dict[str, tuple[int, ...]]:
    """Counts by CPU, for each row; rows without counts are of no interest."""
    rows: dict[str, tuple[int, ...]] = {}
    if not lines:
        return rows
    cpus = len(lines[0][1].split())  # the first line names the CPUs
    for number, line in lines[1:]:
        if found := _INTERRUPT.match(line):
            rows[found[1]] = tuple(int(text) for text in found[2].split()[:cpus])
        elif ":" not in line:
            _note(damage, number, "interrupts", line)
    return rows


def _counts(text: str) -> tuple[int, ...] | None:
    words: Sequence[str] = text.split()
    if all(word.isdecimal() and len(word) <= 20 for word in words):
        return tuple(int(word) for word in words)
    return None


def _note(damage: list[Damage], number: int, section: str, line: str) -> None:
    if len(damage) < MAX_DAMAGE:
        damage.append(Damage(number, section, clean(line[:_SHOWN]).strip()))
