"""The loads for bad days: the parameters of each kind, checked.

Their kernels reclaim unless the study says otherwise: a study of one of them sets kernel.reclaim.
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, Field, model_validator

from coalsim.engine.laws import Law
from coalsim.study.parameters import Count, LawText, ModeParameters, Order, Parameters
from coalsim.study.sections import Section, TimeText
from coalsim.units import MS, SEC, US
from coalsim.workloads.base import Workload
from coalsim.workloads.synthetic.fragmentation_ageing import FragmentationAgeing
from coalsim.workloads.vm.atomic_bursts import AtomicBursts
from coalsim.workloads.vm.mapped_scan import MappedScan
from coalsim.workloads.vm.noisy_neighbour import NoisyNeighbour, Where
from coalsim.workloads.vm.oom_storm import OomStorm
from coalsim.workloads.vm.team import Mode


class OomStormParameters(Parameters):
    """Processes that together ask for more memory than there is."""

    processes: Annotated[int, Field(ge=1, le=1 << 14)] = 40
    threads: Annotated[int, Field(ge=1, le=1 << 10)] = 1
    """Of each process."""
    mib: Annotated[int, Field(ge=1, le=1 << 20)] = 8
    """The most that a process is after; the least is a quarter."""
    unkillable: Annotated[int, Field(ge=0, le=1 << 14)] = 2
    """Processes that the OOM killer must not choose."""
    rounds: Count = 1
    """How often each process takes and gives back what it is after."""

    @model_validator(mode="after")
    def _fits(self) -> "OomStormParameters":
        if self.unkillable > self.processes:
            most = f"use at most {self.processes}"
            raise ValueError(f"{self.unkillable} unkillable ones of {self.processes} processes; {most}")
        return self

    def build(self) -> Workload:
        """The load."""
        return OomStorm(
            cpus=self.cpus,
            processes=self.processes,
            threads=self.threads,
            mib=self.mib,
            unkillable=self.unkillable,
            rounds=self.rounds,
            spread=self.spread,
        )


class FragmentationAgeingParameters(Parameters):
    """Blocks of all sizes that come and go for hours."""

    fill: Annotated[int, Field(ge=1, le=100)] = 40
    """Percent of all memory that is held together at the most."""
    cache: Annotated[int, Field(ge=0, le=100)] = 58
    """Percent of all memory that cached pages fill."""
    change: Count = 4
    """Cached pages that change with each block."""
    orders: Order = 5
    """The largest order of the blocks; each is half as likely as the one below."""
    short: LawText = Law(kind="exp", mean=10 * SEC)
    """How long most blocks live."""
    long: LawText = Law(kind="exp", mean=1800 * SEC)
    """How long the others live."""
    long_share: Annotated[int, Field(ge=0, le=100)] = 5
    """Percent of the blocks that live long."""
    think: LawText = Law(kind="exp", mean=200 * MS)
    """Time between two blocks of a CPU."""
    rounds: Annotated[int, Field(ge=0, le=1 << 30)] = 0
    """Blocks that each CPU takes; 0 = for ever, which needs run.duration."""
    huge_order: Order = 9
    """Of the blocks that are asked for to see whether they can be had."""
    huge_every: Count = 250
    """Blocks of a CPU between two such requests."""

    def build(self) -> Workload:
        """The load."""
        return FragmentationAgeing(**dict(self))


class AtomicBurstsParameters(Parameters):
    """Drivers that cannot wait take pages while memory is short."""

    fill: Annotated[int, Field(ge=0, le=100)] = 97
    """Percent of each node that is taken before the drivers begin."""
    burst: Count = 64
    """Pages of a burst."""
    hold: TimeText = 200 * US
    """How long a driver keeps them."""
    period: TimeText = 100 * US
    """From their release to the next burst."""
    begin: TimeText = 20 * MS
    """When the drivers begin."""
    rounds: Annotated[int, Field(ge=0, le=1 << 30)] = 20
    """Bursts of each driver; 0 = for ever, which needs run.duration."""

    def build(self) -> Workload:
        """The load."""
        return AtomicBursts(**dict(self))


class MappedScanParameters(ModeParameters):
    """Threads read a mapped file that does not fit into memory."""

    mode: Mode = "threads"
    """`threads` of one process, or `processes` of one thread."""
    mib: Annotated[int, Field(ge=1, le=1 << 20)] = 64
    """Length of the file."""

    def build(self) -> Workload:
        """The load."""
        return MappedScan(team=self.team(), mib=self.mib)


class NoisyNeighbourParameters(Section):
    """A thread that needs its memory now, beside others that fill it."""

    where: Where = "same"
    """The hogs' node: the `same` as the neighbour's, the farthest `other`, or `none`: no hogs."""
    cpus: Annotated[int, Field(ge=2, le=1 << 12)] = 4
    """With work: the neighbour's, and one for each hog."""
    mib: Annotated[int, Field(ge=1, le=1 << 20)] = 64
    """Length of each hog's file."""
    pages: Annotated[int, Field(ge=1, le=1 << 18)] = 16
    """That the neighbour maps, writes and unmaps."""
    think: TimeText = 20 * US
    """What the neighbour computes between two rounds."""

    def build(self) -> Workload:
        """The load."""
        return NoisyNeighbour(
            where=self.where, cpus=self.cpus, mib=self.mib, pages=self.pages, think=self.think
        )


PRESSURE_WORKLOADS: Mapping[str, type[BaseModel]] = {
    "oom_storm": OomStormParameters,
    "fragmentation_ageing": FragmentationAgeingParameters,
    "atomic_bursts": AtomicBurstsParameters,
    "mapped_scan": MappedScanParameters,
    "noisy_neighbour": NoisyNeighbourParameters,
}
"""Every kind with its parameters."""
