"""What the kernel knows of every object that was ever handed out: its state, who took it, who freed it.

    never seen --alloc--> in use --free--> [held back -->] free --alloc--> in use ...

A slot belongs to the slab that its object was cut from; when the slab's pages have gone back and another
slab lies there, the slot is of no object any more.

Locking: a slot belongs to whoever holds the object.  Nothing here waits or costs time.
"""

from collections.abc import Iterator

from coalsim.mm.debug.redzone import SlotLayout
from coalsim.mm.debug.report import Track
from coalsim.mm.kmem.geometry import SlabGeometry
from coalsim.mm.kmem.slab import ObjectRun, SlabDirectory, slab_at
from coalsim.mm.phys.layout import pages_for
from coalsim.profiles.switches import Switches
from coalsim.units import PAGE_SHIFT, PAGE_SIZE


class Slot:
    """One object; whole pages if `run` is None.

    `asked` is the bytes that were asked for, `in_use` says whether somebody has it.
    """

    __slots__ = ("address", "allocated", "asked", "freed", "in_use", "layout", "run")

    def __init__(self, address: int, run: ObjectRun | None, layout: SlotLayout | None, asked: int) -> None:
        self.address = address
        self.run = run
        self.layout = layout
        self.asked = asked
        self.in_use = False
        self.allocated: Track | None = None
        self.freed: Track | None = None

    @property
    def cache(self) -> str:
        """The name of its cache."""
        return "pages" if self.run is None else self.run.cache

    @property
    def size(self) -> int:
        """Bytes of the object, red zones apart."""
        return pages_for(self.asked) << PAGE_SHIFT if self.layout is None else self.layout.size


class Slots:
    """All slots by address.

    Args:
        directory: frame to slab.
        switches: of the kernel.
    """

    def __init__(self, directory: SlabDirectory, switches: Switches) -> None:
        self._directory = directory
        self._switches = switches
        self._slots: dict[int, Slot] = {}
        self._layouts: dict[SlabGeometry, SlotLayout] = {}
        self._largest_pages = PAGE_SIZE << switches.max_order

    def at(self, address: int) -> Slot | None:
        """The slot of the object that begins at an address, if its slab is still there."""
        slot = self._slots.get(address)
        if slot is None or slot.run is not slab_at(self._directory, address):
            return None
        return slot

    def make(self, address: int, asked: int) -> Slot:
        """A slot for an object that is handed out for the first time."""
        run = slab_at(self._directory, address)
        layout = None if run is None else self._layout(run.geometry)
        slot = self._slots[address] = Slot(address, run, layout, asked)
        return slot

    def start_around(self, address: int) -> int | None:
        """Where the object begins whose stride holds an address; None: no object can be there."""
        run = slab_at(self._directory, address)
        if run is None:
            starts = (
                address & -size for size in self._page_sizes() if size > PAGE_SIZE or address % PAGE_SIZE
            )
            return next((start for start in starts if self._holds_pages(start, address)), None)
        geometry = run.geometry
        index = (address - run.base + geometry.room.before) // geometry.stride
        return run.base + index * geometry.stride if 0 <= index < geometry.objects else None

    def current(self) -> Iterator[Slot]:
        """Every slot whose slab is still there, by address."""
        for address in sorted(self._slots):
            slot = self.at(address)
            if slot is None:
                del self._slots[address]
            elif slot.layout is not None:
                yield slot

    def _page_sizes(self) -> Iterator[int]:
        size = PAGE_SIZE
        while size <= self._largest_pages:
            yield size
            size <<= 1

    def _holds_pages(self, start: int, address: int) -> bool:
        slot = self._slots.get(start)
        return slot is not None and slot.layout is None and address < start + slot.size

    def _layout(self, geometry: SlabGeometry) -> SlotLayout:
        layout = self._layouts.get(geometry)
        if layout is None:
            layout = self._layouts[geometry] = SlotLayout(geometry, self._switches)
        return layout
