"""Locks whose holders are faster, or slower, than they would be: what a virtual speed-up asks for.

A processor made here multiplies all time that its own instructions take while it holds a lock of
a class that was named: the sections that the lock guards, what is called from inside them, the
cache lines that they fetch, and the lock's own taking and releasing.  What it waits for there,
other locks or answers of other processors, and handlers that interrupt it take as long as ever.

The factors of several such locks that are held at once multiply; each charge is rounded down to
a whole ps.  Charges that are put together, or lock sections that are computed, would be rounded
differently, so the engine of such a system plays everything by events (`boot.py`): all its modes
are one, and a system without such locks pays nothing.

Source: the idea of virtual speed-ups is Curtsinger and Berger's, "Coz: finding code that counts
with causal profiling", SOSP 2015; a simulator can do the real thing.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from fractions import Fraction

from coalsim.cpus.cpu import Cpu
from coalsim.locks.lockdep import Held
from coalsim.units import Time

_OWN = ("hold", "read")
"""Last words of the causes under which a lock charges what it does for its holder."""


class LockSpeeds:
    """How long the sections of which locks take, as parts of what they would.

    Args:
        factors: by pattern of lock classes; `zone` also names `zone->lock`, `mmap` also `mmap_lock`.
    """

    def __init__(self, factors: Mapping[str, Fraction]) -> None:
        self._factors = dict(factors)
        self._known: dict[str, Fraction | None] = {}

    def of(self, lock_class: str) -> Fraction | None:
        """The factor of a class of locks; None where nobody asked for one."""
        if lock_class not in self._known:
            found = [factor for pattern, factor in self._factors.items() if names_lock(pattern, lock_class)]
            whole = Fraction(1)
            for factor in found:
                whole *= factor
            self._known[lock_class] = whole if found else None
        return self._known[lock_class]

    def scaled(self, cost: Time, cause: str, held: Sequence[object]) -> Time:
        """What a charge comes to while these locks are held."""
        classes = dict.fromkeys(record.lock_class.name for record in held if isinstance(record, Held))
        group, _, rest = cause.partition(":")
        name, _, what = rest.rpartition(":")
        if group == "lock" and what in _OWN:
            classes[name] = None
        for lock_class in classes:
            factor = self.of(lock_class)
            if factor is not None:
                cost = cost * factor.numerator // factor.denominator
        return cost


def names_lock(pattern: str, lock_class: str) -> bool:
    """Whether a pattern, or the short name of a lock, means a class of locks."""
    return fnmatchcase(lock_class, pattern) or lock_class in (f"{pattern}->lock", f"{pattern}_lock")


def sped(kind: type[Cpu], speeds: LockSpeeds) -> type[Cpu]:
    """The kind of processor on which the holders of some locks are faster."""

    class Sped(kind):  # type: ignore[misc, valid-type]
        """A processor that is faster, or slower, while it holds certain locks."""

        __slots__ = ()

        def charge(self, cost: Time, cause: str) -> None:
            """As any processor, in its own time."""
            super().charge(speeds.scaled(cost, cause, self.locks_held), cause)

        def charge_both(self, cost: Time, cause: str, then: Time, next_cause: str) -> None:
            """As any processor, each in its own time."""
            self.charge(cost, cause)
            self.charge(then, next_cause)

    return Sped
