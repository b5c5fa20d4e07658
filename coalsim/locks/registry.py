"""Lock policies by name, and what a user's own has to look like.

| name        | order       | waiters       | hand-over                   | sections               |
|-------------|-------------|---------------|-----------------------------|------------------------|
| `tas`       | none        | hammer a word | grows with the waiters      | by events              |
| `ttas`      | none        | spin, back off| all race for the line       | by events              |
| `ticket`    | arrival     | watch a word  | grows with the waiters      | by events              |
| `mcs`       | arrival     | queue         | one transfer                | computed               |
| `qspinlock` | arrival     | queue         | one transfer                | computed               |
| `cna`       | node first  | queue         | one transfer, mostly near   | by events              |
| `seqlock`   | arrival     | queue         | one transfer                | by events; read freely |
| `mutex`     | spinners    | spin or sleep | one transfer or a wake-up   | interrupts on          |
| `rwsem`     | spinners    | spin or sleep | one transfer or a wake-up   | interrupts on          |
| `rcu`       | -           | never wait    | -                           | reads only             |

All ten serve a load that takes locks for their own sake: seqlock and rwsem as
writers, rcu as a reader, which nobody else keeps out.  The kernel's own spinlocks
are taken with interrupts off and must exclude, so there mutex, rwsem and rcu are
refused when the system is built.
"""

from collections.abc import Mapping
from inspect import isgeneratorfunction

from coalsim.errors import CoalsimError, ConfigError, Problem
from coalsim.locks.base import Lock, LockSetup, SpinLock
from coalsim.locks.cna import CnaLock
from coalsim.locks.lockdep import LockClass
from coalsim.locks.mcs import McsLock
from coalsim.locks.mutex import Mutex
from coalsim.locks.qspinlock import QueuedSpinLock
from coalsim.locks.rcu import Rcu
from coalsim.locks.rwsem import RwSemaphore
from coalsim.locks.seqlock import SequenceLock
from coalsim.locks.tas import TasLock
from coalsim.locks.ticket import TicketLock
from coalsim.locks.ttas import TtasLock
from coalsim.plugins import Asked, Registry, error_line, failure_in, find_class

LOCKS: Mapping[str, type[Lock]] = {
    "tas": TasLock,
    "ttas": TtasLock,
    "ticket": TicketLock,
    "mcs": McsLock,
    "qspinlock": QueuedSpinLock,
    "cna": CnaLock,
    "mutex": Mutex,
    "rwsem": RwSemaphore,
    "seqlock": SequenceLock,
    "rcu": Rcu,
}

REGISTRY: Registry[Lock] = Registry(
    kind="lock", group="coalsim.locks", classes=LOCKS, methods=("acquire", "release", "section")
)


def find_lock(name: str, asked: Asked) -> type[Lock]:
    """The policy of that name, to be used for its own sake.

    Raises:
        ConfigError: there is none, or a user's class is no lock.
    """
    policy = find_class(name, REGISTRY, asked)
    if name not in LOCKS:
        check_foreign_lock(name, policy, asked)
    return policy


def find_spinlock(name: str, asked: Asked) -> type[SpinLock]:
    """The policy of that name, for the kernel's spinlocks.

    Raises:
        ConfigError: as above, or its waiters sleep, or it does not exclude.
    """
    policy = find_lock(name, asked)
    if issubclass(policy, SpinLock):
        return policy
    why = "its waiters sleep" if policy.sleeps else "its readers keep nobody out"
    fit = ", ".join(own for own, known in LOCKS.items() if issubclass(known, SpinLock))
    raise asked.refuse(
        name,
        f"cannot guard the kernel's memory: that is done with interrupts off and alone, and {why}",
        f"choose one of {fit}; {name} can be measured by itself in a lock loop",
    )


def make_lock(policy: type[Lock], lock_class: LockClass, name: str, setup: LockSetup) -> Lock:
    """One lock of a policy; `lock_class` was made by the policy's `make_class`.

    Raises:
        ConfigError: the constructor of a user's class fails.
    """
    try:
        return policy(lock_class, name, setup)
    except CoalsimError:
        raise
    except Exception as error:
        if (theirs := failure_in(policy.__module__, error, "kernel.lock")) is not None:
            raise theirs from None
        problem = Problem(
            key="kernel.lock",
            message=f"{policy.__qualname__} cannot be made: {error_line(error)}",
            remedy="its constructor takes (lock_class, name, setup) and passes them on to SpinLock",
        )
        raise ConfigError([problem]) from error


def check_foreign_lock(name: str, policy: type[Lock], asked: Asked) -> None:
    """Whether a class that is not ours can be used as a lock at all.

    Raises:
        ConfigError: it cannot.
    """
    if not isinstance(policy, type) or not issubclass(policy, Lock):
        raise asked.refuse(
            name, "not a lock: it is no subclass of SpinLock", "write class MyLock(SpinLock): enter and leave"
        )
    if not issubclass(policy, SpinLock):
        return
    for method in ("enter", "leave"):
        own = getattr(policy, method)
        if own is getattr(SpinLock, method):
            raise asked.refuse(name, f"it does not say how to {method}", f"write def {method} in the class")
        if not isgeneratorfunction(own):
            raise asked.refuse(
                name,
                f"{method} cannot wait: it is no generator",
                "use yield from inside it; yield from () if there is nothing to wait for",
            )
