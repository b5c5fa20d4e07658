"""VmCosts: what the steps of virtual memory and TLB shootdown cost on one machine.

The half of `KernelCosts` that `coalsim/profiles/costs.py` does not hold, under the
same rule: a step is what the code does by itself, on lines that this CPU owns.
Moving a line, a lock's word, a page walk, INVLPG and writing CR3 are the machine's.

How the steps make up the uncontended paths, one CPU, one page.  SPIN is a spinlock
that is free: lock_uncontended + an own line + lock_release.  RWSEM is that and one
more own line.  LINE is an own line, written.

    mmap      syscall + RWSEM + gap_search (not at a fixed address) + area_new + accounting
    populate  RWSEM + area_find + POPULATED per page + TABLE per page table
    fault     exception_entry + RWSEM + area_find + POPULATED + exception_exit
              (with per-VMA locks 2 x (vma_lock + LINE) in place of RWSEM)
    munmap    syscall + RWSEM + area_find + area_remove + accounting
              + drain of the LRU batch + gather_begin + LINE + SPIN + zap_page
              + FLUSH + RELEASED + table_free + its frame's free + gather_end + LINE
              + LINE of the process's page counter, where threads count (`rss_batch`)
    mprotect  syscall + RWSEM + area_find + gather_begin + LINE + SPIN
              + pte_protect + FLUSH + gather_end + LINE
    madvise   as munmap, without area_remove, accounting and table_free

    POPULATED fault_fixed + page allocation + memcg_charge + zero_page + SPIN
              + rmap_add + pte_set + lru_add; per batch LRU + lru_move_*
    TABLE     table_new + page allocation + zero_page + SPIN + LINE
    RELEASED  page_release + lru_delete_page + page free; per batch LRU
    FLUSH     flush_fixed + LINE + MASK + INVLPG or CR3
    MASK      LINE + mask_scan per 64 CPUs
    LRU       irq_save + SPIN + irq_restore

docs/calibration.md says which measurement fixed which step.  A prediction: madvise and
refault of one page take 1,376 + 1,350 cycles with linux-4.10; on a Haswell 661 ns were
measured (Amit, linux-kernel, 2019), which at 2.4 GHz would be 1,586 cycles.

Invariant: as in `KernelCosts`, no cost has a default.
"""

from dataclasses import dataclass

from coalsim.profiles.pressure_costs import PressureCosts
from coalsim.units import Time


@dataclass(frozen=True, kw_only=True)
class VmCosts(PressureCosts):
    """Costs of virtual-memory steps in picoseconds, resolved on a machine's clock."""

    # -- in and out of the kernel
    exception_entry: Time
    """From the faulting instruction to the first line of the fault handler."""
    exception_exit: Time
    """From the handler's last line to the instruction again."""
    syscall: Time
    """Into the kernel and out again, once per call."""
    signal: Time
    """Deliver a signal to a user process."""
    spurious_fault: Time
    """Find that the entry allows the access already, beside entry, exit and locks."""

    # -- areas
    area_find: Time
    """Find the area of an address."""
    vma_lock: Time
    """Instructions of one take or one drop of an area's lock, beside its line."""
    gap_search: Time
    """Find free addresses for a new mapping."""
    area_new: Time
    """Make an area and link it in, with what its first fault adds to it (anon_vma)."""
    area_split: Time
    """Cut an area in two."""
    area_merge: Time
    """Join an area with its neighbour."""
    area_remove: Time
    """Unlink an area and free it."""
    accounting: Time
    """Committed memory and the process's page counts, once per mmap or munmap."""

    # -- page tables
    table_new: Time
    """Link in a page table, beside its frame, zeroing and lock."""
    table_free: Time
    """Unlink a page table and hand its frame to be freed."""
    pte_set: Time
    """Recheck an entry and write it, under the page-table lock."""
    pte_protect: Time
    """Change the rights of one entry."""
    copy_pte: Time
    """Copy one entry at fork: reference and map count, write protection in the parent."""
    zap_page: Time
    """Clear one entry: exchange, map count, the page into the gather."""

    # -- the page under a fault
    fault_fixed: Time
    """The handler's bookkeeping that belongs to no other step."""
    memcg_charge: Time
    """Charge a page to its cgroup from the CPU's own stock."""
    rmap_add: Time
    """Map count and reverse map of a page, and the process's counter of resident pages."""
    zero_page: Time
    """The core's own time to clear a page whose lines are cold."""
    zero_page_warm: Time
    """The same for a page that this CPU freed lately."""
    copy_page: Time
    """The core's own time to copy a page, cold on both sides."""
    page_release: Time
    """Drop the last reference of a page out of a gather, before it is freed."""

    # -- LRU lists
    lru_add: Time
    """Put a page into the CPU's own batch."""
    lru_move_fixed: Time
    """Move a batch to the lists, under their lock: the part that does not grow with the pages."""
    lru_move_page: Time
    """Move a batch to the lists, under their lock: per page."""
    lru_delete_page: Time
    """Unlink a page from its list, under the lock."""

    # -- gather and flush
    gather_begin: Time
    """Open a gather."""
    gather_end: Time
    """Close a gather, beside its flush and its pages."""
    flush_fixed: Time
    """One call that flushes, on the CPU that asks: beside lines, INVLPG, CR3 and other CPUs."""
    flush_target: Time
    """One request in the handler of a target, beside lines, INVLPG, CR3, entry and exit."""
    csd_fill: Time
    """Fill in one target's request, beside its lines."""
    mask_scan: Time
    """Look through 64 CPUs of a mask."""

    # -- processes
    fork_fixed: Time
    """fork, beside areas, tables, entries and the address space itself."""
    mm_create: Time
    """Make an address space, with its topmost table."""
    exit_fixed: Time
    """exit and wait, beside areas, tables and pages."""
    switch_mm: Time
    """Change address spaces at a switch, beside CR3 and lines."""

    # -- copies between user and kernel
    user_copy_fixed: Time
    """One copy_from_user or copy_to_user."""
    user_copy_per_64: Time
    """The same per 64 bytes begun."""

    # -- steps of single policies
    latr_record: Time
    """`latr`: write one record, beside its line."""
    latr_sweep_record: Time
    """`latr`: look at one active record at a tick or switch, beside its line and INVLPG."""
    abis_check: Time
    """`abis`: decide from an accessed bit whether others can have the entry."""
    radix_fill: Time
    """`radixvm`: fill a CPU's own table from the page's descriptor, beside lookup, locks and entry."""
    counter_dec: Time
    """`radixvm`: count down the shared counter of a shootdown, beside its line."""
    invlpgb_setup: Time
    """`invlpgb`: prepare one broadcast, beside issue and landing."""
