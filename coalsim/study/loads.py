"""The loads that a study can name: the parameters of each kind, checked.

A model's fields are the keys of the study's [workload] table beside `kind`; `build`
makes the load.  Defaults are those of the named studies.  The loads on address spaces
are in `vm_loads.py`.

Invariant: a model that exists can build its load, whatever the machine; whether the
machine has so many CPUs is said when the load starts.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, Field, model_validator

from coalsim.engine.laws import Law
from coalsim.study.debug_loads import DEBUG_WORKLOADS
from coalsim.study.file_loads import FILE_WORKLOADS
from coalsim.study.parameters import Count, LawText, LawTexts, Order, Parameters, SizeText, law_text
from coalsim.study.pressure_loads import PRESSURE_WORKLOADS
from coalsim.study.replay_load import ReplayLoad
from coalsim.study.safety_loads import SAFETY_WORKLOADS
from coalsim.study.vm_loads import VM_WORKLOADS
from coalsim.units import NS, US
from coalsim.workloads.base import Workload
from coalsim.workloads.synthetic.kmalloc_burst import KmallocBurst
from coalsim.workloads.synthetic.kmalloc_pairs import KmallocPairs
from coalsim.workloads.synthetic.kmalloc_remote_free import KmallocRemoteFree
from coalsim.workloads.synthetic.larson import Larson
from coalsim.workloads.synthetic.line_contention import LineContention
from coalsim.workloads.synthetic.lock_loop import LockLoop
from coalsim.workloads.synthetic.page_bulk import PageBulk
from coalsim.workloads.synthetic.page_random import PageRandom
from coalsim.workloads.synthetic.page_repeat import PageRepeat

__all__ = ["WORKLOADS", "law_text"]

NO_THINK = Law(kind="const", mean=0)


def _even(count: int) -> int:
    if count % 2:
        near = f"use {count - 1} or {count + 1}"
        raise ValueError(f"an odd number; half of them produce, half consume: {near}")
    return count


class LockLoopParameters(Parameters):
    """Think, take a lock, hold it."""

    takes_any_lock: ClassVar[bool] = True

    think: LawText = Law(kind="exp", mean=4 * US)
    hold: LawTexts = (Law(kind="exp", mean=1 * US),)
    """One law for each lock, or one for all of them."""
    locks: Annotated[int, Field(ge=1, le=4096)] | None = None
    """How many; as many as there are laws of `hold` if it is not given."""
    weights: tuple[Annotated[int, Field(ge=1, le=10_000)], ...] = ()
    """An operation takes one lock, drawn by these; without them it takes all in turn."""
    reads: Annotated[int, Field(ge=0, le=100)] = 0
    """Percent of the sections that only read."""

    @property
    def holds(self) -> tuple[Law, ...]:
        """The law of each lock."""
        return self.hold * (self.locks or 1) if len(self.hold) == 1 else self.hold

    @model_validator(mode="after")
    def _fits(self) -> "LockLoopParameters":
        if self.locks is not None and len(self.holds) != self.locks:
            raise ValueError(
                f"{len(self.hold)} laws of hold for {self.locks} locks; give one law, or one for each lock"
            )
        if self.weights and len(self.weights) != len(self.holds):
            raise ValueError(
                f"{len(self.weights)} weights for {len(self.holds)} locks; give each lock a weight, or none"
            )
        return self

    def build(self) -> Workload:
        """The load."""
        return LockLoop(
            cpus=self.cpus,
            think=self.think,
            hold=self.holds,
            weights=self.weights,
            reads=self.reads,
            spread=self.spread,
        )


class LineContentionParameters(Parameters):
    """CPUs read or write one cache line."""

    mode: Literal["ww", "rw", "rr", "wx", "rx"] = "ww"
    """w: writes, r: reads, x: each a line of its own; rw: the first CPU writes, the others read."""
    think: LawText = NO_THINK
    start: LawText = Law(kind="uniform", mean=500 * NS, low=0, high=1 * US)
    """When a CPU begins; it decides in which order the CPUs get the line."""

    def build(self) -> Workload:
        """The load."""
        return LineContention(
            cpus=self.cpus, mode=self.mode, think=self.think, start_at=self.start, spread=self.spread
        )


class KmallocPairsParameters(Parameters):
    """Every CPU allocates and frees one object, over and over."""

    size: SizeText = 64
    think: LawText = NO_THINK

    def build(self) -> Workload:
        """The load."""
        return KmallocPairs(cpus=self.cpus, size=self.size, think=self.think, spread=self.spread)


class KmallocBurstParameters(Parameters):
    """Every CPU allocates `depth` objects, then frees them."""

    size: SizeText = 64
    depth: Count = 100
    think: LawText = NO_THINK

    def build(self) -> Workload:
        """The load."""
        return KmallocBurst(
            cpus=self.cpus, size=self.size, depth=self.depth, think=self.think, spread=self.spread
        )


class KmallocRemoteFreeParameters(Parameters):
    """Producers allocate, consumers free."""

    cpus: Annotated[int, AfterValidator(_even), Field(ge=2, le=1 << 20)] = 4
    """Half of them produce, half consume."""
    size: SizeText = 64
    slots: Annotated[int, Field(ge=1, le=1 << 16)] = 32
    """Of a pair's queue; each carries eight pointers."""
    think: LawText = NO_THINK

    def build(self) -> Workload:
        """The load."""
        return KmallocRemoteFree(
            cpus=self.cpus, size=self.size, slots=self.slots, think=self.think, spread=self.spread
        )


