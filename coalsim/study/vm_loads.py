"""The loads on address spaces that a study can name: the parameters of each kind, checked.

As in `loads.py`; those of will-it-scale come first.
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, Field

from coalsim.engine.laws import Law
from coalsim.study.parameters import Count, LawText, ModeParameters, Parameters, SizeText, TeamParameters
from coalsim.units import MIB, PAGE_SIZE, US
from coalsim.workloads.base import Workload
from coalsim.workloads.scale.brk1 import Brk1
from coalsim.workloads.scale.context_switch1 import ContextSwitch1, Partner
from coalsim.workloads.scale.malloc1 import Malloc1
from coalsim.workloads.scale.mmap1 import Mmap1
from coalsim.workloads.scale.page_fault1 import PageFault1
from coalsim.workloads.scale.tlb_flush2 import TlbFlush2
from coalsim.workloads.vm import flush_range, munmap_shared
from coalsim.workloads.vm.flush_range import FlushRange
from coalsim.workloads.vm.fork_cow import ForkCow
from coalsim.workloads.vm.gates import Waiting
from coalsim.workloads.vm.gc_mprotect import GcMprotect
from coalsim.workloads.vm.madvise_shootdown import MadviseShootdown
from coalsim.workloads.vm.mmap_touch_munmap import MmapTouchMunmap
from coalsim.workloads.vm.munmap_shared import MunmapShared
from coalsim.workloads.vm.page_table_placement import PageTablePlacement
from coalsim.workloads.vm.pft import Areas, Pft
from coalsim.workloads.vm.radixvm_global import RadixvmGlobal
from coalsim.workloads.vm.radixvm_local import RadixvmLocal
from coalsim.workloads.vm.radixvm_pipeline import RadixvmPipeline
from coalsim.workloads.vm.team import Mode, Team

Pages = Annotated[int, Field(ge=1, le=1 << 18)]
Mib = Annotated[int, Field(ge=1, le=1 << 20)]
Percent = Annotated[int, Field(ge=0, le=100)]


class PageFault1Parameters(ModeParameters):
    """Every task faults in an area of its own."""

    mib: Mib = 128
    """Of the area."""

    def build(self) -> Workload:
        """The load."""
        return PageFault1(team=self.team(), mib=self.mib)


class Mmap1Parameters(ModeParameters):
    """Every task maps and unmaps, untouched."""

    mib: Mib = 128
    """Of the area."""

    def build(self) -> Workload:
        """The load."""
        return Mmap1(team=self.team(), mib=self.mib)


class Malloc1Parameters(ModeParameters):
    """Every task allocates and frees so much that the C library maps it."""

    mib: Mib = 128
    """Of the request."""

    def build(self) -> Workload:
        """The load."""
        return Malloc1(team=self.team(), mib=self.mib)


class TlbFlush2Parameters(ModeParameters):
    """Every task writes, gives back and reads page after page."""

    def build(self) -> Workload:
        """The load."""
        return TlbFlush2(team=self.team())


class Brk1Parameters(ModeParameters):
    """Every task moves its process's break up and down."""

    def build(self) -> Workload:
        """The load."""
        return Brk1(team=self.team())


class ContextSwitch1Parameters(ModeParameters):
    """Pairs of tasks hand a byte back and forth."""

    partner: Partner = "same"
    """Where it runs: on the `same` CPU, or on the `sibling` hardware thread."""

    def build(self) -> Workload:
        """The load."""
        return ContextSwitch1(team=self.team(), partner=self.partner)


class FlushRangeParameters(ModeParameters):
    """One CPU takes the translations of a range away and uses it again."""

    cpus: Annotated[int, Field(ge=1, le=1 << 20)] = 1
    pages: Pages = 1
    """Of the range."""
    call: flush_range.Call = "madvise"
    """What takes them away: madvise(DONTNEED), munmap, or mprotect."""
    others: Annotated[int, Field(ge=0, le=1 << 18)] = 64
    """Pages that are read again after each call."""

    def build(self) -> Workload:
        """The load."""
        return FlushRange(team=self.team(), pages=self.pages, call=self.call, others=self.others)


class MadviseShootdownParameters(TeamParameters):
    """One thread gives a page back and touches it again; the others spin."""

    def build(self) -> Workload:
        """The load."""
        return MadviseShootdown(team=self.threads())


class MunmapSharedParameters(TeamParameters):
    """All CPUs touch the same pages, one takes them away."""

    pages: Pages = 1
    call: munmap_shared.Call = "munmap"
    """What is timed: munmap, or madvise(DONTNEED)."""
    barrier: Waiting = "sleep"
    """What the others do meanwhile: `sleep`, or `spin` in user mode."""
    table: munmap_shared.Table = "shared"
    """`shared`: other mappings keep the pages' tables; `own`: every munmap frees them."""

    def build(self) -> Workload:
        """The load."""
        return MunmapShared(
            team=self.threads(), pages=self.pages, call=self.call, barrier=self.barrier, table=self.table
        )


