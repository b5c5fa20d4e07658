"""Temporary mappings of frames that the kernel does not reach otherwise."""

import pytest

from coalsim.boot import System, SystemConfig
from coalsim.engine.clock import Op
from coalsim.errors import KernelBug
from coalsim.locks.queued import QueuedLock
from coalsim.mm.paging.entry import pfn_of
from coalsim.mm.virt.task import Task
from coalsim.mm.virt.temporary import SLOTS, TemporaryMappings
from coalsim.observe.histogram import Histogram
from coalsim.profiles import load_profile
from coalsim.topology.presets import load_machine
from coalsim.units import PAGE_SIZE, CpuId, Pfn, Vpn


def system_with(zones: str) -> System:
    """The seed machine, 2 x 1 GiB, so that High begins in the first node."""
    machine = load_machine("coal").with_overrides({"memory": "1GiB"})
    kernel = load_profile("coal").with_overrides({"zones": zones})
    return System(SystemConfig(machine=machine, profile=kernel, lock=QueuedLock, recorder=Histogram))


def temporary_of(system: System) -> TemporaryMappings:
    """The mappings of a system that has High zones."""
    found = system.vm.kernel.frames.temporary
    assert found is not None
    return found


def test_slots_nest_and_are_a_cpus_own() -> None:
    """Each CPU has SLOTS pages of its own, given back in reverse order; an entry shows the frame."""
    system = system_with("low-normal-high")
    temporary, table = temporary_of(system), system.vm.kernel.kernel_space.table
    one, other = system.cpus[0], system.cpus[1]
    pages = [temporary.map(one, Pfn(300_000 + number)) for number in range(SLOTS)]
    apart = temporary.map(other, Pfn(400_000))
    assert len({*pages, apart}) == SLOTS + 1
    assert [pfn_of(table.lookup(vpn)) for vpn in pages] == [300_000 + number for number in range(SLOTS)]
    with pytest.raises(KernelBug, match="has 16 temporary mappings already"):
        temporary.map(one, Pfn(1))
    with pytest.raises(KernelBug, match="out of order"):
        temporary.unmap(other, Vpn(apart + 1))
    for vpn in reversed(pages):
        temporary.unmap(one, vpn)
        assert not table.lookup(vpn)


@pytest.mark.parametrize("zones", ["one", "low-normal-high"])
def test_only_frames_of_high_zones_are_mapped_to_be_cleared(zones: str) -> None:
    """Each page of a process comes from High where there is one, and costs a mapping; tables never do."""
    system = system_with(zones)
    pages = 50

    def program(task: Task) -> Op[None]:
        area = yield from task.mmap(pages * PAGE_SIZE)
        yield from task.sequential(area, pages * PAGE_SIZE, write=True)

    process = system.vm.new_bare_process("program")
    system.vm.run_task(process, CpuId(0), "program", program)
    system.boot()
    system.run(system.finished)
    spent = system.cpus[0].spent.get("temporary mapping", 0)
    if zones == "one":
        assert system.vm.kernel.frames.temporary is None
        assert not spent
    else:
        temporary, costs = temporary_of(system), system.costs
        assert temporary.maps == pages
        machine = system.machine
        invlpg = machine.mmu["invlpg"].picoseconds(machine.clock_ghz.value)
        assert spent == pages * (costs.kmap_set + costs.kmap_clear + invlpg)


def test_a_copy_needs_two_slots_at_a_time() -> None:
    """Copy-on-write of a page of High maps source and target together."""
    system = system_with("low-normal-high")

    def child(task: Task) -> Op[None]:
        yield from task.touch(addresses[0])

    addresses: list[int] = []

    def program(task: Task) -> Op[None]:
        addresses.append((yield from task.mmap(PAGE_SIZE)))
        yield from task.touch(addresses[0])
        yield from task.fork("child", child)
        yield from task.wait_for_children()

    process = system.vm.new_bare_process("program")
    system.vm.run_task(process, CpuId(0), "program", program)
    system.boot()
    system.run(system.finished)
    assert system.vm.kernel.counts.cow_copies == 1
    assert temporary_of(system).maps == 3  # one cleared, two for the copy
