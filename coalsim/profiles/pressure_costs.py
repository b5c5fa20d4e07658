"""PressureCosts: what the steps of reclaim, the page cache and the debug modes cost on one machine.

A part of `KernelCosts`, under the same rule: a step is what the code does by itself, on lines
that this CPU owns.

    reclaim of a page   scan_page + [rmap_walk + table locks, flush] + cache_remove + page free
    isolation           the LRU lock around isolate_page per page

Invariant: as in `KernelCosts`, no cost has a default.
"""

from dataclasses import dataclass

from coalsim.units import Time


@dataclass(frozen=True, kw_only=True)
class PressureCosts:
    """Costs of memory pressure in picoseconds, resolved on a machine's clock."""

    # -- zones
    kmap_set: Time
    """Take a slot for a temporary mapping and write its entry."""
    kmap_clear: Time
    """Clear it again, beside the invalidation of its translation."""

    # -- reclaim
    isolate_page: Time
    """Take a page off its LRU list, or put it back, under the list's lock."""
    scan_page: Time
    """Look at one isolated page: its flags, whether it is mapped, what to do with it."""
    reclaim_fixed: Time
    """One round of the reclaimer over one node, beside its pages: scan counts, shrinkers asked."""
    magazine_detach: Time
    """Take one cache's two magazines off a processor, in an interrupt handler."""
    oom_scan_task: Time
    """The OOM killer's look at one process."""
    oom_fixed: Time
    """The OOM killer's own way, with its report."""

    # -- leaks
    track_object: Time
    """Write down who allocated an object: its call chain is walked and looked up, its record made."""
    index_object: Time
    """Put that record into the index by address, or find it there when the object is freed."""
    scan_object: Time
    """kmemleak's visit of one object before it marks: its record's line, its colour."""
    scan_kib: Time
    """kmemleak's reading of one KiB, word by word, each compared with the bounds of all objects."""

    # -- debug
    debug_fill_per_64: Time
    """Fill 64 known bytes around or into an object."""
    debug_check_per_64: Time
    """Compare 64 bytes with what they should be."""
    debug_track: Time
    """Note who allocates or frees an object: unwind the stack, save it, read the clock."""
    debug_quarantine_push: Time
    """Put a freed object into the quarantine, and take the oldest out."""
    vmap_fixed: Time
    """Get or give back a range of kernel addresses, beside its lock and its pages: the tree of ranges."""
    vmap_page: Time
    """Set or clear the entry of one kernel page."""
    vmap_flush: Time
    """What a processor does when it is asked to drop kernel translations: all of them."""

    # -- files
    cache_lookup: Time
    """Find a file's page in its tree, or that it is not there."""
    cache_insert: Time
    """Link a page into its file's tree, with the node's counts, under the tree's lock."""
    cache_remove: Time
    """Take one out, the same."""
    dirty_tag: Time
    """Set or clear the tree's tag of one dirty page, with the counts, under the tree's lock."""
    folio_lock: Time
    """Instructions of locking or unlocking a page, beside its line."""
    map_around_page: Time
    """One page that a read fault maps with others: next page of the tree, tests, entry."""
    page_mkwrite: Time
    """What a file system does before a shared page may be written: block, journal, time of change."""
    balance_dirty: Time
    """The writer's look at how much is dirty."""
    i_mmap_link: Time
    """Link an area into its file's tree of mappings, or take it out."""
    rmap_walk: Time
    """One step of the reverse map: the next area, the walk to its entry."""
    io_submit: Time
    """Make a request and ring the device's bell."""
    io_complete: Time
    """The end of a request, on whoever waited for it."""
    device_read_latency: Time
    """From a read's turn at the device to its data in memory, beside the transfer."""
    device_write_latency: Time
    """The same of a write."""
    device_read_page: Time
    """Transfer of one page of a read."""
    device_write_page: Time
    """Transfer of one page of a write."""
