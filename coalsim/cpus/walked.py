"""What a walker needs to know: tables and their words, an address space, and what walking costs.

Page tables are reached through the `Tree` protocol, filled in by mm/paging.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from coalsim.cpus.tlb import Shape
from coalsim.cpus.translation import Translation
from coalsim.units import Pfn, Time, Vpn


class TableWords(Protocol):
    """A table in a frame."""

    pfn: Pfn
    linked: bool
    """Some directory entry points to it."""

    @property
    def slots(self) -> "Sequence[int] | Mapping[int, int]":
        """Its entries, by index."""

    def exchange(self, index: int, word: int) -> int:
        """Store an entry; returns the old one."""

    def mark(self, index: int, marks: int) -> None:
        """Set bits of an entry that has others."""


class ReadStep(Protocol):
    """One read of a walk: which word of which frame, and what it said."""

    @property
    def level(self) -> int:
        """From the root, 0."""

    @property
    def pfn(self) -> Pfn:
        """The table's frame."""

    @property
    def index(self) -> int:
        """The word's index there."""

    @property
    def entry(self) -> int:
        """The word."""


class Tree(Protocol):
    """One tree of page tables."""

    def leaf(self, vpn: Vpn) -> "tuple[TableWords, int] | None":
        """The leaf table and the index there."""

    def path(self, vpn: Vpn) -> "Sequence[ReadStep]":
        """What the hardware reads."""


class Mapped(Protocol):
    """What the walker needs to know of an address space."""

    number: int
    translations: dict[int, Translation]
    """By page: the living translations that some TLB has held."""
    tables: dict[int, Translation]
    """By frame of the table: the living pointers to tables that some walker has cached."""
    forget_at: int
    """So many translations are worth looking for those that nobody can use any more."""

    def forget_unused(self) -> None:
        """Look for them."""


@dataclass(frozen=True, kw_only=True)
class WalkCosts:
    """Times in ps, and sizes."""

    l1_hit: Time
    l2_hit: Time  # all of it
    walk_fixed: Time
    set_accessed: Time
    l1: Shape
    l2: Shape
    structure_entries: tuple[int, ...]  # of the paging-structure caches, from the one next to the leaf up
    leaf_bits: int  # vpn >> this: number of the leaf table
    index_bits: tuple[int, ...]  # of all levels, root first
    root_accessed: bool = True  # entries of the root have a bit A: PAE's do not
    entry_bytes: int
