"""Patterns of known bytes: filled in, and looked at later.

    in use, not written yet   5a 5a 5a 5a ... 5a
    free                      6b 6b 6b 6b ... a5

Nothing here waits or costs time; callers pay per 64 bytes.
Source: Linux include/linux/poison.h (POISON_INUSE, POISON_FREE, POISON_END); filling on allocation as
mm/slab.c of 6.7 did (`cache_alloc_debugcheck_after`), on free as mm/slub.c (`init_object`) does.
"""

from typing import Final, NamedTuple

POISON_INUSE: Final = 0x5A
"""Allocated and not written yet: a use of it shows an uninitialised read."""
POISON_FREE: Final = 0x6B
"""Free."""
POISON_END: Final = 0xA5
"""The last byte of a free object."""


class Damage(NamedTuple):
    """Where bytes are not what they should be: the first and last wrong one, and what is there."""

    first: int
    last: int
    found: int
    expected: int


def fresh(size: int) -> bytes:
    """What an object holds when it is handed out."""
    return bytes([POISON_INUSE]) * size


def freed(size: int) -> bytes:
    """What a free object holds."""
    return bytes([POISON_FREE]) * (size - 1) + bytes([POISON_END])


def damage(expected: bytes, found: bytes) -> Damage | None:
    """The first and the last byte that differ, as indices; None: none does."""
    if expected == found:
        return None
    wrong = [index for index, (one, other) in enumerate(zip(expected, found, strict=True)) if one != other]
    return Damage(wrong[0], wrong[-1], found[wrong[0]], expected[wrong[0]])
