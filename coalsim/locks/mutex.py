"""The sleeping mutex: optimistic spinning, then sleep, and a hand-off against starvation.

A sleeper that was woken and finds the mutex taken again sets the hand-off mark at
once and, if the owner runs, spins: the next release is for it.  Everything else is
common to locks that sleep (`sleeping.py`).
Acquire and release each are one read-modify-write of the lock word.
Source: Linux kernel/locking/mutex.c (MUTEX_FLAG_HANDOFF since 4.10).
"""

from typing import ClassVar

from coalsim.locks.sleeping import Sleeper, SleepingLock


class Mutex(SleepingLock):
    """One holder; waiters spin while it runs, else sleep."""

    type: ClassVar[str] = "mutex"

    def wants_handoff(self, sleeper: Sleeper) -> bool:
        """Whoever was woken in vain once is handed the lock next."""
        return True
