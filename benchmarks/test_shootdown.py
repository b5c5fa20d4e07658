"""A broadcast shootdown to 127 targets against plain SimPy: deliveries per second of host time."""

from dataclasses import dataclass
from time import perf_counter

from plain import shootdowns

from coalsim.boot import System, SystemConfig
from coalsim.engine.clock import Op
from coalsim.locks.qspinlock import QueuedSpinLock
from coalsim.mm.shootdown.broadcast import BroadcastShootdown
from coalsim.mm.shootdown.request import Flush
from coalsim.mm.virt.spin_flag import SpinFlag
from coalsim.mm.virt.task import Task
from coalsim.observe.histogram import Histogram
from coalsim.profiles.profile import load_profile
from coalsim.topology.presets import load_machine
from coalsim.units import PAGE_SIZE, US, CpuId, Time, Vpn

CPUS = 128
ROUNDS = 40
BEGIN = 100 * US
"""Everybody spins by then."""


@dataclass
class Told:
    """What a machine costs, for the plain program, and how it went."""

    flights: list[Time]  # from the send to the arrival, by target
    answers: list[Time]  # from the end of a handler to its answer being seen, by target
    before: Time  # the initiator's own work up to the send
    handler: Time  # up to the answer
    after: Time  # the rest of the handler
    latencies: list[Time]
    host_s: float


def ours() -> Told:
    """Flush a page on all processors, again and again, while the others spin in user code."""
    machine, profile = load_machine("icx2"), load_profile("linux-6.18").with_overrides({"hz": "0"})
    system = System(
        SystemConfig(
            machine=machine,
            profile=profile,
            lock=QueuedSpinLock,
            recorder=Histogram,
            shootdown=BroadcastShootdown,
        )
    )
    vm, flag = system.vm, SpinFlag()
    process, policy = vm.new_process("all"), vm.kernel.policy
    latencies: list[Time] = []
    host: list[float] = []

    def initiator(task: Task) -> Op[None]:
        cpu, context = task.cpu, process.space.context
        page = (yield from task.mmap(PAGE_SIZE)) // PAGE_SIZE
        yield from cpu.sync()
        yield from cpu.wait_until(BEGIN, "user")
        for number in range(ROUNDS + 1):
            if number == 1:  # the first one finds lines and generations that are not yet as always
                latencies.clear()
                host.append(perf_counter())
            yield from cpu.sync()
            began = cpu.clock
            request = Flush(context=context, first=Vpn(page), last=Vpn(page + 1), reason="madvise")
            yield from policy.flush(cpu, request)
            latencies.append(cpu.clock - began)
        host.append(perf_counter())
        yield from flag.set(cpu)

    def target(task: Task) -> Op[None]:
        yield from task.spin(flag)

    for number in range(CPUS):
        vm.run_task(process, CpuId(number), f"task {number}", target if number else initiator)
    system.boot()
    system.run(system.finished)
    return told(system, latencies, host[1] - host[0])


def told(system: System, latencies: list[Time], host_s: float) -> Told:
    """The parts of a shootdown on this machine."""
    policy, costs = system.vm.kernel.policy, system.vm.kernel.costs
    times, cpu, others = policy.system.times, system.cpus[0], system.cpus[1:]
    sends = policy.system.delivery.send_times(cpu, others)
    enqueue = sum(costs.csd_fill + 2 * cpu.transfer[other.id] for other in others)
    return Told(
        flights=[at for at, _ in sends.arrivals],
        answers=[max(1, cpu.transfer[other.id]) for _, other in sends.arrivals],
        before=cpu.transfer[0] + costs.flush_fixed + times.pages(1) + enqueue,
        handler=times.interrupt_entry + costs.flush_target + times.pages(1),
        after=times.interrupt_exit,
        latencies=latencies,
        host_s=host_s,
    )


def plain(of: Told) -> tuple[list[Time], float]:
    """The same shootdowns by the plain program: how long each took, and host seconds."""
    began = perf_counter()
    latencies = shootdowns(ROUNDS, of.flights, of.answers, of.before, of.handler, of.after)
    return latencies, perf_counter() - began


def test_the_programs_acknowledge_at_the_same_times() -> None:
    """Each shootdown takes as long, to the picosecond."""
    own = ours()
    latencies, _ = plain(own)

    assert own.latencies == latencies


def test_broadcast_to_127_targets(benchmark, versus) -> None:  # type: ignore[no-untyped-def]
    """At least 10 times the deliveries per second of a process and a store per target."""
    of = ours()
    deliveries = ROUNDS * (CPUS - 1)
    benchmark.pedantic(ours, rounds=2, warmup_rounds=1)
    versus.ratio(
        "broadcast shootdown, 127 targets: deliveries",
        lambda: (ours().host_s, deliveries),
        lambda: (plain(of)[1], deliveries),
        ">= 10",
    )