class RadixvmLocalParameters(TeamParameters):
    """Every thread maps, writes and unmaps memory of its own."""

    pages: Pages = 1

    def build(self) -> Workload:
        """The load."""
        return RadixvmLocal(team=self.threads(), pages=self.pages)


class RadixvmPipelineParameters(TeamParameters):
    """Every thread maps memory that the next one unmaps."""

    pages: Pages = 1
    apart: SizeText = 256 * MIB
    """From one region to the next, for each page that they have; rounded up to whole pages."""

    def build(self) -> Workload:
        """The load."""
        apart = -(-self.apart // PAGE_SIZE) * PAGE_SIZE
        return RadixvmPipeline(team=self.threads(), pages=self.pages, apart=apart)


class RadixvmGlobalParameters(TeamParameters):
    """Threads build one large table and use all of it."""

    pages: Pages = 16
    """Of one thread's slice."""

    def build(self) -> Workload:
        """The load."""
        return RadixvmGlobal(team=self.threads(), pages=self.pages)


class PftParameters(Parameters):
    """Many tasks fault one large mapping in, once."""

    mode: Mode = "threads"
    """`threads` of one process, or `processes` of one thread."""
    mib: Mib = 64
    """Of all shares together."""
    areas: Areas = "shared"
    """All shares in one area, or each in its `own`, as processes have it anyway."""

    def build(self) -> Workload:
        """The load."""
        team = Team(cpus=self.cpus, mode=self.mode, spread=self.spread, rounds=1)
        return Pft(team=team, mib=self.mib, areas=self.areas)


class MmapTouchMunmapParameters(ModeParameters):
    """Every task maps some pages, writes them and unmaps them."""

    pages: Pages = 1

    def build(self) -> Workload:
        """The load."""
        return MmapTouchMunmap(team=self.team(), pages=self.pages)


class ForkCowParameters(TeamParameters):
    """A server forks children; both sides write."""

    pages: Pages = 256
    """Of the heap."""
    parent_share: Percent = 10
    """Percent of the heap that the server writes after each fork."""
    child_share: Percent = 50
    """Percent of the heap that a child writes."""

    def build(self) -> Workload:
        """The load."""
        return ForkCow(
            team=self.threads(),
            pages=self.pages,
            parent_share=self.parent_share,
            child_share=self.child_share,
        )


class GcMprotectParameters(TeamParameters):
    """A garbage collector takes the write right from parts of a heap in use."""

    pages: Pages = 64
    """Of a region."""
    regions: Annotated[int, Field(ge=2, le=4096)] = 16
    """Of the heap."""
    think: LawText = Law(kind="const", mean=2 * US)
    """A mutator's work before each batch of writes."""
    batch: Count = 10
    """Writes between two looks for a safepoint."""

    def build(self) -> Workload:
        """The load."""
        return GcMprotect(
            team=self.threads(),
            pages=self.pages,
            regions=self.regions,
            think=self.think,
            batch=self.batch,
        )


class PageTablePlacementParameters(TeamParameters):
    """Random reads of more pages than the TLB holds."""

    working_set: SizeText = 64 * MIB
    """Memory that is read, in whole pages."""
    stride: Annotated[int, Field(ge=1, le=1 << 18)] = 8
    """Pages from one of them to the next; from 8 on, each has a line of the page table to itself."""
    data_node: Annotated[int, Field(ge=0)] | None = None
    """Where they are; the node of the first CPU if it is not given."""
    batch: Count = 100
    """Reads of one operation."""

    def build(self) -> Workload:
        """The load."""
        return PageTablePlacement(
            team=self.threads(),
            working_set=-(-self.working_set // PAGE_SIZE),
            stride=self.stride,
            data_node=self.data_node,
            batch=self.batch,
        )


VM_WORKLOADS: Mapping[str, type[BaseModel]] = {
    "page_fault1": PageFault1Parameters,
    "mmap1": Mmap1Parameters,
    "malloc1": Malloc1Parameters,
    "tlb_flush2": TlbFlush2Parameters,
    "brk1": Brk1Parameters,
    "context_switch1": ContextSwitch1Parameters,
    "flush_range": FlushRangeParameters,
    "madvise_shootdown": MadviseShootdownParameters,
    "munmap_shared": MunmapSharedParameters,
    "radixvm_local": RadixvmLocalParameters,
    "radixvm_pipeline": RadixvmPipelineParameters,
    "radixvm_global": RadixvmGlobalParameters,
    "pft": PftParameters,
    "mmap_touch_munmap": MmapTouchMunmapParameters,
    "fork_cow": ForkCowParameters,
    "gc_mprotect": GcMprotectParameters,
    "page_table_placement": PageTablePlacementParameters,
}
"""Every kind with its parameters."""
