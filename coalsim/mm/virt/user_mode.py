"""What a thread does in user mode: compute, and use memory through its processor's TLB.

    touch_now: a hit in L1, without waiting      touch: hit -> done
                                                        walk -> fault -> walk ... -> done, or a signal

A bad access delivers a signal: the thread's program ends there, like a real one without a
handler.  Between accesses the thread gives way to others of its processor, after a tick.
Private to the processor but for walks and faults, which synchronise.
"""

from collections.abc import Callable, Sequence
from random import Random

from coalsim.cpus.access import USER
from coalsim.cpus.cpu import Cpu
from coalsim.cpus.tlb_level import TAG_BITS
from coalsim.cpus.walker import WALK
from coalsim.engine.clock import Op
from coalsim.mm.shootdown.base import Shootdown
from coalsim.mm.virt.fault import Fault
from coalsim.mm.virt.lone_fault import LoneFaults
from coalsim.mm.virt.process import Process
from coalsim.mm.virt.spin_flag import SpinFlag
from coalsim.units import PAGE_SHIFT, PAGE_SIZE, Time, Vpn

EXCEPTION = "exception"
KILLED = "SIGKILL: killed by the OOM killer"
BAD_POINTER = "SIGSEGV: user code may not touch the kernel's side"


class TaskKilled(Exception):  # an unwinding, not a mistake
    """The task has got a signal that ends it; unwinds its program."""


