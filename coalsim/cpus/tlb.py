"""The data TLB of one processor: two levels, least recently used within a set, tagged by ASID.

    lookup ── L1 ── hit
              └── L2 ── hit, copied into L1
                    └── miss: the caller walks and inserts (into both levels)

The levels do not include each other: an entry may outlive its copy in either.  A
global translation is stored under a tag of its own that every ASID matches.

Pure mechanism: nothing here waits, costs time or looks at a page table.  What is in
the TLB may be stale; whoever changes a mapping has to invalidate it.

Invariant: a translation's `cached` counts the levels of all TLBs that hold it
(kept by `tlb_level.py`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from coalsim.cpus.tlb_level import EVERYONE, NO_PAGES, TAG_BITS, TAG_MASK, Entry, Pages, Shape, TlbLevel

__all__ = ["EVERYONE", "Entry", "Shape", "Tlb"]

FIRST_PART, GROWTH, LARGEST_PART = 4, 4, 4096
"""A run is looked through in parts that grow, so that an early miss costs little."""


class Tlb:
    """What one processor remembers of page tables.

    Args:
        l1: the first level.
        l2: the second level.

    `level` is 1 or 2 after a lookup that hit; `touched` are the entries that the last
    run used, in no particular order and perhaps more than once.
    """

    def __init__(self, l1: Shape, l2: Shape) -> None:
        self.hits_l1 = 0
        self.hits_l2 = 0
        self.misses = 0
        self.level = 0
        self.touched: list[Entry] = []
        self._l1 = TlbLevel(l1)
        self._l2 = TlbLevel(l2)
        # lookups are the hottest path of all
        self.l1_sets, self.l1_count, self._l1_tags = self._l1.sets, self._l1.count, self._l1.by_tag
        self._l2_sets, self._l2_count, self._l2_tags = self._l2.sets, self._l2.count, self._l2.by_tag
        levels = (self._l2, self._l1)
        self._fills = tuple((level.sets, level.count, level.ways, level.by_tag) for level in levels)

    # -- use -------------------------------------------------------------------------

    def lookup(self, vpn: int, asid: int) -> Entry | None:
        """The translation of a page, or None: then somebody has to walk.

        The same as `TlbLevel.use` on L1 and then on L2, written out for speed; global
        entries are rare.
        """
        ways = self.l1_sets[vpn % self.l1_count]
        key = vpn << TAG_BITS | asid
        entry = ways.pop(key, None)
        if entry is not None:
            ways[key] = entry
            self.hits_l1 += 1
            self.level = 1
            return entry
        return self.lookup_behind_l1(vpn, asid)

    def lookup_behind_l1(self, vpn: int, asid: int) -> Entry | None:
        """The same for a page that L1 does not have under this ASID."""
        if EVERYONE in self._l1_tags or EVERYONE in self._l2_tags:
            return self._lookup_further(vpn, asid)
        key = vpn << TAG_BITS | asid
        ways = self._l2_sets[vpn % self._l2_count]
        entry = ways.pop(key, None)
        if entry is None:
            self.misses += 1
            return None
        ways[key] = entry
        self._l1.put(vpn, asid, entry)
        self.hits_l2 += 1
        self.level = 2
        return entry

    def _lookup_further(self, vpn: int, asid: int) -> Entry | None:
        """Global entries of L1, then L2."""
        l1, l2 = self._l1, self._l2
        if entry := l1.use(vpn, EVERYONE):
            self.hits_l1 += 1
            self.level = 1
            return entry
        for tag in (asid, EVERYONE):
            if entry := l2.use(vpn, tag):
                l1.put(vpn, tag, entry)
                self.hits_l2 += 1
                self.level = 2
                return entry
        self.misses += 1
        return None

    def lookup_run(self, vpns: Sequence[int], asid: int, start: int = 0) -> int:
        """How many accesses from `vpns[start]` on hit in L1, one after the other.

        They count as hits and leave the order of use as if they had been looked up one
        by one; the access that ends the run has not happened yet.
        """
        return self._run(vpns, asid, start, self._hits)

    def store_run(self, vpns: Sequence[int], asid: int, start: int = 0) -> int:
        """As `lookup_run`, for stores: a page that is not writable or not yet dirty ends the run too."""
        return self._run(vpns, asid, start, self._stores)

    def _run(
        self, vpns: Sequence[int], asid: int, start: int, usable: Callable[[Mapping[int, None], int], Pages]
    ) -> int:
        """Hits do not change what L1 holds, only its order: so order each part once, by last use."""
        self.touched = []
        done, end, size = start, len(vpns), FIRST_PART
        if done < end and not self._l1_holds(vpns[done], asid):
            return 0  # most runs over a working set that is too large end here
        while done < end:
            part = vpns[done : done + size]
            latest = dict.fromkeys(reversed(part))
            good = usable(latest, asid)
            if not latest.keys() <= good.keys():
                hits = next(n for n, vpn in enumerate(part) if vpn not in good)
                self._touch(dict.fromkeys(reversed(part[:hits])), asid, good)
                done += hits
                break
            self._touch(latest, asid, good)
            done += len(part)
            size = min(GROWTH * size, LARGEST_PART)
        if done > start:
            self.hits_l1 += done - start
            self.level = 1
        return done - start

    def _l1_holds(self, vpn: int, asid: int) -> bool:
        by_tag = self._l1.by_tag
        return vpn in by_tag.get(asid, NO_PAGES) or vpn in by_tag.get(EVERYONE, NO_PAGES)

    def _hits(self, wanted: Mapping[int, None], asid: int) -> Pages:
        """Pages that hit in L1: all of them, or at least those that are wanted."""
        own = self._l1.by_tag.get(asid, NO_PAGES)
        everyones = self._l1.by_tag.get(EVERYONE)
        if not everyones or wanted.keys() <= own.keys():
            return own
        return {vpn: own.get(vpn) or everyones[vpn] for vpn in wanted if vpn in own or vpn in everyones}

    def _stores(self, wanted: Mapping[int, None], asid: int) -> Pages:
        """Those of the wanted pages that can be written without telling the page table."""
        hits = self._hits(wanted, asid)
        return {
            vpn: entry
            for vpn in wanted
            if (entry := hits.get(vpn)) and entry.dirty and entry.translation.writable
        }

    def _touch(self, latest: dict[int, None], asid: int, hits: Pages) -> None:
        """Pages that hit, the one used last first, become the youngest."""
        self.touched.extend(map(hits.__getitem__, latest))
        if EVERYONE not in self._l1.by_tag:
            self._l1.rejuvenate(reversed(latest), asid)
            return
        own = self._l1.by_tag.get(asid, NO_PAGES)
        for vpn in reversed(latest):
            self._l1.use(vpn, asid if vpn in own else EVERYONE)

    # -- change ----------------------------------------------------------------------

    def insert(self, vpn: int, asid: int, entry: Entry) -> None:
        """Store into both levels, as the youngest; replaces the page's entry under the same tag."""
        translation = entry.translation
        tag = EVERYONE if translation.is_global else asid
        key = vpn << TAG_BITS | tag
        for sets, count, most, by_tag in self._fills:  # `TlbLevel.put` in line
            ways = sets[vpn % count]
            if key in ways:
                ways.pop(key).translation.cached -= 1
            elif len(ways) == most:
                victim = next(iter(ways))  # the oldest
                ways.pop(victim).translation.cached -= 1
                del by_tag[victim & TAG_MASK][victim >> TAG_BITS]
            ways[key] = entry
            if tag in by_tag:
                by_tag[tag][vpn] = entry
            else:
                by_tag[tag] = {vpn: entry}
        translation.cached += 2

    def first_level(self, asid: int) -> Pages:
        """What L1 holds of one ASID, global entries excepted; not a copy."""
        return self._l1.by_tag.get(asid, NO_PAGES)

    def note_hits(self, vpns: Sequence[int], asid: int) -> None:
        """These pages, entries of that ASID in L1, have been used one after the other."""
        self._l1.rejuvenate(reversed(dict.fromkeys(reversed(vpns))), asid)
        self.hits_l1 += len(vpns)

    def invalidate(self, vpn: int, asid: int) -> bool:
        """Forget a page in one ASID and its global entry, as INVLPG does; whether there was one."""
        found = False
        for level in (self._l1, self._l2):
            if vpn in level.by_tag.get(asid, NO_PAGES):
                found = level.drop(vpn, asid)
            if EVERYONE in level.by_tag:
                found |= level.drop(vpn, EVERYONE)
        return found

    def invalidate_range(self, first: int, last: int, asid: int) -> None:
        """Forget every page of a range, and its global entry."""
        for level in (self._l1, self._l2):
            by_tag = level.by_tag
            if by_tag.get(asid):
                own = by_tag[asid]
                for vpn in range(first, last):
                    if vpn in own:
                        level.drop(vpn, asid)
            if EVERYONE in by_tag:
                for vpn in range(first, last):
                    level.drop(vpn, EVERYONE)

    def flush_asid(self, asid: int) -> int:
        """Forget the entries of one ASID, global ones excepted; how many pages that were."""
        first, second = self._l1.drop_tag(asid), self._l2.drop_tag(asid)
        return len(first.keys() | second.keys()) if first else len(second)

    def flush_all(self, *, keep_global: bool = False) -> int:
        """Forget everything, in all ASIDs; how many pages that were."""
        tags = dict.fromkeys([*self._l1.by_tag, *self._l2.by_tag])
        return sum(self.flush_asid(tag) for tag in tags if not (keep_global and tag == EVERYONE))

    # -- inspection ------------------------------------------------------------------

    def holds(self, vpn: int, asid: int) -> bool:
        """Whether a lookup would hit; changes nothing."""
        return any(
            vpn in level.by_tag.get(tag, NO_PAGES)
            for level in (self._l1, self._l2)
            for tag in (asid, EVERYONE)
        )

    def entries(self) -> Iterator[tuple[int, int, Entry]]:
        """Page, ASID (`EVERYONE` for global ones) and entry, once for each level that holds it."""
        for level in (self._l1, self._l2):
            for tag, pages in level.by_tag.items():
                for vpn, entry in pages.items():
                    yield vpn, tag, entry

    def validate(self) -> None:
        """Recount the slow way."""
        self._l1.validate()
        self._l2.validate()
