"""The `leaks` part of the result document: what was held at the end of the run, by whom, since when.

Times count from the beginning of the run, its warm-up included; `allocs` and `frees` from the end of
the warm-up.  `bytes` are those asked for, `allocated` those that the allocator spent on them: of the size
class, the cache's object, whole pages.  `growth` has the bytes held at each of its times, for all
sites together and for the largest ones.
"""

from typing import NotRequired, TypedDict

from coalsim.observe.quantities import Count, Nanoseconds


class LeakSite(TypedDict):
    """What one call site holds of one kind of memory: a cache's objects, `kmalloc` or `pages`."""

    site: str
    cache: str
    live: Count  # objects, or blocks of pages
    bytes: Count  # asked for
    allocated: Count  # bytes that they take
    allocs: Count
    frees: Count  # of what this site allocated, wherever that was done
    oldest_ns: Nanoseconds  # age


class LeakAge(TypedDict):
    """What has been held for at least so long, and not long enough for the next row."""

    from_ns: Nanoseconds
    live: Count
    bytes: Count


class SiteGrowth(TypedDict):
    """Bytes that one site held at each time."""

    site: str
    cache: str
    bytes: list[Count]


class LeakGrowth(TypedDict):
    """How what is held grew."""

    times_ns: list[Nanoseconds]
    bytes: list[Count]  # of all sites
    sites: list[SiteGrowth]


class UnreferencedEntry(TypedDict):
    """An object that a scan found nobody pointing to."""

    address: int
    size: int
    site: str
    cache: str
    comm: str  # the thread that allocated it
    pid: int  # its process; kernel threads have 0
    cpu: int
    jiffies: int  # when
    age_ns: Nanoseconds  # at the end of the run
    found_ns: Nanoseconds
    hex: str  # its first bytes
    crc: int
    run: NotRequired[int]  # in a document of means: which run, from 1


class KmemleakEntry(TypedDict):
    """What the scans did."""

    has_roots: bool  # False: the load keeps its pointers where no scan looks, so nothing is reported
    scans: Count
    skipped: Count  # were due while another one was under way
    objects: Count  # visited, over all scans
    bytes: Count  # read
    longest_ns: Nanoseconds
    reported: Count
    unreferenced: list[UnreferencedEntry]


class LeaksEntry(TypedDict):
    """All of it."""

    end_ns: Nanoseconds  # the moment for which all this holds
    live: Count
    bytes: Count
    allocated: Count
    sites: list[LeakSite]  # the largest first
    ages: list[LeakAge]
    growth: NotRequired[LeakGrowth]
    kmemleak: NotRequired[KmemleakEntry]


class PlantedLeak(TypedDict):
    """What a load lost on purpose."""

    site: str
    objects: Count
    bytes: Count


class PlantedObject(TypedDict):
    """One of those objects."""

    site: str
    address: int
    lost_ns: Nanoseconds
    run: NotRequired[int]