class UserMode:
    """A thread in user mode.

    Args:
        process: whose.
        cpu: where it runs.
        name: for tables.
    """

    def __init__(self, process: Process, cpu: Cpu, name: str) -> None:
        self.process = process
        self.cpu = cpu
        self.name = name
        self.signal = ""
        self.is_killed = False  # a SIGKILL waits for the next return to user mode
        self._spins_on: SpinFlag | None = None
        self._in_fault = False
        self._is_awaited = False  # the reaper waits for the end of this fault
        self.space = process.space
        self.kernel = kernel = process.space.kernel
        self.unit = kernel.units[cpu.id]
        self.touch_now = self.unit.touch_now  # one access, if L1 has the page; False: call `touch`
        self._costs = kernel.costs
        self._operations = kernel.operations
        self._lone = LoneFaults(process.space, cpu)
        self._fault_kind = kernel.operations.kind("fault")
        self._tells = type(kernel.policy).filled is not Shootdown.filled  # the policy wants to know of fills
        self._longest_part = kernel.switches.tick_period
        self._is_interruptible = kernel.switches.reclaim and self._longest_part > 0
        self._user_end = kernel.geometry.user_pages << PAGE_SHIFT

    # -- using memory ------------------------------------------------------------------------

    def touch(self, address: int, *, write: bool = True, site: str = USER) -> Op[None]:
        """One access: through the TLB, a walk, and a fault if need be."""
        if not 0 <= address < self._user_end:
            return self._die(BAD_POINTER, address)
        return self.make_usable(address, write, site, self._die, in_user=True)

    def make_usable(
        self,
        address: int,
        write: bool,
        site: str,
        refused: Callable[[str, int], Op[None]],
        *,
        in_user: bool = False,
    ) -> Op[None]:
        """Use a page, faulting it in; `refused` is what comes of an access that deserves a signal.

        All of `touch`, which is user code and gives way after its slice, and the part of batches and
        of copies from kernel mode that waits.
        """
        cpu, unit, operations, env = self.cpu, self.unit, self._operations, self.cpu.env
        vpn: Vpn = address >> PAGE_SHIFT  # type: ignore[assignment]  # `Vpn` would be one more call
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
            unit.judge_if_many()
        if unit.missed != vpn << TAG_BITS | unit.asid and unit.hit(vpn, write, site, USER):
            if in_user and cpu.ticks >= cpu.queue.slice_ends:  # `slice_over` in line
                yield from self._give_way()
            return  # else `touch_now` has just looked
        unit.misses += 1
        may_be_alone = env.fast_paths and self.process.running == 1 and not self._tells
        while True:
            is_alone = may_be_alone and not self.space.is_open
            found = unit.walk_ahead(vpn, write, True, site) if is_alone and cpu.clock < cpu.limit else None
            if found is None:
                while cpu.clock > env._now and (alarm := cpu.until_clock()):  # sync, in line
                    yield alarm
                    cpu.resume()
                found = unit.walk(vpn, write, True, site)
            if found:
                if self._tells:
                    self.kernel.policy.filled(cpu, self.space.context, vpn)
                cpu.charge(unit.walk_cost, WALK)
                if in_user and cpu.ticks >= cpu.queue.slice_ends:
                    yield from self._give_way()
                return
            cpu.charge_both(unit.walk_cost, WALK, self._costs.exception_entry, EXCEPTION)
            if cpu.clock >= cpu.limit:
                yield from cpu.look()
            running = operations.begin_now(cpu, self._fault_kind)
            self._in_fault = True
            place = self._lone.place(vpn) if is_alone and write else None
            if place is not None:
                verdict = yield from self._lone.map(place)
            else:
                verdict = yield from Fault(self.space, cpu, vpn, write=write).handle()
            if cpu.clock >= cpu.limit:
                yield from cpu.look()
            operations.end_now(cpu, running)
            self._in_fault = False
            cpu.charge(self._costs.exception_exit, EXCEPTION)
            if self._is_awaited:
                yield from self._let_reaper_in()
            if verdict or self.is_killed:
                yield from refused(verdict or KILLED, address)
            if cpu.clock >= cpu.limit or cpu.ticks >= cpu.queue.slice_ends:
                yield from self._give_way()

    def touch_pages(
        self, pages: Sequence[int], *, write: bool = False, repeat: int = 1, site: str = USER
    ) -> Op[None]:
        """Accesses to pages, in this order, as often as said; in bulk where they hit.

        A processor may run ahead only so far, so a run of hits is cut where its clock
        reaches that limit.  What L1 does not hold comes from L2 as long as that has it.
        """
        cpu, unit = self.cpu, self.unit
        cost, total = max(1, unit.l1_hit), len(pages)
        run = unit.tlb.store_run if write else unit.tlb.lookup_run
        for _ in range(repeat):
            done = 0
            while done < total:
                if cpu.clock >= cpu.limit:
                    yield from cpu.look()
                room = 1  # one access, where the clock is at its limit or somebody else is to be next
                if cpu.clock < cpu.limit and not cpu.queue.slice_over(cpu.ticks):
                    room = -(-(cpu.limit - cpu.clock) // cost)
                part = pages[done : done + room] if room < total - done or done else pages
                unit.settle()
                hits = run(part, unit.asid)
                if hits:
                    if unit.unchecked is not None:
                        unit.note_run(part, hits, write, site)
                    cpu.charge(hits * unit.l1_hit, USER)
                    done += hits
                elif room > 1 and (hits := unit.hits(pages, done, write, site, USER)):
                    done += hits
                else:
                    yield from self.make_usable(pages[done] << PAGE_SHIFT, write, site, self._die)
                    done += 1
                if cpu.queue.slice_over(cpu.ticks):
                    yield from self._give_way()

    def sequential(
        self, address: int, length: int, *, stride: int = PAGE_SIZE, write: bool = False, site: str = USER
    ) -> Op[None]:
        """One access every `stride` bytes."""
        pages = [at >> PAGE_SHIFT for at in range(address, address + length, stride)]
        yield from self.touch_pages(pages, write=write, site=site)

    def touch_random(
        self, address: int, length: int, count: int, stream: Random, *, write: bool = False, site: str = USER
    ) -> Op[None]:
        """So many accesses to pages drawn from a range."""
        first, pages = address >> PAGE_SHIFT, length >> PAGE_SHIFT
        uniform = stream.random
        yield from self.touch_pages(
            [first + int(uniform() * pages) for _ in range(count)], write=write, site=site
        )

    # -- beside memory -----------------------------------------------------------------------

    def compute(self, time: Time, cause: str = USER) -> Op[None]:
        """User work that touches no memory."""
        if self._is_interruptible:  # a thread that memory is waiting for does not wait for all of it
            while time > self._longest_part:
                time -= self._longest_part
                self.cpu.charge(self._longest_part, cause)
                yield from self._give_way()
        self.cpu.charge(time, cause)
        yield from self._give_way()

    def spin(self, flag: SpinFlag) -> Op[None]:
        """Spin in user mode until the flag is set."""
        cpu = self.cpu
        yield from cpu.sync()
        while not self.is_killed:
            self._spins_on = flag
            yield from flag.wait(cpu)
            self._spins_on = None
            if flag.is_set or self.is_killed:
                break
            yield from cpu.make_way()
        if self.is_killed:
            yield from self.die_killed()

    def _give_way(self) -> Op[None]:
        """In user code: deferred work is done after a tick, and somebody else may be next."""
        cpu, policy = self.cpu, self.kernel.policy
        if policy.is_lazy and cpu.queue.slice_over(cpu.ticks):
            yield from policy.left_user(cpu)
        yield from cpu.preempt_point()
        if self.is_killed:
            yield from self.die_killed()

    # -- signals -------------------------------------------------------------------------------

    def take_kill(self, _: Cpu) -> None:
        """A SIGKILL arrives at this processor, as a setting: the space is not the thread's alone any more."""
        self.is_killed = True
        space = self.space
        space.is_open = True
        if self._in_fault and not self._is_awaited:
            self._is_awaited = True
            space.faults_to_end += 1
        if self._spins_on is not None:
            self._spins_on.give_way(self.cpu, self.cpu.env._now + 1)

    def _let_reaper_in(self) -> Op[None]:
        """The fault that began before the space was opened is over."""
        yield from self.cpu.sync()
        self._is_awaited = False
        self.space.faults_to_end -= 1

    def die_killed(self) -> Op[None]:
        """On the way back to user mode: the signal ends the thread."""
        self.kernel.counts.signals += 1
        self.signal = KILLED
        self.cpu.charge(self._costs.signal, EXCEPTION)
        yield from self.cpu.sync()
        raise TaskKilled(KILLED)

    def _die(self, verdict: str, address: int) -> Op[None]:
        self.kernel.counts.signals += 1
        self.signal = signal = f"{verdict}, at {address:#x}"
        self.cpu.charge(self._costs.signal, EXCEPTION)
        yield from self.cpu.sync()
        raise TaskKilled(signal)