class LarsonParameters(Parameters):
    """Threads replace random objects of arrays that they inherit from each other."""

    slots: Count = 1000
    least: SizeText = 16
    most: SizeText = 512
    rounds: Count = 1000

    @model_validator(mode="after")
    def _ascending(self) -> "LarsonParameters":
        if self.least > self.most:
            raise ValueError(f"the least size {self.least} is above the most {self.most}; swap them")
        return self

    def build(self) -> Workload:
        """The load."""
        return Larson(
            cpus=self.cpus,
            slots=self.slots,
            least=self.least,
            most=self.most,
            rounds=self.rounds,
            spread=self.spread,
        )


class PageBulkParameters(Parameters):
    """All CPUs allocate their share of frames, meet, and free them."""

    order: Order = 0
    frames_per_cpu: Count = 20_000

    def build(self) -> Workload:
        """The load."""
        return PageBulk(
            cpus=self.cpus, order=self.order, frames_per_cpu=self.frames_per_cpu, spread=self.spread
        )


class PageRepeatParameters(Parameters):
    """Every CPU allocates and frees one block of pages, over and over."""

    order: Order = 0

    def build(self) -> Workload:
        """The load."""
        return PageRepeat(cpus=self.cpus, order=self.order, spread=self.spread)


class PageRandomParameters(Parameters):
    """Pages are freed in random order by CPUs that did not allocate them."""

    order: Order = 0
    frames_per_cpu: Count = 20_000

    def build(self) -> Workload:
        """The load."""
        return PageRandom(
            cpus=self.cpus, order=self.order, frames_per_cpu=self.frames_per_cpu, spread=self.spread
        )


WORKLOADS: Mapping[str, type[BaseModel]] = {
    "lock_loop": LockLoopParameters,
    "line_contention": LineContentionParameters,
    "kmalloc_pairs": KmallocPairsParameters,
    "kmalloc_burst": KmallocBurstParameters,
    "kmalloc_remote_free": KmallocRemoteFreeParameters,
    "larson": LarsonParameters,
    "page_bulk": PageBulkParameters,
    "page_repeat": PageRepeatParameters,
    "page_random": PageRandomParameters,
    "replay": ReplayLoad,
    **VM_WORKLOADS,
    **FILE_WORKLOADS,
    **PRESSURE_WORKLOADS,
    **SAFETY_WORKLOADS,
    **DEBUG_WORKLOADS,
}
"""Every kind of load with its parameters."""
