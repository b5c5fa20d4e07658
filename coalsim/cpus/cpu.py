"""A processor: a SimPy process that runs threads and handles interrupts.

    running  --wait()-->  waiting  --alarm-->  running
    interrupts on --irq_off()--> off (nested) --irq_on()--> on

A message that arrives with interrupts on is handled at once: a running
processor's clock moves by the handler's cost, a waiting one runs it while it
waits.  With interrupts off it stays pending, in order of arrival with at most one
timer tick, and is handled when the outermost section ends.  A computed lock
section leaves no event at its end: `off_until` says until when interrupts
are off, and what arrives up to then is handled from there on.  Only a message that
later requests may still join has to wait there as a pending one would.

Handlers change private state of their processor only, never wait and take no lock.
"""

from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from simpy.events import Event

from coalsim.cpus.deadlock import Agent, Blocker, check_for_deadlock
from coalsim.cpus.runqueue import PARKED, RunQueue, Thread
from coalsim.engine.clock import RANK_BARRIER, RANK_MESSAGE, Engine, Op
from coalsim.engine.messages import Shot
from coalsim.engine.runahead import HANDLER, Clocked
from coalsim.errors import KernelBug
from coalsim.units import CpuId, NodeId, Time

IDLE = "idle"
SWITCH = "switch"


class Switcher(Protocol):
    """Who changes the address space of a processor; filled in by the kernel above."""

    def switch_to(self, cpu: "Cpu", thread: Thread) -> Op[None]:
        """Load what the thread needs."""

    def go_idle(self, cpu: "Cpu") -> Op[None]:
        """Nobody is ready; called synchronised."""


