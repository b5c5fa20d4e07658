"""The MCS lock: first come, first served, each waiter spinning on a line of its own.

An arrival swaps itself onto the tail and links itself behind its predecessor; the
holder writes its successor's line, so a hand-over costs one transfer between the
two, whatever the number of waiters, and sections are computed (`queued.py`).
A release without a known successor takes the tail back with a compare-and-swap;
its price is part of `releasing` and does not depend on who else uses the line, for
the tail is then still in the releaser's cache.
Source: Mellor-Crummey and Scott, "Algorithms for scalable synchronization on
shared-memory multiprocessors", ACM TOCS 9(1), 1991.
"""

from coalsim.locks.queued import QueuedLock


class McsLock(QueuedLock):
    """First come, first served; a hand-over is one transfer of the successor's line."""
