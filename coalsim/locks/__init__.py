"""Locks: each a swappable policy in a file of its own, all with the same statistics.

`base` is what every lock shares, `queued` what those share whose sections are
computed, `sleeping` those whose waiters sleep; `registry` has the names, `lockstat`
the statistics, `lockdep` the rules of use (rank, twice, sleeping under a spinlock),
`view` a number that may be read without the lock that guards it.
"""
