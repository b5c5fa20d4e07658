"""What one processor has of the page allocator: a list per zone, and what it counts.

Invariant: `lists` holds a list for every zone that the processor has used, and for its home.
Locking: private to the processor (`look`); read by others at barriers only.
Source of the counts: Linux /proc/vmstat (numa_hit, numa_miss, numa_foreign).
"""

from coalsim.mm.phys.zone import OwnList, Zone
from coalsim.units import NodeId


class OwnPages:
    """What one processor has of the page allocator; private to it."""

    __slots__ = (
        "foreign",
        "hits",
        "home",
        "home_first",
        "home_index",
        "home_last",
        "home_node",
        "lists",
        "misses",
        "more_freed",
        "node",
        "owned_freed",
        "remote_frees",
        "single_allocs",
        "single_frees",
        "single_pages",
        "turn",
    )

    def __init__(self, node: NodeId, home: Zone, home_list: OwnList, num_nodes: int) -> None:
        self.node = node  # the processor's own
        self.home = home  # the zone that it takes from first
        self.home_first, self.home_last = home.first, home.first + home.frames  # hot paths ask
        self.home_node, self.home_index = home.node, home.index
        self.lists: dict[int, OwnList] = {home.index: home_list}  # by zone index
        self.turn = 0  # of an interleaving placement
        # pages by node: taken where wanted; there, but wanted elsewhere; elsewhere, but wanted there
        self.hits = [0] * num_nodes
        self.misses = [0] * num_nodes
        self.foreign = [0] * num_nodes
        self.single_allocs = self.single_frees = 0  # of orders without a list
        self.single_pages: dict[int, int] = {}  # pages of such blocks got, by zone index
        self.more_freed = 0  # pages of all blocks given back, beyond the first of each
        self.owned_freed = 0  # pages that slabs and kmalloc have given back here, ever
        self.remote_frees = 0  # blocks freed that another processor took

    @property
    def allocs(self) -> int:
        """Blocks asked for."""
        return self.single_allocs + sum(mine.allocs for mine in self.lists.values())

    @property
    def frees(self) -> int:
        """Blocks given back."""
        return self.single_frees + sum(mine.frees for mine in self.lists.values())

    def reset(self) -> None:
        """Forget what was counted, at the end of the warm-up."""
        for counts in (self.hits, self.misses, self.foreign):
            counts[:] = [0] * len(counts)
        self.single_allocs = self.single_frees = self.remote_frees = self.more_freed = 0
        self.single_pages.clear()
        for mine in self.lists.values():
            mine.reset()