class Cpu(Clocked):
    """One processor.

    Args:
        env: the engine.
        cpu: its id, the index into the machine's processors.
        node: its memory node.
        transfer: by processor, ps to move a cache line from there to here (own id: a hit).
        occupancy: by processor, ps for which such a transfer keeps the line busy.
        switch_cost: ps of a context switch between threads.
        slice_ticks: timer ticks after which a thread gives way to the next one.
    """

    __slots__ = (
        "_idle",
        "_last_thread",
        "blocked_on",
        "current",
        "lock_waits",
        "locks_held",
        "may_start",
        "node",
        "occupancy",
        "pending",
        "preempt_depth",
        "queue",
        "switch_cost",
        "switcher",
        "switches",
        "transfer",
    )

    def __init__(
        self,
        env: Engine,
        cpu: CpuId,
        *,
        node: NodeId,
        transfer: Sequence[Time] = (),
        occupancy: Sequence[Time] = (),
        tick_period: Time = 0,
        tick_cost: Time = 0,
        first_tick: Time = 0,
        switch_cost: Time = 0,
        slice_ticks: int = 1,
    ) -> None:
        super().__init__(env, cpu, tick_period=tick_period, tick_cost=tick_cost, first_tick=first_tick)
        self.node = node
        self.transfer = transfer
        self.occupancy = occupancy
        self.switch_cost = switch_cost
        self.queue = RunQueue(slice_ticks)
        self.current: Thread | None = None
        self.pending: list[tuple[Time, Shot[Cpu] | None]] = []  # None: the timer tick
        self.blocked_on: Blocker | None = None
        self.preempt_depth = 0
        # waits for locks: number, total, longest, shortest non-zero, in ps; one block of the host's memory
        self.lock_waits = array("q", (0, 0, 0, 0))
        self.locks_held: list[object] = []  # by the running thread, for lockdep
        self.switches = 0
        self.switcher: Switcher | None = None  # who changes address spaces, where there are any
        self._last_thread: Thread | None = None
        self._idle = False

    @property
    def label(self) -> str:
        """Its name in reports."""
        return f"CPU {self.id}"

    def waits_on(self) -> Blocker | None:
        """What it waits for now, if anything."""
        return self.blocked_on

    # -- the process ----------------------------------------------------------

    def main(self) -> Op[None]:
        """Run threads for ever; idle when there is none."""
        self.alarm.arm(self.env._now)
        yield self.alarm  # threads run in this processor's order, whoever was started first
        self.alarm.reset()
        self.new_limit()
        while True:
            thread = self.queue.take()
            if thread is None:
                yield from self._wait_for_thread()
                continue
            if thread is not self._last_thread and self._last_thread is not None:
                self.switches += 1
                self.charge(self.switch_cost, SWITCH)
            self._last_thread = self.current = thread
            self.queue.new_slice(self.ticks)
            thread.cpu = self
            if self.switcher is not None:
                yield from self.switcher.switch_to(self, thread)
            for operation in thread.operations:
                operation.come_back(self)
            resume = thread.body.send
            try:
                event = resume(None)
                while event is not PARKED:
                    yield event
                    event = resume(None)
            except StopIteration:
                yield from self.sync()
                thread.end()
            for operation in thread.operations:
                operation.leave(self)
            thread.cpu = None
            self.current = None

    def _wait_for_thread(self) -> Op[None]:
        yield from self.sync()
        if self.queue.is_empty and self.switcher is not None:
            yield from self.switcher.go_idle(self)
            yield from self.sync()
        if self.queue.is_empty:
            self._idle = True
            yield from self.wait(IDLE)
            self._idle = False
            yield from self.sync()  # a handler may have run past the wake-up

    @property
    def is_idle(self) -> bool:
        """Nobody runs here and nobody is about to; read synchronised."""
        return self._idle and not self.alarm.armed

    def enqueue(self, thread: Thread, at: Time) -> None:
        """Make a thread ready to run here; an idle processor starts it at `at` (> now)."""
        assert at > self.env._now, "nothing crosses between processors in no time"
        thread.asleep_on = None
        self.queue.put(thread)
        if self._idle and not self.alarm.armed:
            self.alarm.arm(at)

    def start(self, threads: Iterable[Thread]) -> None:
        """Give the processor its first threads and begin; before the engine runs."""
        for thread in threads:
            self.queue.put(thread)
        begin = self.alarm.wake_for_ever(self.main())
        self.env.post_event(self.env._now, RANK_BARRIER, begin)

    def park(self) -> Op[None]:
        """Take the running thread off the processor until somebody enqueues it again."""
        yield from self.sync()
        assert self.current is not None, "only threads sleep"
        self.current.asleep_on = self
        yield PARKED

    def preempt_point(self) -> Op[None]:
        """Between operations: let another ready thread run if the time slice is over.

        The modelled kernel is not preemptible, as the recorded ones were.
        """
        if self.clock >= self.limit:
            yield from self.look()  # a tick that ends the slice may be due
        if self.queue.slice_over(self.ticks) and not self.irq_depth and not self.preempt_depth:
            yield from self.sync()
            if self.queue.is_empty:
                self.queue.new_slice(self.ticks)
            elif self.current is not None:
                self.queue.put(self.current)
                yield PARKED

    def make_way(self) -> Op[None]:
        """Let the other ready threads run first, if there are any, whether or not the slice is over."""
        yield from self.sync()
        if not self.queue.is_empty and self.current is not None:
            self.queue.put(self.current)
            yield PARKED
            yield from self.sync()

    # -- interrupts -------------------------------------------------------------

    def irq_off(self) -> Op[None]:
        """Turn interrupts off; nests."""
        if self.clock >= self.limit:
            yield from self.look()
        self.irq_depth += 1
        self.limit = self.hard

    def irq_on(self) -> Op[None]:
        """End an interrupts-off section; the outermost one handles what is pending."""
        if self.clock >= self.limit:
            yield from self.look()
        if self.irq_depth == 1 and (self.pending or self.next_tick <= self.clock):
            yield from self.sync()
        if not self.irq_depth:
            raise KernelBug(f"CPU {self.id} turns interrupts on that are on")
        self.irq_depth -= 1
        if not self.irq_depth:
            if self.pending:
                self.handle_pending()
            else:
                self.limit = min(self.hard, self.next_tick)

    def handle_pending(self) -> None:
        """Interrupts are on again, now: handle what arrived meanwhile."""
        now = self.env._now
        pending, self.pending, self.tick_pending = self.pending, [], False
        for arrived, shot in pending:
            if shot is None:
                self.run_tick(now)
            else:
                self._handle(arrived, now, shot)
        self.new_limit()  # a handler that starts later can still take requests

    def defer_tick(self, due: Time) -> None:
        """Keep a tick that fell due with interrupts off, in order of arrival."""
        self.pending.append((due, None))

    def tick_in_window(self, due: Time) -> None:
        """As above, but behind messages that wait for the end."""
        if self.pending:
            self.defer_tick(due)
        else:
            super().tick_in_window(due)

    def _pend_in_window(self, at: Time, shot: Shot["Cpu"]) -> None:
        """Keep a message until the end of the computed section, as the section by events would."""
        if not self.pending:
            self.env.post_before_cpu(self.off_until, self.id, self._end_window)
        self.pending.append((at, shot))

    def _end_window(self, _: Event) -> None:
        self.take_ticks(self.env._now)
        self.handle_pending()

    # -- messages -----------------------------------------------------------------

    def send(self, arrivals: Sequence[tuple[Time, "Cpu"]], shot: Shot["Cpu"]) -> None:
        """Send an interrupt, synchronised; targets of one arrival time share an event.

        Args:
            arrivals: when it reaches which processor; each at least the engine's
                lookahead after now.
            shot: what it does there.
        """
        assert self.clock == self.env._now, "send needs sync before it"
        groups: dict[Time, list[Cpu]] = {}
        for at, target in arrivals:
            if not shot.joinable:
                shot.waiting_for[target.id] = target
            groups.setdefault(at, []).append(target)
        for at in sorted(groups):
            self.send_together(at, sorted(groups[at], key=lambda cpu: cpu.id), shot)

    def send_together(
        self, at: Time, group: Sequence["Cpu"], shot: Shot["Cpu"], together: Callable[[], None] | None = None
    ) -> None:
        """The same to processors that it reaches at one time, given in order of their ids.

        `together` delivers to all of them, as a short cut.
        """
        env = self.env
        assert at >= env._now + env.lookahead, "a message may not arrive within the lookahead"
        for target in group:
            target.inbox.append(at)

        def arrive(_: Event) -> None:
            if together is not None and env.fast_paths:
                together()
                return
            for target in group:
                target.deliver(at, shot)

        env.post_event(at, RANK_MESSAGE + self.id, arrive)

    def post(self, target: "Cpu", setting: Callable[["Cpu"], None]) -> Time:
        """Change a setting that `target` reads privately; it sees it one lookahead later.

        Costs the target nothing and does not interrupt it.
        """
        env = self.env
        assert self.clock == env._now, "post needs sync before it"
        return post_setting(env, target, setting, RANK_MESSAGE + self.id)

    def deliver(self, at: Time, shot: Shot["Cpu"]) -> None:
        """An interrupt arrives; now is `at`."""
        if self.next_tick <= at:
            self.take_ticks(at)
        self.inbox.remove(at)
        if self.irq_depth:
            self.pending.append((at, shot))
            if shot.initiator is not None:
                check_for_deadlock(shot.initiator)
        elif at <= self.off_until and (shot.joinable or self.pending):
            self._pend_in_window(at, shot)
        else:
            self._handle(at, max(at, self.off_until), shot)

    def _handle(self, arrived: Time, may_start: Time, shot: Shot["Cpu"]) -> None:
        self.may_start = may_start
        started = max(may_start, self.handler_until)
        self.steal(may_start, shot.cost, HANDLER)
        shot.effect(self)
        if not shot.joinable:  # else what it carries is answered
            ended = started if shot.early else self.handler_until
            shot.answer(self.id, arrived, may_start, started, ended)

    def wait_for_answers(self, shot: Shot["Cpu"], cause: str) -> Op[None]:
        """Wait until every target of `shot` has answered; serve interrupts meanwhile.

        Raises:
            KernelBug: interrupts are off: two such initiators would wait for ever.
        """
        yield from self.sync()
        if self.irq_depth:
            raise KernelBug(f"CPU {self.id} waits for answers with interrupts off")
        if shot.left:
            shot.woken = True
            self.blocked_on = _Answers(shot)
            check_for_deadlock(self)
            yield from self.wait(cause)
            self.blocked_on = None
        else:
            yield from self.wait_until(shot.done, cause)

    # -- a user's own SimPy events -----------------------------------------------

    def wait_for(self, event: Event, cause: str) -> Op[object]:
        """Wait for any SimPy event; go on at least 1 ps after it, in this processor's order."""
        yield from self.sync()
        if event.processed:
            return event.value
        event.callbacks.append(lambda _: self.alarm.arm(self.env._now + 1))
        yield from self.wait(cause)
        return event.value


class _Answers:
    """Waiting for the answers to a shot: blocked by targets whose interrupts are off."""

    def __init__(self, shot: Shot[Cpu]) -> None:
        self._shot = shot

    def blockers(self) -> Sequence[Agent]:
        return [cpu for cpu in self._shot.waiting_for.values() if cpu.irq_depth]

    def describe(self) -> str:
        targets = ", ".join(
            cpu.label + (" (interrupts off)" if cpu.irq_depth else "")
            for cpu in self._shot.waiting_for.values()
        )
        return f"the answer of {targets}"


def post_setting(env: Engine, target: Cpu, setting: Callable[[Cpu], None], rank: int) -> Time:
    """Let a setting arrive at `target` one lookahead from now; returns when."""
    at = env._now + env.lookahead
    target.inbox.append(at)

    def arrive(_: Event) -> None:
        target.take_ticks(at)
        target.inbox.remove(at)
        setting(target)

    env.post_event(at, rank, arrive)
    return at
