"""What address translation costs on a microarchitecture: TLBs, page walks, flushes, broadcasts.

    lookup: L1 ── L2 (l2_hit more) ── walk (walk_fixed, and one cache or memory access per level
            that no paging-structure cache knows)
    flush:  page by page (invlpg, then invlpg_next each), one ASID (cr3_flush), everything (global_flush)

One file per microarchitecture (`mmu_file.py`); a machine names one and may replace
single numbers.  Pure data.

The figures of broadcasts are there for every microarchitecture, so that a policy that
needs them can be tried anywhere; `has_invlpgb`, `has_tlbi` and `has_rar` tell what the
real one can do.
Invariant (checked with the machine): counts are whole numbers, ways divide entries.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from decimal import Decimal

from coalsim.errors import Problem
from coalsim.provenance import Sourced
from coalsim.units import SEC

TIMES = ("cycles", "ps", "ns", "us")
COUNT = ("",)  # a plain number has no unit
MAX_ENTRIES = 1_000_000
MAX_ASIDS = 65_536  # Arm has 16 bits


@dataclass(frozen=True, kw_only=True)
class Mmu:
    """The numbers of one microarchitecture; a count has no unit, 0 ways are fully associative.

    Args:
        l1_entries: data TLB for 4 KiB pages, first level.
        l1_ways: its associativity.
        l2_entries: second level.
        l2_ways: its associativity.
        l1_large_entries: first level for 2 MiB pages (the same entries where it holds all sizes).
        l1_large_ways: its associativity.
        l2_holds_large: 1 if the second level takes 2 MiB pages too.
        l2_hit: a hit in the second level, on top of one in the first.
        walk_fixed: once per walk.
        pde_entries: paging-structure cache of entries that point to last-level tables.
        pdpte_entries: the same, one level up.
        pml4e_entries: and another level up.
        asids: address-space tags; with none, every switch flushes.
        cache_l1_hit: reading a table line that the first-level cache has.
        cache_l2_hit: the same, second level.
        cache_l3_hit: the same, the last level of the socket or core complex.
        table_lines_l2: table lines that stay in the second level.
        table_lines_l3: table lines that stay in the last level.
        set_accessed: setting A or D in an entry.
        invlpg: flushing one page.
        invlpg_next: flushing each further page in a loop.
        cr3_flush: flushing what is not global in one address space.
        global_flush: flushing everything.
        interrupt_entry: up to the handler's code.
        interrupt_exit: back to what was interrupted.
        has_invlpgb: 1 if it broadcasts as AMD does.
        has_tlbi: 1 if it broadcasts as Arm does.
        has_rar: 1 if it takes remote action requests, as Intel calls them.
        broadcast_issue: issuing one INVLPGB or TLBI.
        broadcast_pages: pages that one of them covers.
        broadcast_flight: from the issue until it has landed on every CPU.
        broadcast_sync: TLBSYNC or DSB, besides waiting for the landing.
        rar_action: what microcode takes from the target for one remote action.
    """

    name: str
    l1_entries: Sourced
    l1_ways: Sourced
    l2_entries: Sourced
    l2_ways: Sourced
    l1_large_entries: Sourced
    l1_large_ways: Sourced
    l2_holds_large: Sourced
    l2_hit: Sourced
    walk_fixed: Sourced
    pde_entries: Sourced
    pdpte_entries: Sourced
    pml4e_entries: Sourced
    asids: Sourced
    cache_l1_hit: Sourced
    cache_l2_hit: Sourced
    cache_l3_hit: Sourced
    table_lines_l2: Sourced
    table_lines_l3: Sourced
    set_accessed: Sourced
    invlpg: Sourced
    invlpg_next: Sourced
    cr3_flush: Sourced
    global_flush: Sourced
    interrupt_entry: Sourced
    interrupt_exit: Sourced
    has_invlpgb: Sourced
    has_tlbi: Sourced
    has_rar: Sourced
    broadcast_issue: Sourced
    broadcast_pages: Sourced
    broadcast_flight: Sourced
    broadcast_sync: Sourced
    rar_action: Sourced

    def numbers(self) -> Iterator[tuple[str, Sourced]]:
        """Every number with its key, in reading order."""
        for key in MMU_KEYS:
            yield key, self[key]

    def __getitem__(self, key: str) -> Sourced:
        number = getattr(self, key)
        assert isinstance(number, Sourced), key
        return number

    def count(self, key: str) -> int:
        """A number that counts something."""
        return int(self[key].value)


MMU_KEYS = tuple(field.name for field in fields(Mmu) if field.name != "name")
_FLAGS = ("l2_holds_large", "has_invlpgb", "has_tlbi", "has_rar")
_CACHES = ("pde_entries", "pdpte_entries", "pml4e_entries", "table_lines_l2", "table_lines_l3")
_LEVELS = ("l1", "l2", "l1_large")
_RANGES = {
    **dict.fromkeys(_FLAGS, (0, 1)),
    **dict.fromkeys(_CACHES, (0, 1 << 32)),
    **{f"{level}_entries": (1, MAX_ENTRIES) for level in _LEVELS},
    **{f"{level}_ways": (0, MAX_ENTRIES) for level in _LEVELS},
    "asids": (0, MAX_ASIDS),
    "broadcast_pages": (1, MAX_ENTRIES),
}


def units_of(key: str) -> tuple[str, ...]:
    """The units that a number of an `Mmu` may have."""
    return COUNT if key in _RANGES else TIMES


def mmu_problems(mmu: Mmu, clock_ghz: Decimal) -> Iterator[Problem]:
    """Every mistake; keys begin with ``mmu.``."""
    wrong = False
    for key, number in mmu.numbers():
        if (
            message := _range_mistake(key, number)
            if key in _RANGES
            else _time_mistake(key, number, clock_ghz)
        ):
            wrong = True
            yield _problem(key, number, *message)
    if wrong:
        return
    for level in _LEVELS:
        entries, ways = mmu.count(f"{level}_entries"), mmu.count(f"{level}_ways")
        if entries % (ways or entries):
            message = (
                f"{ways} ways do not divide {entries} entries",
                "give a divisor, or 0: fully associative",
            )
            yield _problem(f"{level}_ways", mmu[f"{level}_ways"], *message)


def _range_mistake(key: str, number: Sourced) -> tuple[str, str] | None:
    least, most = _RANGES[key]
    value = number.value
    if number.unit == "" and value.is_finite() and value == int(value) and least <= value <= most:
        return None
    return "not a count that a TLB can have", f"give a whole number from {least} to {most}, without a unit"


def _time_mistake(key: str, number: Sourced, clock_ghz: Decimal) -> tuple[str, str] | None:
    if number.unit not in TIMES:
        return "not a time", f"give a time in {', '.join(TIMES)}"
    if not number.value.is_finite() or number.value > SEC or number.picoseconds(clock_ghz) > SEC:
        return "not a cost that a machine can have", "give less than a second"
    if key == "broadcast_flight" and number.picoseconds(clock_ghz) < 1:
        return "nothing crosses in no time", "give at least 1 ps"
    return None


def _problem(key: str, number: Sourced, message: str, remedy: str) -> Problem:
    value = f"{number.value} {number.unit}".strip()
    return Problem(key=f"mmu.{key}", value=value, message=message, remedy=remedy)
