"""Listens to a run and keeps what a timeline is made of.

    accounts of the CPUs -> tracks          lock:waited -> waits of locks
    message:answered, message:broadcast -> messages          gauges, looked at in passing -> samples

Recording is passive: nothing is scheduled, charged or drawn at random, so the run has the results of
one without.  It needs the plain mode, in which nothing runs ahead of global time and no section is
computed: there what is heard is in order, CPU by CPU.

What is kept is bounded.  When the limit is reached the window ends at that moment, for everything.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.operation import Operations
from coalsim.engine.clock import Engine
from coalsim.engine.probes import Probes
from coalsim.engine.runahead import Account
from coalsim.observe.timeline.accounts import HeardRunning, listen_to, operations_of
from coalsim.observe.timeline.facts import LockWait, Mark, Message, Sample
from coalsim.observe.timeline.track import NO_OPERATION, Track
from coalsim.units import FOREVER, Time

CATEGORIES = ("time", "locks", "ipis", "instants", "counters")
DEFAULT_LIMIT = 1_000_000
SAMPLES = 1_000
"""Samples of each counter in a window whose length is known."""
SAMPLE_PERIOD: Time = 1_000_000
"""Time between two samples where it is not."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to keep.

    Args:
        begin, end: the window, in absolute simulated time.
        limit: pieces of time, waits, messages and samples that are kept at most.
        cpus: whose; empty: all.
        what: of `CATEGORIES`.
    """

    begin: Time = 0
    end: Time = FOREVER
    limit: int = DEFAULT_LIMIT
    cpus: tuple[int, ...] = ()
    what: tuple[str, ...] = CATEGORIES

    @property
    def sample_period(self) -> Time:
        """Time between two samples of the counters."""
        return SAMPLE_PERIOD if self.end == FOREVER else max(1, (self.end - self.begin) // SAMPLES)


class Gauge(NamedTuple):
    """A number of the system that can be read at any time without changing anything."""

    name: str
    node: int
    level: Callable[[], int]


@dataclass(frozen=True, kw_only=True)
class Heard:
    """The parts of a system that are listened to.

    Args:
        env, cpus, probes: of the system.
        operations: of its virtual memory, if it has one.
        gauges: what is sampled.
        signals: how many signals have ended tasks so far.
    """

    env: Engine
    cpus: Sequence[Cpu]
    probes: Probes
    operations: Operations | None = None
    gauges: Sequence[Gauge] = ()
    signals: Callable[[], int] = field(default=lambda: 0)


class _Ear:
    """Hears what is entered for one CPU."""

    __slots__ = ("_account", "_began", "_cpu", "_number", "_recorder", "_renamed", "_until", "track")

    def __init__(self, cpu: Cpu, recorder: "Recorder", track: Track | None) -> None:
        self._cpu = cpu
        self._recorder = recorder
        self._renamed: tuple[str, Time] | None = None  # what is being given another cause
        self._until: Time = 0  # end of the last handler that was heard
        self._account: Account = cpu.own_account
        self._began: Time = -1
        self._number = NO_OPERATION
        self.track = track

    def entered(self, account: Account, cause: str, amount: Time) -> None:
        cpu, recorder, track = self._cpu, self._recorder, self.track
        recorder.look_at(cpu)
        until, handled = cpu.handler_until, cpu.handler_until != self._until
        self._until = until
        if track is None or not amount:
            return
        if handled:
            keep = until - amount < recorder.end
            if track.add_handler(cause, until - amount, until, keep=keep) and until > recorder.begin:
                recorder.count()
        elif amount < 0:
            self._renamed = cause, -amount
        elif self._renamed is not None:
            source, taken = self._renamed
            assert taken == amount, "what is taken from one cause goes to another"
            self._renamed = None
            track.rename(source, cause, amount)
        else:
            self.own(account, cause, amount, track)

    def own(self, account: Account, cause: str, amount: Time, track: Track) -> None:
        """The CPU itself has spent time."""
        recorder = self._recorder
        if track.next_begins >= recorder.end:
            track.pass_over(cause, amount)
        elif track.add(cause, amount, self._operation(account, track)) and track.position > recorder.begin:
            recorder.count()

    def _operation(self, account: Account, track: Track) -> int:
        began = account.began if isinstance(account, HeardRunning) else -1
        if account is not self._account or began != self._began:
            self._account, self._began = account, began
            path = operations_of(account)
            self._number = track.operation(path) if path else NO_OPERATION
        return self._number

    def finish(self, end: Time) -> None:
        """The run is over: what the CPU waits for has lasted up to now."""
        cpu, track = self._cpu, self.track
        if track is None or not cpu.waiting:
            return
        overhang = max(0, cpu.handler_until - end)
        waited = end - cpu.wait_began - (cpu.stolen - overhang)
        if waited:
            self.own(cpu.account, cpu.wait_cause, waited, track)


class Recorder:
    """Keeps what is wanted of one run; `attach` it before the run."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.begin = wanted.begin
        self.end = wanted.end  # earlier once the limit is reached
        self.kept = 0
        self.is_full = False  # the limit was reached, and the window ended there
        self.tracks: dict[int, Track] = {}
        self.waits: list[LockWait] = []
        self.messages: list[Message] = []
        self.marks: list[Mark] = []
        self.samples: list[Sample] = []
        self._ears: list[_Ear] = []
        self._heard: Heard | None = None
        self._next_sample: Time = wanted.begin if "counters" in wanted.what else FOREVER
        self._last: dict[tuple[str, int], int] = {}  # of each gauge
        self._signals = 0

    def attach(self, heard: Heard) -> None:
        """Begin to listen; the system has been booted and has not run."""
        assert not heard.env.run_ahead, "timelines are recorded in the plain mode"
        assert not heard.env.fast_paths, "timelines are recorded in the plain mode"
        wanted, self._heard = self.wanted, heard
        what = wanted.what
        self._signals = heard.signals()
        if {"time", "instants", "counters"}.intersection(what):
            for cpu in heard.cpus:
                keeps = self._keeps(cpu.id) and ("time" in what or "instants" in what)
                track = Track(wanted.begin) if keeps else None
                if track is not None:
                    self.tracks[cpu.id] = track
                ear = _Ear(cpu, self, track)
                self._ears.append(ear)
                listen_to(cpu, ear)
            if heard.operations is not None:
                heard.operations.account = HeardRunning
        if "locks" in what:
            heard.probes.listen("lock:waited", self._waited)
        if "ipis" in what:
            heard.env.answered.listeners.append(self._answered)
            heard.env.broadcasts.listeners.append(self._landed)

    def finish(self, end: Time) -> None:
        """The run is over."""
        for ear in self._ears:
            ear.finish(end)
        self.end = min(self.end, end)

    def count(self) -> None:
        """One thing more is kept; the last one that may be ends the window now."""
        self.kept += 1
        if self.kept == self.wanted.limit and self._heard is not None:
            now = self._heard.env._now
            self.end, self.is_full = min(self.end, now), now < self.end

    def _keeps(self, cpu: int) -> bool:
        return not self.wanted.cpus or cpu in self.wanted.cpus

    # -- what is looked at in passing ------------------------------------------------------

    def look_at(self, cpu: Cpu) -> None:
        """Something happens on a CPU: see what else has changed."""
        assert self._heard is not None, "it is attached"
        now = self._heard.env._now
        if now >= self._next_sample:
            self._sample(now)
        if (signals := self._heard.signals()) != self._signals:
            self._signals = signals
            if "instants" in self.wanted.what and self._keeps(cpu.id) and self.begin <= now < self.end:
                self.marks.append(Mark(now, int(cpu.id), "signal", "a signal ends the task"))
                self.count()

    def _sample(self, now: Time) -> None:
        assert self._heard is not None, "it is attached"
        if now >= self.end:
            self._next_sample = FOREVER
            return
        period = self.wanted.sample_period
        self._next_sample = now - (now - self.begin) % period + period
        for name, node, level in self._heard.gauges:
            value = level()
            if self._last.get((name, node)) != value:
                self._last[name, node] = value
                self.samples.append(Sample(now, name, node, value))
                self.count()

    # -- probes --------------------------------------------------------------------------------

    def _waited(
        self,
        released: Time,
        cpu: int,
        row: tuple[str, str],
        lock: str,
        site: str,
        behind: str,
        arrived: Time,
        granted: Time,
    ) -> None:
        """A contended acquisition is over; waits that the window only touches are kept whole."""
        if released >= self.begin and arrived < self.end and self._keeps(cpu):
            name, type_ = row
            self.waits.append(LockWait(int(cpu), name, type_, lock, site, behind, arrived, granted, released))
            self.count()

    def _answered(self, sender: int, target: int, sent: Time, started: Time, ended: Time, seen: Time) -> None:
        """A target has taken a request up and will answer; arrows lie in the window with both ends."""
        inside = sent >= self.begin and seen < self.end
        if inside and self._keeps(sender) and self._keeps(target):
            self.messages.append(Message(int(sender), int(target), sent, started, ended, seen))
            self.count()

    def _landed(self, sender: int, targets: Sequence[int], sent: Time, at: Time) -> None:
        """An effect that hardware carries is on its way to all targets."""
        for target in targets:
            if target != sender:
                self._broadcast(sender, target, sent, at)

    def _broadcast(self, sender: int, target: int, sent: Time, at: Time) -> None:
        if sent >= self.begin and at < self.end and self._keeps(sender) and self._keeps(target):
            self.messages.append(Message(int(sender), int(target), sent, at, at, -1))
            self.count()
