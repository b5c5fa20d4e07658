"""One processor's translation hardware: its TLB, and the walker that fills it.

    lookup -> hit                                   private: `look`
           -> walk: skip what the paging-structure caches know, read the rest,
                    set A (and D for a store), fill the TLB          shared: `sync`

A translation is read and put into the TLB at one instant and the walk is charged
afterwards; otherwise an invalidation that arrives during the walk would find nothing and
the dead entry would be filled behind it.
A store hits only an entry that is known to be dirty; any other store walks again to set
D, and learns there whether the page may be written.
A walk costs `walk_fixed` and one read per level that no paging-structure cache knows, by
where the line of the table is (`tablelines.py`, `structure_caches.py`).
"""

from collections.abc import Callable, Sequence

from coalsim.cpus.access import Hits
from coalsim.cpus.cpu import Cpu
from coalsim.cpus.oracle import Oracle, Run
from coalsim.cpus.structure_caches import ASID_SHIFT, FRAME_MASK, StructureCaches
from coalsim.cpus.tablelines import LINE_SHIFT, TableLines, line_of
from coalsim.cpus.tlb import Entry, Tlb
from coalsim.cpus.tlb_level import TAG_BITS
from coalsim.cpus.translation import Translation
from coalsim.cpus.walked import Mapped, TableWords, Tree, WalkCosts
from coalsim.units import Pfn, Time, Vpn

PRESENT, WRITABLE, USER, ACCESSED, DIRTY, GLOBAL = 0x1, 0x2, 0x4, 0x20, 0x40, 0x100  # x86 entries
WALK = "walk"
AT_ONCE = 64
"""Hits one by one before a longer run of hits in L1 is tried again."""
JUDGE_AT = 64
"""So many uses may wait for judgement before a processor that happens to be synchronised judges them."""


