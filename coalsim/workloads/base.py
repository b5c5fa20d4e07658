"""What a load is: threads on processors, and a meter that counts their operations.

A load gets a `Host` (the running system, as far as loads may see it), puts threads
on its processors and counts operations on the meter.  A thread is a generator:

    def worker(host, cpu) -> Op[None]:
        meter = host.meter.cpu(cpu.id)
        while True:
            if cpu.clock >= cpu.limit:        # a look, with its test in line
                yield from cpu.look()
            began = cpu.clock
            address = yield from host.memory.kmalloc(cpu, 64, "worker")
            yield from host.memory.kfree(cpu, address, "worker")
            if cpu.clock >= cpu.limit:        # counting an operation is a look
                yield from cpu.look()
            meter.done(cpu.clock - began)

The clock is read after a look only, because a handler may still move it.
Locking: a meter is private to its processor; it is read and reset at barriers.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Engine, Op
from coalsim.engine.streams import Streams
from coalsim.locks.base import Lock
from coalsim.mm.virt.system import VirtualMemory
from coalsim.topology.machine import Machine
from coalsim.units import CpuId, NodeId, Pfn


class Recorder(Protocol):
    """Where latencies go: a histogram."""

    total: int
    """Sum of all values."""

    @property
    def count(self) -> int:
        """How many values."""

    def record(self, value: int) -> None:
        """Count one value."""

    def clear(self) -> None:
        """Forget all values."""


class Memory(Protocol):
    """The memory manager as loads see it; `site` names the call site in reports.

    Failure is a value: address 0, frame -1.
    """

    @property
    def max_order(self) -> int:
        """The largest block of pages is 2**max_order of them."""

    def kmalloc(self, cpu: Cpu, size: int, site: str) -> Op[int]:
        """The address of `size` bytes, or 0."""

    def kfree(self, cpu: Cpu, address: int, site: str) -> Op[None]:
        """Give it back; address 0 is legal and free."""

    def kmalloc_size(self, address: int) -> int:
        """Bytes usable at an address that kmalloc returned."""

    def cache(self, name: str, size: int) -> int:
        """The handle of the object cache of that name, made at the first call."""

    def cache_alloc(self, cpu: Cpu, cache: int, site: str) -> Op[int]:
        """The address of an object of a cache, or 0."""

    def cache_free(self, cpu: Cpu, cache: int, address: int, site: str) -> Op[None]:
        """Give an object back to its cache."""

    def alloc_pages(self, cpu: Cpu, order: int, site: str, node: NodeId | None = None) -> Op[Pfn]:
        """The first frame of a block of 2**order, on `node` only if that is given, or -1."""

    def free_pages(self, cpu: Cpu, pfn: Pfn, order: int, site: str) -> Op[None]:
        """Give a block back."""

    def kernel_store(self, cpu: Cpu, address: int, data: bytes, site: str) -> Op[None]:
        """Write simulated memory through a kernel pointer, whatever it points to."""

    def kernel_load(self, cpu: Cpu, address: int, size: int, site: str) -> Op[bytes]:
        """Read simulated memory likewise."""

    def deepen_stack(self, cpu: Cpu, size: int, site: str) -> Op[None]:
        """Calls that need so many bytes of kernel stack."""

    # The part of the verbs that never waits: 0, False or -1 mean that the verb must be called.

    def kmalloc_now(self, cpu: Cpu, size: int) -> int:
        """An address from the processor's own objects, or 0."""

    def kfree_now(self, cpu: Cpu, address: int) -> bool:
        """Whether the memory went back to the processor's own objects."""

    def cache_alloc_now(self, cpu: Cpu, cache: int) -> int:
        """An object from the processor's own ones, or 0."""

    def cache_free_now(self, cpu: Cpu, cache: int, address: int) -> bool:
        """Whether the object went back to the processor's own ones."""

    def alloc_pages_now(self, cpu: Cpu, order: int) -> int:
        """A block from the processor's own list, or -1."""

    def free_pages_now(self, cpu: Cpu, pfn: int, order: int) -> bool:
        """Whether the block went back to the processor's own list."""


