"""Locks that are held for longer at chosen places: what a fault injection asks for.

A class made here behaves as the policy that it is made of, but after some acquisitions the
holder is busy for a while.  A delay by events has a cause of its own; one inside a computed
section is part of the hold.

Chances are counted for each lock by itself, in the order of its grants, which all modes share.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.engine.occasions import Occasions, When
from coalsim.locks.base import Body, Lock, LockSetup, Span
from coalsim.locks.lockdep import LockClass
from coalsim.locks.queued import QueuedLock
from coalsim.units import Time

INJECTED = "injected:lock delay"


class LockDelay:
    """A rule: where holders are delayed, and for how long.

    Args:
        lock: pattern of lock classes.
        site: pattern of call sites.
        by: for so long, in ps.
        when: which acquisitions.
        number: of the rule, which names its random numbers.
    """

    def __init__(self, lock: str, site: str, by: Time, when: When, number: int) -> None:
        self.lock = lock
        self.site = site
        self.by = by
        self.when = when
        self.number = number
        self.taken = 0
        self.chances = 0  # acquisitions that fitted


def delayed(policy: type[Lock], class_name: str, rules: Sequence[LockDelay]) -> type[Lock]:
    """The policy with the delays that rules ask for in a class of locks; itself, if none does."""
    mine = [rule for rule in rules if fnmatchcase(class_name, rule.lock)]
    if not mine:
        return policy

    class Delayed(policy):  # type: ignore[misc, valid-type]
        """A policy whose holders are slow at times."""

        def __init__(self, lock_class: LockClass, name: str, setup: LockSetup) -> None:
            super().__init__(lock_class, name, setup)
            self._rules = [
                (rule, Occasions(rule.when, setup.streams.stream(f"inject lock {rule.number} {name}")))
                for rule in mine
            ]

        def _delay(self, site: str) -> Time:
            total = 0
            for rule, occasions in self._rules:
                if not fnmatchcase(site, rule.site):
                    continue
                rule.chances += 1
                if occasions.is_now():
                    rule.taken += 1
                    total += rule.by
            return total

        def acquire(self, cpu: Cpu, site: str) -> Op[None]:
            """As the policy says, and then slow."""
            yield from super().acquire(cpu, site)
            cpu.charge(self._delay(site), INJECTED)

        def acquire_read(self, cpu: Cpu, site: str) -> Op[None]:
            """The same for readers, where the policy has them."""
            yield from super().acquire_read(cpu, site)
            cpu.charge(self._delay(site), INJECTED)

    class DelayedQueued(Delayed):
        """The same where sections do not go through `acquire`."""

        def section(self, cpu: Cpu, body: Body, longest: Time, site: str) -> Op[Span]:
            """The body holds the lock for longer."""

            def slow(grant: Time) -> Time:
                return body(grant) + self._delay(site)

            most = longest + sum(rule.by for rule in mine)
            span: Span = yield from super().section(cpu, slow, most, site)
            return span

    made = DelayedQueued if issubclass(policy, QueuedLock) else Delayed
    made.__name__ = made.__qualname__ = policy.__name__
    return made
