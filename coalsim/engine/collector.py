"""Python's cycle collector during a run: seldom.

What a run makes dies by its reference count; what stays are the machine's own
structures, and going through them again and again took up to a tenth of a run's host
time.  Cycles come from exceptions that end a task, and are few.

Costs no simulated time; changes no result.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

YOUNG, MIDDLE, OLD = 50_000, 20, 500
"""So many new objects, and so many collections of them and of those that survive, before the next step."""


@contextmanager
def seldom_collecting() -> Iterator[None]:
    """Collect seldom while the block runs, unless the caller has turned the collector off or does less."""
    before = gc.get_threshold()
    if 0 < before[0] < YOUNG:
        gc.set_threshold(YOUNG, MIDDLE, OLD)
    try:
        yield
    finally:
        gc.set_threshold(*before)
