"""Which spaces map a file: the file's own list, which the reclaimer follows to their entries.

    mmap, fork, mremap -> attach          munmap, exit -> detach, if no area is left

The space's lock is held around either.  What areas of the space show the file is asked of the
space itself, at the instant when it matters.
Source: Linux mm/vma.c (`vma_link_file`, `unlink_file_vma`).
"""

from collections.abc import Iterable, Iterator

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.mm.cache.file import File
from coalsim.mm.virt.area import Area
from coalsim.mm.virt.space import AddressSpace

I_MMAP = "file mappings"


def files_of(areas: Iterable[Area]) -> list[File]:
    """The files of some areas, each once for each of its areas."""
    return [area.file for area in areas if area.file is not None]


def attach(space: AddressSpace, cpu: Cpu, files: Iterable[File], site: str) -> Op[None]:
    """Areas of these files have come into the space, or have changed in it."""
    for file in files:
        yield from file.i_mmap.acquire(cpu, site)
        yield from cpu.sync()
        file.mappers[space] = None
        cpu.charge(space.kernel.costs.i_mmap_link, I_MMAP)
        yield from file.i_mmap.release(cpu)
        yield from cpu.sync()


def detach(space: AddressSpace, cpu: Cpu, files: Iterable[File], site: str) -> Op[None]:
    """Areas of these files have gone from the space."""
    for file in files:
        yield from file.i_mmap.acquire(cpu, site)
        yield from cpu.sync()
        if not any(area.file is file for area in space.areas):
            file.mappers.pop(space, None)
        cpu.charge(space.kernel.costs.i_mmap_link, I_MMAP)
        yield from file.i_mmap.release(cpu)
        yield from cpu.sync()


def places(space: AddressSpace, file: File, index: int) -> Iterator[int]:
    """The pages of a space that show a file's page, or may still do so; synchronised."""
    first, last, to = space.moving or (0, 0, 0)
    for area in space.areas:
        if area.file is file and area.first <= (vpn := area.origin + index) < area.last:
            yield vpn
            if first <= vpn - to + first < last:  # the area has moved, the entry perhaps not yet
                yield vpn - to + first
