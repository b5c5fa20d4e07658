"""What all object caches share: how they are asked, what they count.

    take_now, give_now   the part that never waits: from the processor's own objects
    take, give           everything, with depot, slabs and pages behind

A cache hands out addresses of objects and takes them back; whether an address may be
freed is the business of `kmalloc.py`, which knows what callers hold.

Locking: a processor's own objects are private (`look`); what lies behind has locks.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.locks.base import SpinLock
from coalsim.mm.kmem.slab import SlabStatistics
from coalsim.mm.phys.context import AllocContext
from coalsim.mm.phys.pages import PageAllocator
from coalsim.profiles.costs import KernelCosts
from coalsim.profiles.switches import Switches
from coalsim.units import Time

ALLOC = "kmem alloc"
FREE = "kmem free"

LockMaker = Callable[[str, int, str], SpinLock]
"""Makes a lock from class name, rank and instance name."""

RANK_DEPOT = 20
RANK_SLABS = 30


class OwnCounts:
    """What one processor did with one cache; private to it."""

    __slots__ = (
        "alloc_hits",
        "contended",
        "depot_allocs",
        "depot_frees",
        "failures",
        "free_hits",
        "remote_frees",
        "requested",
        "slab_allocs",
        "slab_frees",
    )

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything, at the end of the warm-up."""
        # each call is counted once: where it was served
        self.alloc_hits = self.depot_allocs = self.slab_allocs = 0
        self.free_hits = self.depot_frees = self.slab_frees = 0
        self.remote_frees = 0  # of objects that another processor allocated
        self.contended = 0  # visits to the depot that waited for its lock
        self.failures = 0  # calls that got no object
        self.requested = 0  # bytes asked for, by calls that got an object

    @property
    def allocs(self) -> int:
        """Calls that asked for an object."""
        return self.alloc_hits + self.depot_allocs + self.slab_allocs

    @property
    def frees(self) -> int:
        """Calls that gave one back."""
        return self.free_hits + self.depot_frees + self.slab_frees


class LayerFacts(NamedTuple):
    """The per-CPU layer of a cache: rounds of a magazine or sheaf, contended visits behind it, resizes."""

    rounds: int
    contended: int
    resizes: int


class KmemSystem:
    """What every cache of one kernel is built from."""

    def __init__(
        self,
        cpus: list[Cpu],
        pages: PageAllocator,
        costs: KernelCosts,
        switches: Switches,
        make_lock: LockMaker,
        num_nodes: int,
    ) -> None:
        self.cpus = cpus
        self.pages = pages
        self.costs = costs
        self.switches = switches
        self.make_lock = make_lock
        self.num_nodes = num_nodes


class ObjectCache(Protocol):
    """One cache of equal objects."""

    name: str
    size: int
    """Bytes of an object."""
    counts: list[OwnCounts]
    """By processor."""
    remote_touches: bool
    """A free writes into the object, so one from another processor moves its line."""

    def take_now(self, cpu: Cpu, extra: Time) -> int:
        """An object without waiting, the clock charged with `extra` on top; 0: call `take`."""

    def give_now(self, cpu: Cpu, address: int, extra: Time) -> bool:
        """Take an object back without waiting, charged likewise; False: call `give`."""

    def take(self, cpu: Cpu, site: str, context: AllocContext = AllocContext.KERNEL) -> Op[int]:
        """An object, or 0 if memory is short."""

    def give(self, cpu: Cpu, address: int, site: str) -> Op[None]:
        """Take an object back."""

    def drain_cpu(self, cpu: Cpu, site: str) -> Op[None]:
        """Give back what the processor keeps for itself."""

    def drain_shared(self, cpu: Cpu, site: str) -> Op[int]:
        """Give back what all processors share: depots, empty slabs; how many pages that were."""

    def reset_counters(self) -> None:
        """Forget what was counted, at the end of the warm-up."""

    def statistics(self) -> SlabStatistics:
        """A line of slabinfo."""

    def layer(self) -> LayerFacts:
        """What its per-CPU layer is like now."""

    def validate(self) -> None:
        """Recount the slow way."""
