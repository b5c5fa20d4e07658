"""The rules of using locks, checked while the kernel runs.

Each lock class has a rank; a processor takes locks in rising order of rank.
Taking one out of order, twice, releasing one that it does not hold, sleeping under
a spinlock, and holding a lock that is elsewhere taken with interrupts off while
waiting for answers of other processors are faults of the modelled kernel: the
report names the lock and both call sites.

Held locks are per processor and in order of acquisition (`Cpu.locks_held`).
Source: the idea of Linux's lockdep (kernel/locking/lockdep.c) and of lock ranks.
"""

from typing import NamedTuple

from coalsim.cpus.cpu import Cpu
from coalsim.errors import LockMisuse
from coalsim.locks.lockstat import LockRow, LockStat, merged

UNRANKED = -1
"""The rank of a class that may be taken before and after any other: nobody checks its order."""


class LockClass:
    """What all locks of one kind share: name, rank, statistics and how they are used.

    Args:
        name: as in lock_stat.
        rank: place in the order; a lock may be taken only while all held ones have lower ranks.
        type: perf's word for the kind of lock.
        sleeps: waiting for it gives the processor away.
        readers: readers count apart from writers, in a row of their own.
    """

    def __init__(
        self, name: str, rank: int, *, type: str = "spinlock", sleeps: bool = False, readers: bool = False
    ) -> None:
        self.name = name
        self.rank = rank
        self.sleeps = sleeps
        self.type = f"{type}:W" if readers else type
        self.instances: dict[str, LockStat] = {}  # by the lock's own name
        self.read_stat = LockStat(name, f"{type}:R") if readers else None
        self.taken_irqs_off_at = ""  # a call site, once seen
        self.held_for_answers_at = ""

    def new_stat(self, lock: str) -> LockStat:
        """Where a lock of this class counts; locks of one name count together."""
        stat = self.instances.get(lock)
        if stat is None:
            stat = self.instances[lock] = LockStat(self.name, self.type)
        return stat

    @property
    def stat(self) -> LockStat:
        """What all its locks counted together."""
        return merged(self.name, self.type, self.instances.values())

    def reset(self) -> None:
        """Forget what was counted."""
        for stat in self.instances.values():
            stat.reset()
        if self.read_stat is not None:
            self.read_stat.reset()

    def all_stats(self) -> tuple[LockStat, ...]:
        """The counters of all its locks together, and those of their readers where they count apart."""
        return (self.stat,) if self.read_stat is None else (self.read_stat, self.stat)

    def rows(self) -> tuple[LockRow, ...]:
        """Frozen snapshots: one, or that of the readers and that of the writers."""
        return tuple(stat.row() for stat in self.all_stats())


class Held(NamedTuple):
    """A lock that a processor holds, and where it took it."""

    lock: object
    lock_class: LockClass
    site: str


def check_acquire(cpu: Cpu, lock: object, lock_class: LockClass, site: str) -> None:
    """Before a processor that holds locks takes another.

    Raises:
        LockMisuse: it holds this one, one of the same or a higher rank, or this one sleeps.
    """
    for held in cpu.locks_held:
        assert isinstance(held, Held)
        if held.lock is lock:
            raise LockMisuse(
                f"CPU {cpu.id} takes {lock_class.name} twice: at {site}, holding it since {held.site}"
            )
        if lock_class.sleeps and not held.lock_class.sleeps:
            raise LockMisuse(
                f"CPU {cpu.id} may sleep for {lock_class.name} at {site} "
                f"under {held.lock_class.name} taken at {held.site}, under which nobody may sleep"
            )
        if held.lock_class.rank >= lock_class.rank != UNRANKED:
            raise LockMisuse(
                f"CPU {cpu.id} takes {lock_class.name} (rank {lock_class.rank}) at {site} out of order: "
                f"it holds {held.lock_class.name} (rank {held.lock_class.rank}) since {held.site}"
            )


def note_irqs_off(lock_class: LockClass, site: str) -> None:
    """This class is taken with interrupts off.

    Raises:
        LockMisuse: elsewhere it is held while waiting for other processors' answers.
    """
    if not lock_class.taken_irqs_off_at:
        lock_class.taken_irqs_off_at = site
        _check_answers(lock_class)


def note_waiting_for_answers(cpu: Cpu, site: str) -> None:
    """The processor waits for answers of others, holding what it holds.

    Raises:
        LockMisuse: a lock that it holds is elsewhere taken with interrupts off.
    """
    for held in cpu.locks_held:
        assert isinstance(held, Held)
        if not held.lock_class.held_for_answers_at:
            held.lock_class.held_for_answers_at = site
            _check_answers(held.lock_class)


def _check_answers(lock_class: LockClass) -> None:
    if lock_class.taken_irqs_off_at and lock_class.held_for_answers_at:
        raise LockMisuse(
            f"{lock_class.name} is held at {lock_class.held_for_answers_at} while waiting for other "
            f"processors, and taken with interrupts off at {lock_class.taken_irqs_off_at}: "
            "a processor that spins there cannot answer"
        )


def check_may_sleep(cpu: Cpu, site: str) -> None:
    """Before the running thread gives its processor away.

    Raises:
        LockMisuse: it holds a lock that forbids sleep, or interrupts are off.
    """
    for held in cpu.locks_held:
        assert isinstance(held, Held)
        if not held.lock_class.sleeps:
            raise LockMisuse(
                f"CPU {cpu.id} sleeps at {site} under {held.lock_class.name} "
                f"taken at {held.site}, under which nobody may sleep"
            )
    if cpu.irq_depth:
        raise LockMisuse(f"CPU {cpu.id} sleeps at {site} with interrupts off")


def forget(cpu: Cpu, lock: object, lock_class: LockClass) -> None:
    """The processor releases the lock.

    Raises:
        LockMisuse: it does not hold it.
    """
    for position in range(len(cpu.locks_held) - 1, -1, -1):
        held = cpu.locks_held[position]
        assert isinstance(held, Held)
        if held.lock is lock:
            del cpu.locks_held[position]
            return
    raise LockMisuse(f"CPU {cpu.id} releases {lock_class.name}, which it does not hold")