class CpuMeter:
    """What one processor counts in one phase.

    `done(latency)` counts an operation, with its latency in ps; it is the histogram's own `record`.
    """

    __slots__ = ("done", "failed", "latencies")

    def __init__(self, latencies: Recorder) -> None:
        self.failed = 0
        self.latencies = latencies
        self.done = latencies.record


class Meter:
    """Operations by phase.

    The processors of a phase share one histogram, unless the load wants them apart:
    with many processors, one for each would not fit the host's cache.

    Args:
        num_cpus: of the machine.
        make: a fresh histogram.
    """

    def __init__(self, num_cpus: int, make: Callable[[], Recorder]) -> None:
        self._num_cpus = num_cpus
        self._make = make
        self._phases: dict[str, list[CpuMeter]] = {}

    def cpu(self, cpu: CpuId, phase: str = "", *, apart: bool = False) -> CpuMeter:
        """The meter of one processor; the phase named "" is that of loads with only one.

        Args:
            cpu: the processor.
            phase: its name.
            apart: the processors' histograms are needed one by one; the first call of a phase decides.
        """
        if phase not in self._phases:
            shared = self._make()
            self._phases[phase] = [CpuMeter(self._make() if apart else shared) for _ in range(self._num_cpus)]
        return self._phases[phase][cpu]

    @property
    def phases(self) -> dict[str, list[Recorder]]:
        """The histograms of each phase: one, or one for each processor."""
        return {
            phase: list({id(meter.latencies): meter.latencies for meter in meters}.values())
            for phase, meters in self._phases.items()
        }

    @property
    def count(self) -> int:
        """Operations, over all phases."""
        return sum(latencies.count for parts in self.phases.values() for latencies in parts)

    @property
    def failed(self) -> int:
        """Operations that failed."""
        return sum(meter.failed for meters in self._phases.values() for meter in meters)

    def reset(self) -> None:
        """Begin to count, at the end of the warm-up."""
        for meters in self._phases.values():
            for meter in meters:
                meter.failed = 0
                meter.latencies.clear()


class Host(Protocol):
    """The running system as far as loads may see it."""

    env: Engine
    machine: Machine
    cpus: list[Cpu]
    streams: Streams
    meter: Meter

    @property
    def memory(self) -> Memory:
        """The memory manager."""

    def make_lock(self, class_name: str, name: str) -> Lock:
        """A lock of the profile's policy, for loads that measure locks themselves."""

    def run_thread(self, cpu: CpuId, name: str, body: Op[None]) -> None:
        """Put a thread on a processor, before the run; the run may end when all threads have."""


class VirtualHost(Host, Protocol):
    """A host whose tasks have address spaces."""

    @property
    def vm(self) -> VirtualMemory:
        """Processes and what they do."""


class Workload(Protocol):
    """A load: what to run on which processors."""

    @property
    def endless(self) -> bool:
        """Its threads never end: the run needs a duration."""

    @property
    def headline(self) -> str:
        """The phase whose latency stands for the load; "" where there is only one."""

    def start(self, host: VirtualHost) -> None:
        """Put the threads, or tasks, on the processors."""

    def results(self) -> Mapping[str, object]:
        """What the load itself wants to say in the result document, after the run."""


class Rendezvous:
    """All threads of a load meet; the last to come lets everybody go on.

    Waking one processor costs the transfer of a cache line from the last to come.
    """

    def __init__(self, parties: int) -> None:
        self._parties = parties
        self._waiting: list[Cpu] = []

    def meet(self, cpu: Cpu, cause: str = "rendezvous") -> Op[None]:
        """Wait for the others."""
        yield from cpu.sync()
        if len(self._waiting) + 1 < self._parties:
            self._waiting.append(cpu)
            yield from cpu.wait(cause)
            yield from cpu.sync()
            return
        waiting, self._waiting = self._waiting, []
        for other in waiting:
            other.alarm.arm(cpu.clock + max(1, other.transfer[cpu.id]))
