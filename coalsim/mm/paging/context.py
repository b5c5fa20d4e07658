"""What TLBs and flushes know of an address space, and of what each processor has loaded.

    Context   one per address space: generation of its tables, who may cache them
    Loaded    one per processor: which context, under which ASID, how far it has caught up

Every change that takes something away counts the context's generation up; a TLB that has
caught up to generation g holds nothing that died before g.  A processor that runs a
kernel thread or idles keeps the context loaded and is lazy: it uses no user page.

Invariant: a processor whose TLB may hold entries of a context has it in one of its
slots, with the generation to which they are good.
Shared state: reading or writing any of it needs `sync`; its lines are priced by the
callers through the `CacheLine`s here.  Which of these fields share a line differs
between kernels; here each has one of its own, which is an assumption.
Source: Linux arch/x86/mm/tlb.c (tlb_gen, mm_cpumask, cpu_tlbstate).
"""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from coalsim.cpus.coherence import CacheLine
from coalsim.cpus.translation import Moment, Translation
from coalsim.units import CpuId

if TYPE_CHECKING:
    from coalsim.cpus.oracle import Oracle


FORGET_AT = 4_096
"""Translations of a space are looked through when they have doubled since the last time, from here on."""


class Context:
    """The part of an address space that TLBs and flushes know.

    Translations that no TLB holds and whose uses have been judged are forgotten now and then: no
    use of them can follow, so no judge will want to know when they died.  A policy that keeps books
    on translations needs them to the end.

    Args:
        number: of the address space.
        oracle: who is told of deaths, if anybody is.
        forgets: translations that nobody can use any more.
    """

    __slots__ = (
        "forget_at",
        "gathers",
        "generation",
        "generation_line",
        "mask",
        "mask_line",
        "number",
        "oracle",
        "pending_line",
        "protect_at",
        "protected",
        "protections",
        "tables",
        "translations",
    )

    def __init__(self, number: int, oracle: "Oracle | None", *, forgets: bool = True) -> None:
        self.number = number
        self.oracle = oracle
        self.generation = 0
        self.forget_at = FORGET_AT if forgets else sys.maxsize
        self.mask: dict[CpuId, None] = {}  # mm_cpumask: who may hold entries; sort before use
        self.gathers = 0  # unmappings under way (tlb_flush_pending)
        self.translations: dict[int, Translation] = {}  # by page: living ones that some TLB may hold
        self.tables: dict[int, Translation] = {}  # living pointers to tables that walkers have cached
        self.protected: dict[int, list[Translation]] = {}  # by page: those that only lost the right to write
        self.protections = 0  # how many these are
        self.protect_at = FORGET_AT  # so many are worth looking for those that nobody can use any more
        self.generation_line = CacheLine("tlb_gen")
        self.mask_line = CacheLine("mm_cpumask")
        self.pending_line = CacheLine("tlb_flush_pending")

    def forget_unused(self) -> None:
        """Forget translations that no TLB holds and whose uses have been judged."""
        unjudged = self.oracle.is_in_use() if self.oracle is not None else {}
        kept = {vpn: one for vpn, one in self.translations.items() if _may_be_used(one, unjudged)}
        self.translations.clear()
        self.translations.update(kept)
        self.forget_at = max(FORGET_AT, 2 * len(kept))

    def end_translation(
        self, vpn: int, moment: Moment, pending: str, *, lost_frame: bool = True
    ) -> list[Translation]:
        """A page is unmapped, or loses the right to write: what TLBs may still hold of it is dead.

        An older translation that never had that right stays alive.
        """
        if lost_frame and self.protected:
            self._unmap_protected(vpn, moment, pending)
        translation = self.translations.pop(vpn, None)
        if translation is None:
            return []
        if lost_frame and translation.older is None and translation.died is None:  # the common case
            if self.oracle is not None:
                self.oracle.died(translation, moment, pending, lost_frame=True)
            return [translation]
        dead: list[Translation] = []
        while translation is not None:
            if translation.died is None:
                if lost_frame or translation.writable:
                    dead.append(translation)
                    if self.oracle is not None:
                        self.oracle.died(translation, moment, pending, lost_frame=lost_frame)
                else:
                    self.translations.setdefault(vpn, translation)
            translation = translation.older
        if dead and not lost_frame and self.oracle is not None:
            self._note_protected(vpn, dead)
        return dead

    def end_table(self, pfn: int, moment: Moment, pending: str) -> list[Translation]:
        """The table in a frame is taken out of its tree: pointers to it that walkers hold are dead."""
        translation = self.tables.pop(pfn, None)
        if translation is None:
            return []
        if self.oracle is not None:
            translation.cached += 1  # walkers do not count what they hold: a judge must remember it
            self.oracle.died(translation, moment, pending, lost_frame=True)
        return [translation]

    def _note_protected(self, vpn: int, dead: list[Translation]) -> None:
        """A TLB may go on reading through these, unflushed, when the page has lost its frame as well."""
        self.protected.setdefault(vpn, []).extend(dead)
        self.protections += len(dead)
        if self.protections < self.protect_at:
            return
        assert self.oracle is not None, "its caller has asked"
        unjudged, kept = self.oracle.is_in_use(), dict[int, list[Translation]]()
        for page, old in self.protected.items():
            if used := [one for one in old if one.cached or id(one) in unjudged]:
                kept[page] = used
        self.protected, self.protections = kept, sum(len(old) for old in kept.values())
        self.protect_at = max(FORGET_AT, 2 * self.protections)

    def _unmap_protected(self, vpn: int, moment: Moment, pending: str) -> None:
        """The page loses its frame: what had lost the right to write may not be read through either."""
        assert self.oracle is not None, "only an oracle's are noted"
        dead = self.protected.pop(vpn, [])
        self.protections -= len(dead)
        for translation in dead:
            self.oracle.died(translation, moment, pending, lost_frame=True)


def _may_be_used(translation: Translation, unjudged: Mapping[int, None]) -> bool:
    """Some TLB holds it, or what it was before it gained rights, or somebody has yet to judge a use."""
    one: Translation | None = translation
    while one is not None:
        if one.cached or id(one) in unjudged:
            return True
        one = one.older
    return False


class Slot:
    """What one ASID of one processor stands for."""

    __slots__ = ("context", "generation")

    def __init__(self) -> None:
        self.context: Context | None = None
        self.generation = -1  # entries under this ASID are good up to here


class Loaded:
    """What one processor has loaded.

    Args:
        slots: ASIDs that it uses in turn; at least 1.
    """

    __slots__ = ("context", "is_lazy", "lazy_line", "next_slot", "slot", "slots")

    def __init__(self, slots: int) -> None:
        self.slots = [Slot() for _ in range(max(1, slots))]
        self.slot = 0
        self.next_slot = 0
        self.context: Context | None = None  # None: the kernel's own, no user pages
        self.is_lazy = False
        self.lazy_line = CacheLine("cpu_tlbstate_shared")

    @property
    def asid(self) -> int:
        """The hardware tag of the present slot."""
        return self.slot + 1

    @property
    def generation(self) -> int:
        """To which generation the present slot has caught up."""
        return self.slots[self.slot].generation

    @generation.setter
    def generation(self, value: int) -> None:
        self.slots[self.slot].generation = value
