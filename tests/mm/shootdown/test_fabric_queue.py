"""Hardware broadcasts of several initiators: what each waits for has its own name."""

import pytest

from coalsim.boot import System, SystemConfig
from coalsim.engine.clock import Op
from coalsim.locks.queued import QueuedLock
from coalsim.mm.shootdown.registry import SHOOTDOWNS
from coalsim.mm.virt.task import Task
from coalsim.observe.histogram import Histogram
from coalsim.profiles.profile import load_profile
from coalsim.topology.synthetic import machine_from_synthetic
from coalsim.units import PAGE_SIZE, US, CpuId

PAGES = 33


def unmap(task: Task) -> Op[None]:
    """Discard many pages, page by page for the hardware, when all others do."""
    address = yield from task.mmap(PAGES * PAGE_SIZE)
    for page in range(PAGES):
        yield from task.touch(address + page * PAGE_SIZE)
    yield from task.cpu.sync()
    yield from task.cpu.wait_until(500 * US, "user")
    yield from task.madvise_dontneed(address, PAGES * PAGE_SIZE)


@pytest.mark.parametrize("cpus", [1, 8])
def test_waiting_for_the_fabric_is_not_flight(cpus: int) -> None:
    """However many broadcast at once, each one flies as long as the machine says; the rest is queueing."""
    system = System(
        SystemConfig(
            machine=machine_from_synthetic(f"pack:1 numa:1 core:{cpus} pu:1"),
            profile=load_profile("linux-6.18"),
            lock=QueuedLock,
            recorder=Histogram,
            shootdown=SHOOTDOWNS["tlbi"],
        )
    )
    for cpu in range(cpus):
        system.vm.run_task(system.vm.new_bare_process(str(cpu)), CpuId(cpu), "unmaps", unmap)
    system.boot()
    system.run(system.finished)
    calls = system.vm.kernel.operations.kinds["madvise"]
    flight = system.vm.kernel.policy.system.times.broadcast_flight
    assert calls.by_cause["shootdown:flight"] == cpus * flight
    assert bool(calls.by_cause.get("shootdown:fabric queue")) == (cpus > 1)