class TranslationUnit:
    """TLB and walker of one processor; private to it but for the walks.

    Args:
        cpu: whose it is.
        costs: of the machine and of the geometry of its tables.
        lines: of all page tables.
        table_of: the table in a frame, if one is there.
        oracle: who judges uses; None: nobody.

    `walk_cost` is what the last walk took, for its caller to charge.
    """

    __slots__ = (
        "_costs",
        "_cpu",
        "_entry_bytes",
        "_l1_count",
        "_l1_sets",
        "_leaf_bits",
        "_leaf_mask",
        "_lines",
        "_near",
        "_note_pointer",
        "_pointers",
        "_table_of",
        "_walk_near",
        "_walk_sites",
        "asid",
        "l1_hit",
        "missed",
        "misses",
        "oracle",
        "settle",
        "space",
        "structure_caches",
        "tlb",
        "touch_now",
        "tree",
        "unchecked",
        "walk_cost",
        "walks",
    )

    def __init__(
        self,
        cpu: Cpu,
        costs: WalkCosts,
        lines: TableLines,
        table_of: Callable[[Pfn], TableWords | None],
        oracle: Oracle | None,
    ) -> None:
        self._cpu = cpu
        self._costs = costs
        self._entry_bytes = costs.entry_bytes
        self._leaf_bits = costs.leaf_bits
        self._leaf_mask = (1 << costs.leaf_bits) - 1
        self._lines, self._near = lines, lines.own[cpu.id]
        self._table_of = table_of
        self.oracle = oracle
        self.unchecked = oracle.unchecked[cpu.id] if oracle is not None else None
        self.tlb = Tlb(costs.l1, costs.l2)
        self._l1_sets, self._l1_count = self.tlb.l1_sets, self.tlb.l1_count
        hits = Hits(cpu, self.tlb, costs.l1_hit, self.unchecked, self.hit, lambda: self.asid)
        self.touch_now, self.settle = hits.touch_now, hits.settle
        if oracle is not None:
            oracle.settle.append(self.settle)
        cpu.settle = self.settle
        self.structure_caches = caches = StructureCaches(cpu, costs, table_of, self.unchecked)
        self._pointers, self._note_pointer = caches.leaf_pointers, caches.note
        self._walk_sites = caches.walk_sites
        self._walk_near = costs.walk_fixed + lines.own_hit  # of a walk that reads one line, which is near
        self.missed = -1  # page and ASID of the last lookup that found nothing; -1: something came in since
        self.l1_hit = costs.l1_hit
        self.asid = 0
        self.space: Mapped | None = None
        self.tree: Tree | None = None
        self.walks = 0
        self.misses = 0
        self.walk_cost: Time = 0

    def reset(self) -> None:
        """Forget what was counted, at the end of the warm-up."""
        self.settle()
        self.walks = self.misses = 0
        self.tlb.hits_l1 = self.tlb.hits_l2 = self.tlb.misses = 0

    @property
    def hits_l1(self) -> int:
        """Lookups that found their page in the first level."""
        self.settle()
        return self.tlb.hits_l1

    # -- use ---------------------------------------------------------------------------

    def hit(self, vpn: int, write: bool, site: str, cause: str) -> bool:
        """Use a page through the TLB, after a look; False: walk.

        `Tlb.lookup` for the common case and `Cpu.charge`, in line: every access comes through here.
        Who runs hits only has them judged where he looks, at `judge_if_many`.
        """
        self.settle()
        key = vpn << TAG_BITS | self.asid
        ways = self._l1_sets[vpn % self._l1_count]
        entry = ways.pop(key, None)
        if entry is not None:
            ways[key] = entry  # the youngest again
            if write and not entry.dirty:
                return False  # whoever asks first or again counts no hit
            self.tlb.hits_l1 += 1
            cost = self.l1_hit
        else:
            entry = self.tlb.lookup_behind_l1(vpn, self.asid)
            if entry is None:
                self.missed = key
                return False
            cost = self.l1_hit if self.tlb.level == 1 else self._costs.l2_hit
            if write and not entry.dirty:
                self._uncount()
                return False
        cpu = self._cpu
        clock = cpu.clock
        if self.unchecked is not None:
            self.unchecked.append((clock, entry.translation, write, site))
        cpu.clock = clock = clock + cost
        cpu.account[cause] += cost
        if clock > cpu.limit:
            cpu.tail.append((cause, cost))
        return True

    def _uncount(self) -> None:
        """The last lookup has found an entry that a store may not use: no hit, on whatever level."""
        tlb = self.tlb
        if tlb.level == 1:
            tlb.hits_l1 -= 1
        else:
            tlb.hits_l2 -= 1

    def hits(self, vpns: Sequence[int], start: int, write: bool, site: str, cause: str) -> int:
        """Use pages one after the other, after a look, up to one that misses; how many that were."""
        cpu, done = self._cpu, start
        end = min(start + AT_ONCE, len(vpns))
        while done < end and cpu.clock < cpu.limit and self.hit(vpns[done], write, site, cause):
            done += 1
        return done - start

    def judge_if_many(self) -> None:
        """Let the oracle judge what this processor has used, if that is much and it is synchronised."""
        unchecked, cpu = self.unchecked, self._cpu
        if unchecked is not None and len(unchecked) > JUDGE_AT and cpu.clock == cpu.env._now:
            self.judge()

    def note_run(self, vpns: Sequence[int], hits: int, write: bool, site: str) -> None:
        """The first `hits` pages of a run have just hit; the clock stands at the first access."""
        unchecked = self.unchecked
        assert unchecked is not None, "somebody judges"
        self.judge_if_many()  # before the run is noted: its later accesses lie ahead of global time
        touched = {int(entry.translation.vpn): entry.translation for entry in self.tlb.touched}
        began, step = self._cpu.clock, self.l1_hit
        times = range(began, began + hits * step, step) if step else [began] * hits
        unchecked.append((began, Run(vpns[:hits], times, touched), write, site))

    def walk(self, vpn: Vpn, write: bool, user: bool, site: str) -> bool:
        """Walk the tables of the loaded space and fill the TLB; synchronised.  False: a fault."""
        cpu, unchecked = self._cpu, self.unchecked
        assert cpu.clock == cpu.env._now, "page tables are shared state: sync before"
        self.settle()
        self.walks += 1
        self.walk_cost = self._costs.walk_fixed
        if unchecked is not None and len(unchecked) > JUDGE_AT:
            self.judge()
        key = self.asid << ASID_SHIFT | vpn >> self._leaf_bits
        cached = self._pointers.pop(key, None)
        if cached is not None:  # the paging-structure cache knows the leaf table: the walk begins there
            self._pointers[key] = cached  # the youngest again
            table = cached.table
            self._note_pointer(cached, site)
        else:
            found = self._leaf_table(vpn, site)
            if found is None:
                return False
            table = found
        if not table.linked:  # a table that is gone: what the walker reads there is garbage
            self._pointers.pop(key, None)
            return False
        index = vpn & self._leaf_mask
        line = table.pfn << LINE_SHIFT | index * self._entry_bytes >> LINE_SHIFT
        self.walk_cost += self._lines.read(cpu, line)
        return self._use_entry(table, index, vpn, write, user, site, line)

    def walk_ahead(self, vpn: Vpn, write: bool, user: bool, site: str) -> bool | None:
        """The same after a look, where nobody else can use the tables.

        None: it would read more than a line that this processor wrote last and still has, so
        others would notice: synchronise and `walk`.
        """
        cpu = self._cpu
        pointers, key = self._pointers, self.asid << ASID_SHIFT | vpn >> self._leaf_bits
        cached = pointers.get(key)
        if cached is None:
            return None
        table, pointer = cached
        if not table.linked:
            return None
        index = vpn & self._leaf_mask
        line = table.pfn << LINE_SHIFT | index * self._entry_bytes >> LINE_SHIFT
        lines, near = self._lines, self._near
        version = near.get(line)
        if lines.dirty.get(line) is not cpu or version is None or version != lines.version[line]:
            return None
        del near[line]  # `TableLines.read` of a line that is near, in line: the youngest again
        near[line] = version
        self.settle()
        self.walks += 1
        self.walk_cost = self._walk_near
        del pointers[key]
        pointers[key] = cached  # the youngest again
        if self.unchecked is not None:  # `StructureCaches.note` in line
            walk_site = self._walk_sites.get(site) or self.structure_caches.walk_site(site)
            self.unchecked.append((cpu.clock, pointer, False, walk_site))
        if not table.slots[index] & PRESENT:
            return False
        return self._use_entry(table, index, vpn, write, user, site)

    def _use_entry(
        self, table: TableWords, index: int, vpn: Vpn, write: bool, user: bool, site: str, line: int = -1
    ) -> bool:
        """The walk has come to the page's entry: set its A and D and fill the TLB.  False: a fault.

        `line` is the entry's, if it is not near: then setting marks has to get it first.
        """
        word = table.slots[index]
        if not word & PRESENT or (write and not word & WRITABLE) or (user and not word & USER):
            return False
        marks = ACCESSED | DIRTY if write else ACCESSED
        if word & marks != marks:
            table.mark(index, marks)
            self.walk_cost += self._costs.set_accessed
            if line >= 0:
                self.walk_cost += self._lines.write(self._cpu, line)
        space = self.space
        assert space is not None, "it has just been walked"
        translation = space.translations.get(vpn)
        if translation is None or translation.writable is not (word & WRITABLE != 0):
            translation = self._new_translation(space, vpn, word)
        # in place of what the TLB had for the page
        entry = Entry(translation, write or word & (DIRTY | WRITABLE) == DIRTY | WRITABLE)
        self.tlb.insert(vpn, self.asid, entry)
        self.missed = -1
        if self.unchecked is not None:
            self.unchecked.append((self._cpu.clock, translation, write, site))
        return True

    def judge(self) -> None:
        """Let the oracle judge what this processor has used; synchronised."""
        if self.oracle is not None:
            self.oracle.judge(self._cpu.id)

    def _new_translation(self, space: Mapped, vpn: Vpn, word: int) -> Translation:
        if len(space.translations) >= space.forget_at:
            space.forget_unused()
        translation = Translation(
            space.number,
            vpn,
            (word & FRAME_MASK) >> 12,  # type: ignore[arg-type]  # `Pfn` would be one more call
            word & WRITABLE != 0,
            word & USER != 0,
            word & GLOBAL != 0,
        )
        older = space.translations.get(vpn)  # it gained rights: entries of the old one still serve
        translation.older = older
        space.translations[vpn] = translation
        return translation

    def _leaf_table(self, vpn: Vpn, site: str) -> TableWords | None:
        """The leaf table by reading the tables above it; adds the cost."""
        costs, cpu, tree, space = self._costs, self._cpu, self.tree, self.space
        assert tree is not None, "a walk needs an address space"
        assert space is not None, "a walk needs an address space"
        path = tree.path(vpn)
        first = self.structure_caches.first_read(self.asid, vpn, site)
        for step in path[first:]:
            if step.level == len(costs.index_bits) - 1:
                break
            line = line_of(step.pfn, step.index, costs.entry_bytes)
            self.walk_cost += self._lines.read(cpu, line)
            if not step.entry & PRESENT:
                return None
            if not step.entry & ACCESSED and (step.level or costs.root_accessed):
                table = self._table_of(step.pfn)
                if table is not None:
                    table.exchange(step.index, step.entry | ACCESSED)
                    self.walk_cost += costs.set_accessed + self._lines.write(cpu, line)
            self.structure_caches.remember(self.asid, space, vpn, step)
        if path[-1].level != len(costs.index_bits) - 1:
            return None
        leaf = tree.leaf(vpn)
        assert leaf is not None, "the path has just led to it"
        return leaf[0]

    # -- what is loaded --------------------------------------------------------------------

    def load(self, asid: int, space: Mapped, tree: Tree) -> None:
        """Another address space is used from now on."""
        self.settle()
        self.asid, self.space, self.tree = asid, space, tree

    def held(self, vpn: int) -> Entry | None:
        """What the TLB has of a page of the loaded space; that has been used."""
        self.settle()
        return self.tlb.lookup(vpn, self.asid)

    # -- invalidation ---------------------------------------------------------------------

    def invalidate(self, first: int, last: int, asid: int) -> None:
        """INVLPG of every page of a range; the paging-structure caches of the ASID go too."""
        self.settle()
        self.tlb.invalidate_range(first, last, asid)
        self.structure_caches.forget(asid)

    def flush(self, asid: int) -> int:
        """Everything of one ASID but global entries; how many pages that were."""
        self.settle()
        self.structure_caches.forget(asid)
        return self.tlb.flush_asid(asid)

    def flush_all(self) -> int:
        """Everything, global entries too."""
        self.settle()
        self.structure_caches.forget_all()
        return self.tlb.flush_all()
