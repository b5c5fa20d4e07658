"""The uncontended paths of virtual memory, added up step by step from a table of costs.

They are the lists at the top of `coalsim/profiles/vm_costs.py`, in cycles, without a
simulation: what the calibration compares with measurements.
"""

from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

from coalsim.profiles import KernelCosts, Switches, load_profile

INVLPG, CR3 = 230, 150  # cycles, as on the Intel machines; I. Molnar, linux-mm, 2015-06-25


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A kernel on a processor: clock, cost of an own line, page-list batch, words of a mask of all CPUs."""

    profile: str
    clock: Decimal
    line: float
    batch: int
    words: int = 1
    full_flush: bool = False

    def __getattr__(self, name: str) -> float:
        """A cost by its name, in cycles."""
        return self.in_cycles(getattr(self.costs, name))

    @cached_property
    def costs(self) -> KernelCosts:
        return load_profile(self.profile).costs(self.clock)

    @cached_property
    def switches(self) -> Switches:
        return load_profile(self.profile).switches

    def in_cycles(self, picoseconds: float) -> float:
        return picoseconds * float(self.clock) / 1000

    # -- pieces

    @property
    def spin(self) -> float:
        return self.lock_uncontended + self.line + self.lock_release

    @property
    def rwsem(self) -> float:
        return self.spin + self.line

    @property
    def lru(self) -> float:
        return self.irq_save + self.spin + self.irq_restore

    @property
    def guard(self) -> float:
        irqs = self.irq_save + self.irq_restore if self.switches.pcp_irqs_off else 0
        return irqs + (self.pcp_lock if self.switches.pcp_lock == "spinlock" else 0)

    @property
    def alloc(self) -> float:
        return self.page_alloc_entry + self.watermark_test + self.guard + self.pcp_pop + self.page_prep

    @property
    def free(self) -> float:
        return self.page_free_entry + self.free_checks + self.guard + self.pcp_push

    @property
    def refill_share(self) -> float:
        return self.in_cycles(self.costs.refill(self.batch)) / self.batch

    @property
    def drain_share(self) -> float:
        return self.in_cycles(self.costs.drain(self.batch)) / self.batch

    @property
    def flush(self) -> float:
        return self.flush_fixed + self.line + self.mask + (CR3 if self.full_flush else INVLPG)

    @property
    def mask(self) -> float:
        return self.line + self.words * self.mask_scan

    # -- one page: of its own, or one of many

    @property
    def populated_alone(self) -> float:
        """A page that this CPU freed lately; its LRU batch is not full."""
        return self._populated + self.alloc + self.zero_page_warm

    @property
    def populated_of_many(self) -> float:
        """Its share of refills, LRU batches and page tables with it."""
        moved = (self.lru + self.lru_move_fixed) / self.switches.lru_batch + self.lru_move_page
        frame = self.alloc + self.refill_share + self.zero_page
        return self._populated + frame + moved + (self._table + frame) / 512

    @property
    def _populated(self) -> float:
        entry = self.spin + self.rmap_add + self.pte_set
        return self.fault_fixed + self.memcg_charge + entry + (self.lru_add if self.switches.lru_lock else 0)

    @property
    def table(self) -> float:
        return self._table + self.alloc + self.zero_page_warm

    @property
    def _table(self) -> float:
        return self.table_new + self.spin + self.line

    @property
    def released_of_many(self) -> float:
        deleted = self.lru_delete_page + self.lru / self.switches.lru_batch
        frame = self.free + self.drain_share
        return (
            self.zap_page + self.page_release + deleted + frame + (self.spin + self.table_free + frame) / 512
        )

    # -- calls

    @property
    def mmap(self) -> float:
        return self.syscall + self.rwsem + self.gap_search + self.area_new + self.accounting

    @property
    def populate(self) -> float:
        """mmap and populate of one page, with a page table of its own."""
        return self.mmap + self.rwsem + self.area_find + self.populated_alone + self.table

    def fault(self, page: float) -> float:
        return self.exception_entry + self.rwsem + self.area_find + page + self.exception_exit

    @property
    def zapped(self) -> float:
        """What munmap and madvise have in common, for one page."""
        drained = self.lru + self.lru_move_fixed + self.lru_move_page
        gather = self.gather_begin + self.line + self.gather_end + self.line
        freed = self.page_release + self.lru_delete_page + self.lru + self.free
        counter = self.line if self.switches.rss_batch > 0 else 0
        return drained + gather + self.spin + self.zap_page + counter + self.flush + freed

    @property
    def munmap(self) -> float:
        area = self.area_find + self.area_remove + self.accounting
        return self.syscall + self.rwsem + area + self.zapped + self.table_free + self.free

    @property
    def madvise(self) -> float:
        return self.syscall + self.rwsem + self.area_find + self.zapped

    @property
    def mprotect(self) -> float:
        gather = self.gather_begin + self.line + self.gather_end + self.line
        return self.syscall + self.rwsem + self.area_find + gather + self.spin + self.pte_protect + self.flush


MITOSIS = Ground(profile="linux-4.10", clock=Decimal("2.2"), line=16, batch=31, words=2)
ICE_LAKE = Ground(profile="linux-6.0", clock=Decimal("2.9"), line=16, batch=63)
HASWELL = Ground(profile="linux-4.10", clock=Decimal("2.4"), line=16, batch=31)
WESTMERE = Ground(profile="linux-3.5", clock=Decimal("2.4"), line=29.98, batch=31, words=2, full_flush=True)
SV6 = Ground(profile="sv6", clock=Decimal("2.4"), line=29.98, batch=64)
