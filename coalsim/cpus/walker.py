"""One processor's translation hardware: TLB, paging-structure caches and the walker.

    lookup -> hit                                   private: `look`
           -> walk: skip what the paging-structure caches know, read the rest,
                    set A (and D for a store), fill the TLB          shared: `sync`

A translation is read and put into the TLB at one instant and the walk is charged
afterwards; otherwise an invalidation that arrives during the walk would find nothing and
the dead entry would be filled behind it.
A store hits only an entry that is known to be dirty; any other store walks again to set
D, and learns there whether the page may be written.
A walk costs `walk_fixed` and one read per level that no paging-structure cache knows, by
where the line of the table is (`tablelines.py`).

Page tables are reached through the `Tree` protocol, filled in by mm/paging.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.oracle import Oracle, Run
from coalsim.cpus.tablelines import TableLines, line_of
from coalsim.cpus.tlb import Entry, Shape, Tlb
from coalsim.cpus.translation import Translation
from coalsim.units import Pfn, Time, Vpn

PRESENT, WRITABLE, USER, ACCESSED, DIRTY, GLOBAL = 0x1, 0x2, 0x4, 0x20, 0x40, 0x100  # x86 entries
FRAME_MASK = 0x000F_FFFF_FFFF_F000
ASID_SHIFT = 40  # an ASID above every page number
WALK = "walk"
JUDGE_AT = 64
"""So many uses may wait for judgement before a processor that happens to be synchronised judges them."""


class TableWords(Protocol):
    """A table in a frame."""

    pfn: Pfn
    linked: bool
    """Some directory entry points to it."""

    def __getitem__(self, index: int) -> int:
        """An entry."""

    def exchange(self, index: int, word: int) -> int:
        """Store an entry; returns the old one."""


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
    """By (leaf-table number, depth above it): the living pointers to tables that some walker has cached."""


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
    entry_bytes: int


class Walked(NamedTuple):
    """How a walk ended."""

    entry: Entry | None  # what is in the TLB now; None: a fault
    word: int  # the leaf entry that was read, 0 if a table was missing
    cost: Time


class Cached(NamedTuple):
    """A pointer to a table in a paging-structure cache."""

    table: TableWords
    translation: Translation


class TranslationUnit:
    """TLB and walker of one processor; private to it but for the walks.

    Args:
        cpu: whose it is.
        costs: of the machine and of the geometry of its tables.
        lines: of all page tables.
        node_of: of a frame.
        table_of: the table in a frame, if one is there.
        oracle: who judges uses; None: nobody.
    """

    __slots__ = (
        "_caches",
        "_costs",
        "_cpu",
        "_leaf_bits",
        "_lines",
        "_node_of",
        "_table_of",
        "asid",
        "l1_hit",
        "misses",
        "oracle",
        "space",
        "tlb",
        "tree",
        "unchecked",
        "walks",
    )

    def __init__(
        self,
        cpu: Cpu,
        costs: WalkCosts,
        lines: TableLines,
        node_of: Callable[[Pfn], int],
        table_of: Callable[[Pfn], TableWords | None],
        oracle: Oracle | None,
    ) -> None:
        self._cpu = cpu
        self._costs = costs
        self._leaf_bits = costs.leaf_bits
        self._lines = lines
        self._node_of = node_of
        self._table_of = table_of
        self.oracle = oracle
        self.unchecked = oracle.unchecked[cpu.id] if oracle is not None else None
        self.tlb = Tlb(costs.l1, costs.l2)
        self._caches: list[dict[int, Cached]] = [{} for _ in costs.structure_entries]
        self.l1_hit = costs.l1_hit
        self.asid = 0
        self.space: Mapped | None = None
        self.tree: Tree | None = None
        self.walks = 0
        self.misses = 0

    def reset(self) -> None:
        """Forget what was counted, at the end of the warm-up."""
        self.walks = self.misses = 0
        self.tlb.hits_l1 = self.tlb.hits_l2 = self.tlb.misses = 0

    # -- use ---------------------------------------------------------------------------

    def hit(self, vpn: int, write: bool, site: str, cause: str) -> bool:
        """Use a page through the TLB, after a look; False: walk."""
        entry = self.tlb.lookup(vpn, self.asid)
        if entry is None or (write and not entry.dirty):
            return False
        cpu, costs = self._cpu, self._costs
        unchecked = self.unchecked
        if unchecked is not None:
            if len(unchecked) > JUDGE_AT and self.oracle is not None and cpu.clock == cpu.env._now:
                self.oracle.judge(cpu.id)
            unchecked.append((cpu.clock, entry.translation, write, site))
        cpu.charge(costs.l1_hit if self.tlb.level == 1 else costs.l2_hit, cause)
        return True

    def note_run(self, vpns: Sequence[int], hits: int, write: bool, site: str) -> None:
        """The first `hits` pages of a run have just hit; the clock stands at the first access."""
        unchecked = self.unchecked
        assert unchecked is not None, "somebody judges"
        touched = {int(entry.translation.vpn): entry.translation for entry in self.tlb.touched}
        run = Run(vpns[:hits], self.l1_hit, touched)
        unchecked.append((self._cpu.clock, run, write, site))
        if len(unchecked) > JUDGE_AT and self.oracle is not None and self._cpu.clock == self._cpu.env._now:
            self.oracle.judge(self._cpu.id)

    def walk(self, vpn: Vpn, *, write: bool, user: bool, site: str) -> Walked:
        """Walk the tables of the loaded space and fill the TLB; synchronised.

        The caller charges the cost.
        """
        cpu, costs, tree, space = self._cpu, self._costs, self.tree, self.space
        assert cpu.clock == cpu.env._now, "page tables are shared state: sync before"
        assert tree is not None, "a walk needs an address space"
        assert space is not None, "a walk needs an address space"
        if self.unchecked is not None and len(self.unchecked) > JUDGE_AT and self.oracle is not None:
            self.oracle.judge(cpu.id)
        self.walks += 1
        cost = costs.walk_fixed
        found, reads = self._leaf_table(space, tree, vpn, site)
        cost += reads
        if found is None:
            return Walked(None, 0, cost)
        table, index = found
        line, node = line_of(table.pfn, index, costs.entry_bytes), self._node_of(table.pfn)
        cost += self._lines.read(cpu, line, node)
        word = table[index]
        if not word & PRESENT or (write and not word & WRITABLE) or (user and not word & USER):
            return Walked(None, word, cost)
        marks = ACCESSED | DIRTY if write else ACCESSED
        if word & marks != marks:
            table.exchange(index, word | marks)
            cost += costs.set_accessed + self._lines.write(cpu, line, node)
        translation = space.translations.get(vpn)
        if translation is None or (translation.writable != bool(word & WRITABLE)):
            translation = self._new_translation(space, vpn, word)
        entry = Entry(translation)
        entry.dirty = write or bool(word & DIRTY and word & WRITABLE)
        self.tlb.insert(vpn, self.asid, entry)  # in place of what it had for the page
        if self.unchecked is not None:
            self.unchecked.append((cpu.clock, translation, write, site))
        return Walked(entry, word, cost)

    def _new_translation(self, space: Mapped, vpn: Vpn, word: int) -> Translation:
        translation = Translation(
            space.number,
            vpn,
            Pfn((word & FRAME_MASK) >> 12),
            writable=bool(word & WRITABLE),
            user=bool(word & USER),
            is_global=bool(word & GLOBAL),
        )
        translation.older = space.translations.get(
            vpn
        )  # it gained rights: entries of the old one still serve
        space.translations[vpn] = translation
        return translation

    def _leaf_table(
        self, space: Mapped, tree: Tree, vpn: Vpn, site: str
    ) -> tuple[tuple[TableWords, int] | None, Time]:
        """The leaf table as this walker sees it, and what getting there cost."""
        costs, cpu = self._costs, self._cpu
        number = vpn >> self._leaf_bits
        key = self.asid << ASID_SHIFT | number
        caches = self._caches
        if caches and (cached := caches[0].pop(key, None)) is not None:
            caches[0][key] = cached
            if self.unchecked is not None:
                self.unchecked.append((cpu.clock, cached.translation, False, f"{site} (page walk)"))
            if cached.table.linked:
                return (cached.table, vpn & (1 << self._leaf_bits) - 1), 0
            del caches[0][key]  # a table that is gone: what the walker reads there is garbage
            return None, 0
        path = tree.path(vpn)
        first = self._first_read(vpn, len(costs.index_bits))
        cost = 0
        for step in path[first:]:
            if step.level == len(costs.index_bits) - 1:
                break
            cost += self._lines.read(
                cpu, line_of(step.pfn, step.index, costs.entry_bytes), self._node_of(step.pfn)
            )
            if not step.entry & PRESENT:
                return None, cost
            if not step.entry & ACCESSED:
                table = self._table_of(step.pfn)
                if table is not None:
                    table.exchange(step.index, step.entry | ACCESSED)
                    cost += costs.set_accessed
            self._remember(space, vpn, step)
        last = path[-1]
        if last.level != len(costs.index_bits) - 1:
            return None, cost
        leaf = tree.leaf(vpn)
        assert leaf is not None, "the path has just led to it"
        return leaf, cost

    def _first_read(self, vpn: Vpn, levels: int) -> int:
        """The level at which the walk starts, by what the upper paging-structure caches know."""
        bits = self._costs.index_bits
        shift = self._leaf_bits
        for above in range(1, len(self._caches)):
            shift += bits[levels - 1 - above]
            key = self.asid << ASID_SHIFT | vpn >> shift
            cache = self._caches[above]
            if (cached := cache.pop(key, None)) is not None and cached.table.linked:
                cache[key] = cached
                return levels - 1 - above
        return 0

    def _remember(self, space: Mapped, vpn: Vpn, step: ReadStep) -> None:
        """Put the pointer that a step read into the cache of its level."""
        costs = self._costs
        above = len(costs.index_bits) - 2 - step.level  # 0: it points to a leaf table
        if above >= len(self._caches):
            return
        pfn = Pfn((step.entry & FRAME_MASK) >> 12)
        table = self._table_of(pfn)
        if table is None:
            return
        shift = self._leaf_bits + sum(costs.index_bits[step.level + 1 : -1])
        number = vpn >> shift
        name = above << ASID_SHIFT | number
        translation = space.tables.get(name)
        if translation is None or translation.pfn != pfn:
            translation = space.tables[name] = Translation(
                space.number, Vpn(number << shift), pfn, writable=True, user=True
            )
        cache = self._caches[above]
        cache[self.asid << ASID_SHIFT | number] = Cached(table, translation)
        if len(cache) > costs.structure_entries[above]:
            del cache[next(iter(cache))]

    # -- walks that nobody asked for ------------------------------------------------------

    def pointers(self) -> list[Translation]:
        """The pointers to leaf tables that speculative walks could follow: those of the present ASID."""
        if not self._caches or self.space is None:
            return []
        held = self._caches[0].items()
        return [cached.translation for key, cached in held if key >> ASID_SHIFT == self.asid]

    def guess(self, pointers: Sequence[Translation], at: Time, reason: str) -> None:
        """A speculative walk may have followed these, up to the end of a flush's handler."""
        if self.unchecked is not None:
            site = f"speculative page walk in the handler of the flush for {reason}"
            self.unchecked.extend((at, pointer, False, site) for pointer in pointers)

    # -- invalidation ---------------------------------------------------------------------

    def invalidate(self, first: int, last: int, asid: int) -> None:
        """INVLPG of every page of a range; the paging-structure caches of the ASID go too."""
        tlb = self.tlb
        for vpn in range(first, last):
            tlb.invalidate(vpn, asid)
        self._forget_tables(asid)

    def flush(self, asid: int) -> int:
        """Everything of one ASID but global entries; how many pages that were."""
        self._forget_tables(asid)
        return self.tlb.flush_asid(asid)

    def flush_all(self) -> int:
        """Everything, global entries too."""
        for cache in self._caches:
            cache.clear()
        return self.tlb.flush_all()

    def _forget_tables(self, asid: int) -> None:
        for cache in self._caches:
            gone = [key for key in cache if key >> ASID_SHIFT == asid]
            for key in gone:
                del cache[key]
