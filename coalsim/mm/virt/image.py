"""What a process has when its program begins: text, data and a stack, as exec leaves them.

    lowest | text | data | heap ->        <- mappings | gap | <- stack | end of the user's side
           4 MiB                                 mmap_base

The areas cost nothing.  What exec writes, the arguments at the top of the stack and the
first page of data, is faulted in by the process's first task, in simulated time; so a
process has its upper page tables from then on, and a first munmap does not free them.
Text is never touched: instruction fetches are not modelled.  Reading the file takes no time.
Sizes are those of a small static program, assumed; the heap begins behind the data.
Source: Linux fs/exec.c (setup_arg_pages: a stack of 128 KiB and its page), fs/binfmt_elf.c,
arch/x86/mm/mmap.c (mmap_base); the x86-64 psABI for the address of the text.
"""

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.mm.virt.area import READ_EXECUTE, Area
from coalsim.mm.virt.fault import STACK_LIMIT
from coalsim.mm.virt.heap import Heap
from coalsim.mm.virt.populate import populate
from coalsim.mm.virt.space import AddressSpace
from coalsim.units import MIB, PAGE_SHIFT, Vpn

TEXT_FIRST = Vpn(4 * MIB >> PAGE_SHIFT)
TEXT_PAGES, DATA_PAGES, STACK_PAGES = 64, 16, 33
LEAST_GAP = 128 * MIB >> PAGE_SHIFT
"""Pages that mmap leaves for the stack at least (`SIZE_128M` in mmap_base)."""


def map_image(space: AddressSpace) -> None:
    """Give an empty space the areas of a program."""
    top = Vpn(space.kernel.geometry.user_pages)
    data = Vpn(TEXT_FIRST + TEXT_PAGES)
    heap = Vpn(data + DATA_PAGES)
    areas = space.areas
    areas.insert(Area(first=TEXT_FIRST, last=data, rights=READ_EXECUTE, name="text"))
    areas.insert(Area(first=data, last=heap, name="data"))
    areas.insert(Area(first=Vpn(top - STACK_PAGES), last=top, kind="stack", grows_down=True))
    space.heap = Heap(areas, heap)
    space.mmap_base = Vpn(top - stack_gap(top, areas.guard_pages))


def stack_gap(top: int, guard_pages: int) -> int:
    """Pages below the end of the user's side where mmap puts nothing: the stack's limit and its guard."""
    return max(LEAST_GAP, min(STACK_LIMIT + guard_pages, top // 6 * 5))


def load_image(space: AddressSpace, cpu: Cpu) -> Op[str]:
    """Write what exec writes; returns the signal that the process deserves if there is no memory."""
    top, data = space.kernel.geometry.user_pages, TEXT_FIRST + TEXT_PAGES
    for page in (top - 1, data):
        verdict = yield from populate(space, cpu, page, page + 1, write=True)
        if verdict:
            return verdict
    return ""
