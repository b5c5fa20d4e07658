"""VmSwitches: the ways in which kernels differ in virtual memory and TLB shootdown.

A part of `Switches`, between `switches.py` and `pressure_switches.py`.  Each
switch names the Linux version (and commit, where one is known) that brought it.

Invariant: a `Switches` that exists is consistent; `vm_rules` says what no kernel
could be.  Nothing here waits or costs time.
Source: the Linux commits named at the fields; the papers named at the policies'
own parameters.
"""

from dataclasses import dataclass, field
from typing import Literal

from coalsim.profiles.pressure_switches import AS_TIME, PressureSwitches, Rule
from coalsim.units import Time

Geometry = Literal["auto", "x86-32", "pae", "x86-64", "x86-64-5"]
MmapLock = Literal["rwsem", "per_vma", "range"]
MadviseLock = Literal["mmap", "vma"]
TableReplication = Literal["none", "eager", "lazy", "per_cpu"]
HugePages = Literal["never"]

FIRST_TOUCH, INTERLEAVE, ON_NODE = "first_touch", "interleave", "node:"
"""Words of `table_placement`; the last is followed by a node's number."""

NO_RSS_COUNTER = -1
"""`rss_batch` of a kernel that does not count pages."""


@dataclass(frozen=True, kw_only=True)
class VmSwitches(PressureSwitches):
    """In which kernels differ from the page table up to the process."""

    # -- page tables
    geometry: Geometry
    """Levels of the page table.  `auto`: x86-32 where the machine's memory fits into 4 GiB, else x86-64."""
    table_replication: TableReplication
    """Copies of a process's page table: `none`; one per node, written with every entry (`eager`: Mitosis,
    ASPLOS 2020) or filled by faults (`lazy`: numaPTE, arXiv 2401.15558); one `per_cpu` (RadixVM)."""
    table_placement: str
    """The node of a page table's frame: `first_touch`, `interleave`, or `node:N` for one node for all."""

    # -- the address space
    mmap_lock: MmapLock
    """What a fault holds: the process's `rwsem`, or the area's own lock (`per_vma`, 6.4).  `range`: there is
    no lock of the process; every operation locks the pages that it works on (RadixVM)."""
    madvise_lock: MadviseLock
    """What madvise(DONTNEED) holds: `mmap`, the lock of the process, or the area's (`vma`, 6.17,
    a6fde7add78d); read only where `mmap_lock` is `per_vma`."""
    munmap_downgrade: bool
    """munmap clears entries and frees pages with mmap_lock held for reading (4.20, dd2283f2605e)."""
    munmap_frees_tables: bool
    """munmap takes out page tables that map nothing any more (Linux); off (sv6), or where mmap_lock is range:
    they stay until the process ends."""
    refcache_delay: Time = field(metadata=AS_TIME)
    """How long after its last reference has gone a frame is really freed, two epochs of about 10 ms each in
    sv6 (RadixVM, EuroSys 2013); so it comes back cold.  0: at once."""
    merge_areas: bool
    """A new mapping joins a neighbour of equal rights."""
    stack_guard_pages: int
    """Gap below a stack that nothing else is mapped into: 1 page, 256 since 4.12 (1be7107fbe18)."""
    zero_page: bool
    """A read of an untouched anonymous page maps one shared page of zeros, and takes no frame."""
    rss_batch: int
    """Pages that a thread counts by itself before it writes the process's counter (64 since 2.6.34); 0 = per
    CPU and max(32, 2 x CPUs) (6.2, f1a7941243c1); -1 = there is no such counter (sv6)."""
    thp: HugePages
    """Transparent huge pages; there are none."""

    # -- lists for reclaim
    lru_lock: bool
    """Pages of processes are on LRU lists, behind one interrupts-off lock per node; off: no such lists."""
    lru_batch: int
    """Pages that a CPU collects before it takes that lock: 14, 15 (about 4.17), 31 (6.9, 9cecde80aae0);
    0 = no lists, whatever `lru_lock` says."""
    lru_drain: bool
    """munmap and madvise(DONTNEED) first move the own batch to the lists (until 6.13)."""
    flush_batch: int
    """Pages that reclaim unmaps before one flush for all of them (32 since 4.3, 72b252aed506; before: 1)."""

    # -- shootdown
    shootdown: str
    """Policy by name: linux, concurrent (5.13, 4ce94eabac16), serial, broadcast, early_ack, latr, abis,
    radixvm, numapte, invlpgb, tlbi, rar, or `module:Class` or `./file.py:Class`."""
    ipi: str
    """How an interrupt gets to other CPUs: `machine` = as the machine's file says, or x2apic_cluster,
    x2apic_physical, kvm_exit, kvm_pv, posted."""
    pv_flush: bool
    """With `kvm_pv`: a vCPU that the host has taken away is neither interrupted for a flush nor waited for;
    the host flushes its TLB before it runs again (4.16, arch/x86/kernel/kvm.c)."""
    flush_ceiling: int
    """Longest span in pages that an unmapping flushes page by page; beyond it, all: 33 (3.17, a5102476a24b).
    0: always all, as x86 did before 3.6 (its tlb_flush was flush_tlb_mm)."""
    gather_pages: int
    """Pages that an unmapping collects before it flushes and frees: 8 on the stack and 19 x 510 in pages of
    their own (3.8, 53a59fc67f97); without limit before."""
    nested_gather_full: bool
    """A flush is full, page tables included, while another thread of the process unmaps, too (5.2,
    7a30df49f63a)."""
    mprotect_upgrade_flushes: bool
    """mprotect flushes entries that only gain rights, too (until 5.18; c9fe66560bf2)."""
    mprotect_makes_writable: bool
    """mprotect makes private pages that nobody else maps writable at once (6.0, 64fe24a3e05e); without it
    they stay read-only until the next write to each faults and takes the frame over."""
    tlb_generations: bool
    """Flushes of a process are counted, so that a CPU can skip or widen one (4.14)."""
    asid_slots: int
    """Processes whose translations a CPU keeps over switches, by hardware tags: 6 (4.14); 0 = every switch
    flushes."""
    lazy_tlb_skips: bool
    """A CPU that idles with a process loaded gets no flush, unless page tables are freed (4.20)."""
    cpumask_sticky: bool
    """A CPU stays in mm_cpumask when it switches away; a flush trims the mask once per second (6.14,
    209954cbc7d0)."""
    all_but_self: bool
    """When all other online CPUs are targets, one write reaches them all (5.4, 832df3d47bad)."""
    oracle: bool
    """Every use of a translation is checked against the tables and the life of the frame."""

    # -- parameters of single policies
    invlpgb_min_cpus: int
    """`invlpgb`: a process gets a global tag when this many CPUs run it (6.15: more than 3, 4afeb0ed1753)."""
    latr_ring: int
    """`latr`: records per CPU; a full ring falls back to interrupts (Kumar and others, ASPLOS 2018: 64)."""
    latr_ticks: int
    """`latr`: ticks after which frames and addresses of a record may be used again (ASPLOS 2018: 2)."""

    # -- threads
    time_slice_ticks: int
    """Ticks after which a thread gives its CPU to the next one that waits for it."""

    def vm_rules(self) -> list[Rule]:
        """What must hold for each of these switches."""
        counts = (
            ("stack_guard_pages", 0, "use 256 as Linux does, 1, or 0 for none"),
            ("rss_batch", NO_RSS_COUNTER, "use 0 (max(32, 2 x CPUs)) or more, or -1 for no counter"),
            ("lru_batch", 0, "use 0 (no lists), or 14, 15 or 31 as Linux does"),
            ("flush_batch", 1, "use 32 as Linux does, or 1"),
            ("flush_ceiling", 0, "use 0 (always all), or 33 as Linux does"),
            ("gather_pages", 1, "use 9698 as Linux does, or 1 or more"),
            ("invlpgb_min_cpus", 1, "use 4 as Linux does, or 1 or more"),
            ("latr_ring", 1, "use 64, or 1 or more"),
            ("latr_ticks", 1, "use 2, or 1 or more"),
            ("time_slice_ticks", 1, "use 1 or more"),
        )
        needs = "needs tlb_generations, which tell whether what a CPU kept is stale"
        return [
            *(
                (key, getattr(self, key), getattr(self, key) >= least, f"less than {least}", remedy)
                for key, least, remedy in counts
            ),
            (
                "asid_slots",
                self.asid_slots,
                0 <= self.asid_slots <= 4096,
                "no such number of tags",
                "use 0 (each switch flushes) to 4096; Linux has 6",
            ),
            (
                "asid_slots",
                self.asid_slots,
                self.tlb_generations or not self.asid_slots,
                needs,
                "set kernel.asid_slots=0 too, or kernel.tlb_generations=on",
            ),
            (
                "lazy_tlb_skips",
                "on" if self.lazy_tlb_skips else "off",
                self.tlb_generations or not self.lazy_tlb_skips,
                needs,
                "set kernel.lazy_tlb_skips=off too, or kernel.tlb_generations=on",
            ),
            (
                "table_placement",
                self.table_placement,
                self.table_placement in (FIRST_TOUCH, INTERLEAVE) or self.table_node is not None,
                "no such placement",
                "use first_touch, interleave, or node:N with the number of a node",
            ),
            (
                "reclaim",
                "on" if self.reclaim else "off",
                not (self.reclaim and self.mmap_lock == "range"),
                "who locks ranges of pages (kernel.mmap_lock=range) cannot sleep while holding one",
                "use kernel.mmap_lock=rwsem or per_vma, or kernel.reclaim=off",
            ),
            (
                "shootdown",
                self.shootdown,
                bool(self.shootdown),
                "no name",
                "name a policy, for example linux",
            ),
            ("ipi", self.ipi, bool(self.ipi), "no name", "use machine, or for example x2apic_cluster"),
        ]

    @property
    def table_node(self) -> int | None:
        """The one node of all page tables, where `table_placement` names one."""
        number = self.table_placement.removeprefix(ON_NODE)
        named = self.table_placement.startswith(ON_NODE) and number.isascii() and number.isdigit()
        return int(number) if named else None
