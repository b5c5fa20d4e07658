"""The lock of one area: who finds it marked writes nothing."""

from coalsim.boot import System, SystemConfig
from coalsim.engine.clock import Op
from coalsim.locks.queued import QueuedLock
from coalsim.mm.virt.vma_lock import AreaLock
from coalsim.observe.histogram import Histogram
from coalsim.profiles.profile import load_profile
from coalsim.topology.synthetic import machine_from_synthetic
from coalsim.units import NS, CpuId


def test_a_reader_that_finds_the_mark_takes_the_line_from_nobody() -> None:
    """The sequence is read before anything is written, so the reader that is in keeps the line."""
    system = System(
        SystemConfig(
            machine=machine_from_synthetic("pack:1 numa:1 core:2 pu:1"),
            profile=load_profile("coal"),
            lock=QueuedLock,
            recorder=Histogram,
        )
    )
    lock, owners, outcomes = AreaLock(), list[int](), list[bool]()

    def one(cpu_id: int, sequence: int) -> Op[None]:
        cpu = system.cpus[cpu_id]
        yield from cpu.wait_until((1 + cpu_id) * 1000 * NS, "test")
        yield from cpu.sync()
        outcomes.append(lock.try_read(cpu, sequence, 1 * NS))
        owners.append(lock.line.owner)
        lock.written_at = 7

    for cpu_id, sequence in ((0, 7), (1, 7)):
        system.run_thread(CpuId(cpu_id), f"thread {cpu_id}", one(cpu_id, sequence))
    system.boot()
    system.run(system.finished)
    assert outcomes == [True, False]
    assert owners == [0, 0]
    assert lock.readers == 1
