"""What the tasks of one process in a random program know of its mappings, and where far ones lie.

    places of four levels:  middle of the user's side {- 512 GiB, + 0} {+ 0, + 1 GiB} {+ 0, + 2 MiB}

Two places differ at some level of directories, or at several, and share those above.  So the
last page of one may take a page table with it, or a whole stack of directories.

Invariant: a far place is in `taken` from before its mapping is made until after its unmapping
or moving has returned; a fork's child takes over all of them.
Shared state of the program: `sync` before use.
"""

from dataclasses import dataclass, field
from itertools import product

from coalsim.mm.paging.geometry import Geometry
from coalsim.units import PAGE_SHIFT


def far_places(geometry: Geometry) -> list[int]:
    """Addresses in the middle of the user's side: two neighbours at each level of directories.

    None where there is only one such level, which every address shares.
    """
    if geometry.levels <= 2:
        return []
    spans = [geometry.span(level) for level in range(geometry.leaf_level)]
    lowest = geometry.user_pages // 2 & -spans[0]
    steps = product(*((0, span) for span in spans))
    return [lowest + sum(step) << PAGE_SHIFT for step in steps]


@dataclass
class Region:
    """A mapping that tasks of one process share."""

    address: int
    pages: int
    writable: bool = True
    users: int = 0  # tasks that fault pages in


@dataclass
class Common:
    """What the tasks of one process know of each other; synchronised."""

    regions: list[Region] = field(default_factory=list)
    taken: dict[int, None] = field(default_factory=dict)

    def fitting(self, *, alone: bool, far: bool) -> list[Region]:
        """All mappings; only those into which nobody faults, or that lie at far places, if asked for."""
        return [
            one
            for one in self.regions
            if not (alone and one.users) and (not far or one.address in self.taken)
        ]

    def inherited(self) -> "Common":
        """What a child has after a fork."""
        return Common(
            [Region(one.address, one.pages, one.writable) for one in self.regions], dict(self.taken)
        )
