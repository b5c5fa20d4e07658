"""The kernel's queued spinlock: a holder byte, one pending waiter, then an MCS queue.

    word = (tail, pending, locked)
    (0,0,0) --cmpxchg--> (0,0,1)                 free
    (0,0,1) --set pending--> (0,1,1)             the first waiter spins on the word itself
    (0,1,1) --swap tail--> (n,1,1)               all others queue; their head spins on the word

Order is first come, first served.  What differs from MCS is where waiters spin:
the pending waiter and the head of the queue watch the word, which the release
writes, so the hand-over moves the lock word where MCS moves the waiter's node.
That is one transfer from the last holder to its successor either way, so the
model charges the same and computes sections in the same way (`queued.py`).
Two things are left out because they are not on the way from release to grant:
passing the head of the queue on (it overlaps the new holder's section) and the
release's store, which waits in the store buffer and not in the line's queue.  The
releaser does not wait for it, so release touches no line that arrivals swap.
Source: Linux kernel/locking/qspinlock.c.
"""

from coalsim.locks.queued import QueuedLock


class QueuedSpinLock(QueuedLock):
    """First come, first served; a hand-over is one transfer of the lock word."""
