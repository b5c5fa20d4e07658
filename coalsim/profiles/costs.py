"""KernelCosts: what each step of a kernel path costs on one machine.

One field per step, in picoseconds.  A step is what the code does by itself, on
lines that this CPU owns: moving a shared line, waiting for a lock and filling
memory are priced by the machine, not here.  Each field says which operations
charge it, so that a path can be added up by hand.

A refill or a drain of a page list is priced whole, fixed part plus pages, as it
was measured; `buddy_*` price single blocks outside a batch.  Never both.

Invariant: every field comes from an entry with value, unit, source and status
in a profile's TOML; none has a default.  The steps of virtual memory are in
`vm_costs.py`.
"""

from dataclasses import dataclass

from coalsim.profiles.vm_costs import VmCosts
from coalsim.units import Time


@dataclass(frozen=True, kw_only=True)
class KernelCosts(VmCosts):
    """Costs of kernel steps in picoseconds, resolved on a machine's clock."""

    # -- processor and scheduler
    irq_save: Time
    """Turn interrupts off and remember how they were."""
    irq_restore: Time
    """Put interrupts back as they were."""
    tick: Time
    """One timer interrupt, with its bookkeeping."""
    context_switch: Time
    """Leave one thread and enter another, on one CPU."""
    wake_up: Time
    """Make a sleeping thread runnable, paid by the waker."""
    pause: Time
    """One spin-wait hint: the unit of a backing-off spinner."""

    # -- locks, beside moving their lines
    lock_uncontended: Time
    """Instructions of taking a lock that is free."""
    lock_release: Time
    """Instructions of releasing a lock."""

    # -- allocating pages
    page_alloc_entry: Time
    """Policy and zone list, once per call."""
    watermark_test: Time
    """Compare one zone's free count with its mark, once per zone tried."""
    pcp_lock: Time
    """Take and release the lock of the own page list, where it has one (`Switches.pcp_lock`)."""
    pcp_pop: Time
    """Take the head of the own page list."""
    page_prep: Time
    """Make one frame ready: flags, reference count, counters; once per block, for its first frame."""
    page_prep_tail_warm: Time
    """The same per further frame of a block that this CPU freed lately (it came from the own list)."""
    page_prep_tail_cold: Time
    """The same per further frame of a block fresh from the zone, whose descriptors are in no near cache."""
    refill_fixed: Time
    """Zone lock held during a refill: the part that does not grow with the pages."""
    refill_per_page: Time
    """Zone lock held during a refill: per page, splits included."""

    # -- freeing pages
    page_free_entry: Time
    """Drop the last reference, find the zone; once per call."""
    free_checks: Time
    """Checks of a block's first frame."""
    free_checks_tail: Time
    """Checks of each further frame of a block."""
    pcp_push: Time
    """Put a block on the own page list."""
    drain_fixed: Time
    """Zone lock held during a drain: the part that does not grow with the pages."""
    drain_per_page: Time
    """Zone lock held during a drain: per page, merges included."""

    # -- single blocks under the zone lock (orders without a list, coalescing by hand)
    buddy_take: Time
    """Unlink a block from a free list."""
    buddy_put: Time
    """Link a block into a free list."""
    buddy_split: Time
    """Halve a block once."""
    buddy_test: Time
    """Look at one free list's head, or at one buddy's descriptor."""
    buddy_merge: Time
    """Join a block with its buddy once."""
    bitmap_word: Time
    """Read one 64-bit word of a frame bitmap."""
    bitmap_mark: Time
    """Set or clear one frame's bit."""

    # -- kmalloc and kfree, whatever the slab layer
    kmalloc_hit: Time
    """Size to cache, and the call itself, before the slab layer is asked."""
    kfree_hit: Time
    """Pointer to slab to cache, before the slab layer is asked."""
    kmalloc_large: Time
    """Entry of a request too large for a cache, before the page allocator is asked."""

    # -- magazines
    magazine_lock: Time
    """Take and release the per-CPU layer's lock."""
    magazine_pop: Time
    """Take a round from the loaded magazine."""
    magazine_push: Time
    """Put a round into the loaded magazine."""
    magazine_exchange: Time
    """Swap the loaded magazine with the previous one."""
    depot_section: Time
    """Swap one magazine for another under the depot's lock."""
    magazine_create: Time
    """Make an empty magazine, beside the object allocation it needs."""
    magazine_update: Time
    """Look at one cache at the maintenance interval."""

    # -- slabs
    slab_take: Time
    """Take one object from a slab, under the lock that guards it."""
    slab_put: Time
    """Give one object back to its slab, under the lock that guards it."""
    slab_list_move: Time
    """Move a slab between the lists of full, partial and empty ones."""
    slab_create_fixed: Time
    """Make a slab out of fresh pages, apart from its objects."""
    slab_create_per_object: Time
    """Thread one object onto a new slab's free list."""
    slab_destroy: Time
    """Take an empty slab apart, before its pages are freed."""

    # -- SLUB
    slub_alloc: Time
    """Fast path: compare-exchange on the own free list."""
    slub_free: Time
    """Fast path: compare-exchange on the own free list."""
    slub_slow_alloc: Time
    """Entry of the slow path, with the local lock."""
    slub_cpu_partial: Time
    """Make the next slab of the own partial list the current one."""
    slub_node_partial: Time
    """Take one slab off the node's partial list, under list_lock."""
    slub_node_put: Time
    """Put one slab on the node's partial list or take it off, under list_lock."""
    slub_remote_free: Time
    """Free into a slab that is not the own current one: compare-exchange on its descriptor."""

    # -- sheaves
    sheaf_pop: Time
    """Take an object from the main sheaf, with its local trylock."""
    sheaf_push: Time
    """Put an object into the main sheaf, with its local trylock."""
    sheaf_swap: Time
    """Swap main and spare sheaf."""
    barn_section: Time
    """Swap a sheaf for another under the barn's lock."""
    sheaf_bulk_fixed: Time
    """Fill a sheaf from slabs, or empty it into them: once."""
    sheaf_bulk_per_object: Time
    """Take an object off the own free list in bulk or put it there: instead of `slub_alloc`, `slub_free`."""

    def refill(self, pages: int) -> Time:
        """How long the zone lock is held to refill a list with so many pages."""
        return self.refill_fixed + pages * self.refill_per_page

    def drain(self, pages: int) -> Time:
        """How long the zone lock is held to drain so many pages off a list."""
        return self.drain_fixed + pages * self.drain_per_page
