"""Work that every processor has to do by itself: a thread on each, and somebody who waits for all.

Source: Linux kernel/workqueue.c (schedule_on_each_cpu).
"""

from collections.abc import Callable, Sequence

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.runqueue import Thread
from coalsim.engine.clock import Op
from coalsim.locks.nap import Bell, make_ready
from coalsim.profiles.costs import KernelCosts
from coalsim.units import Time


def on_each(
    cpu: Cpu,
    others: Sequence[Cpu],
    work: Callable[[Cpu], Op[None]],
    costs: KernelCosts,
    wake_latency: Time,
    site: str,
) -> Op[None]:
    """Let the others do some work, each when it gets round to it, and sleep until all have."""
    bell, left = Bell(), len(others)

    def run(other: Cpu) -> Op[None]:
        nonlocal left
        yield from work(other)
        yield from other.sync()
        left -= 1
        if not left:
            other.charge(costs.wake_up, site)
            yield from other.sync()
            bell.ring(other.clock + wake_latency)

    for other in others:
        yield from cpu.sync()
        make_ready(other, Thread(f"kworker/{other.id}", run(other)), cpu.clock + wake_latency)
        cpu.charge(costs.wake_up, site)
    if others:
        yield from bell.wait(cpu, site)
