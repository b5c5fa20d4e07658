"""Linux: interrupt the processors in mm_cpumask that use the address space now.

    generation + 1 -> choose targets -> [local flush] -> enqueue, send -> [local flush] -> wait

Processors that are lazy or run something else are left out, unless tables are freed; they
catch up by the generation when they come back.  A request that finds a queue with others
in it sends no interrupt, and a handler that is late may find its work done by an earlier
full flush.  `linux` flushes its own TLB before it sends (up to 5.12); `concurrent` while
the others do theirs.

In a guest with the paravirtual flush (`kernel.pv_flush`, `kernel.ipi=kvm_pv`), a target whose
steal-time area says that the host has taken it away gets a mark there instead of a request,
and is not waited for: the host flushes its whole TLB before it runs again.  Nothing uses that
TLB before then (`cpus/virtual.py`), so it is flushed at once here.  The target's generation
is left as it was, so the next flush that it takes part in is of the whole ASID.
Reuse: when all targets have answered, or run after the host's flush.
Source: Linux arch/x86/mm/tlb.c, kernel/smp.c; concurrent flushing since 5.13
(4ce94eabac16), Amit, Tai, Wei, "Don't shoot down TLB shootdowns!", EuroSys 2020; arch/x86/kernel/kvm.c
(kvm_flush_tlb_multi; kvm_flush_tlb_others before 5.13), since 4.16.
"""

from typing import ClassVar

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.delivery import KvmPv
from coalsim.engine.clock import Op
from coalsim.mm.shootdown.base import Shootdown
from coalsim.mm.shootdown.request import Flush
from coalsim.mm.shootdown.system import ShootdownSystem

STEAL_TIME = "line:steal_time"


class LinuxShootdown(Shootdown):
    """Multicast; the own TLB first."""

    name: ClassVar[str] = "linux"
    source: ClassVar[str] = "Linux up to 5.12, arch/x86/mm/tlb.c (native_flush_tlb_others)"
    concurrent: ClassVar[bool] = False

    def __init__(self, system: ShootdownSystem) -> None:
        super().__init__(system)
        self._is_paravirtual = system.switches.pv_flush and system.delivery.name == KvmPv.name

    def flush(self, cpu: Cpu, request: Flush) -> Op[None]:
        """As the kernel does."""
        began = yield from self.new_generation(cpu, request)
        yield from cpu.sync()
        concerned = targets = self.choose_targets(cpu, request)
        if self._is_paravirtual:
            targets = yield from self.leave_to_host(cpu, concerned)
        if not targets:
            yield from self.flush_here(cpu, request)
        elif self.concurrent:
            shot = yield from self.send(cpu, targets, request, early=self.answers_early(request))
            yield from self.flush_here(cpu, request)
            yield from self.wait_for(cpu, shot, request.reason)
        else:
            yield from self.flush_here(cpu, request)
            shot = yield from self.send(cpu, targets, request)
            yield from self.wait_for(cpu, shot, request.reason)
        yield from self.record(cpu, began, len(concerned))

    def leave_to_host(self, cpu: Cpu, targets: list[Cpu]) -> Op[list[Cpu]]:
        """Mark the targets that the host has taken away; returns those that run.

        A compare-exchange for each mark; the areas of the others are in the own cache.
        """
        yield from cpu.sync()
        system, cost, running = self.system, 0, []
        for target in targets:
            if system.vcpus is None or system.vcpus.runs(target.id, cpu.clock):
                running.append(target)
                cost += cpu.transfer[cpu.id]
            else:
                system.units[target.id].flush_all()
                system.counts.left_to_host += 1
                cost += cpu.transfer[target.id]
        cpu.charge(cost, STEAL_TIME)
        return running

    def answers_early(self, request: Flush) -> bool:
        """Whether targets answer on entering the handler."""
        return False


class ConcurrentShootdown(LinuxShootdown):
    """Multicast; the own TLB while the others flush theirs."""

    name: ClassVar[str] = "concurrent"
    source: ClassVar[str] = "Linux 5.13 (4ce94eabac16); Amit, Tai, Wei, EuroSys 2020"
    concurrent: ClassVar[bool] = True


class EarlyAcknowledgement(ConcurrentShootdown):
    """Targets answer on entry to the handler: with interrupts off they use no user page before they flush.

    Refused where tables are freed: a walker could still read them speculatively.
    """

    name: ClassVar[str] = "early_ack"
    source: ClassVar[str] = 'Amit, Tai, Wei, "Don\'t shoot down TLB shootdowns!", EuroSys 2020'

    def answers_early(self, request: Flush) -> bool:
        """Not where tables are freed."""
        return not request.freed_tables
