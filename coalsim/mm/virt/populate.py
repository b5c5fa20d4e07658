"""MAP_POPULATE: the pages of a new mapping are faulted in by the call that made it.

The space's lock is taken for reading once and held over all pages, after mmap has given it
up; so no fault takes the lock of an area, and the area is looked up once.  The fault of each
page is otherwise that of a program, without the exception.
Source: Linux mm/gup.c (`__mm_populate`, `populate_vma_page_range`).
"""

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.mm.virt.fault import Fault
from coalsim.mm.virt.file_fault import RETRY
from coalsim.mm.virt.space import FIND, AddressSpace
from coalsim.units import Vpn

POPULATE = "populate"


class LockedFault(Fault):
    """A fault of somebody who holds the space's lock for reading already."""

    __slots__ = ()

    def handle(self) -> Op[str]:
        """Make the access possible, and keep the lock."""
        self._kernel.counts.faults += 1
        while True:
            yield from self._cpu.sync()
            self._area = self._space.areas.find(self._vpn)
            self._look_at_entry()
            verdict = yield from self._outcome()
            if verdict is not RETRY:
                return verdict
            yield from self._wait_for_page()


def populate(space: AddressSpace, cpu: Cpu, first: int, last: int, *, write: bool) -> Op[str]:
    """Fault all pages of a range in; returns what signal an access would have deserved, or nothing."""
    yield from space.lock_read(cpu, first, last, POPULATE)
    cpu.charge(space.kernel.costs.area_find, FIND)
    verdict = ""
    for vpn in range(first, last):
        verdict = yield from LockedFault(space, cpu, Vpn(vpn), write=write).handle()
        if verdict:
            break
    yield from space.unlock_read(cpu)
    return verdict
