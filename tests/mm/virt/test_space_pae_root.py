"""PAE: what walks mark."""

from vm_bench import VmBench

from coalsim.engine.clock import Op
from coalsim.mm.paging.entry import ACCESSED, PRESENT, flags_of
from coalsim.mm.virt.task import Task
from coalsim.units import PAGE_SIZE, Vpn


def test_a_walk_leaves_the_reserved_bits_of_a_pae_root_alone() -> None:
    """Its four entries have no bit A; those of the levels below have."""
    flags: list[int] = []

    def touch(task: Task) -> Op[None]:
        address = yield from task.mmap(PAGE_SIZE)
        yield from task.touch(address)
        tree = task.process.space.tree_of(task.cpu)
        flags.extend(flags_of(step.entry) for step in tree.path(Vpn(address // PAGE_SIZE)))

    VmBench("coal", {"geometry": "pae"}).run(touch)
    assert flags[0] == PRESENT
    assert all(one & ACCESSED for one in flags[1:])
