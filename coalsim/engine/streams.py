"""Named streams of random numbers.

A stream is named by what it decides ("think", "tas:zone") and, where processors
draw independently, by the processor; its numbers depend on the seed and the name
only, so adding a stream elsewhere changes nothing here and variants of a study
share their random numbers.

Only raw uniforms of `random.Random` are used, whose sequence Python guarantees
for a given integer seed; laws are sampled by our own code in `laws.py`.
"""

import hashlib
from random import Random


class Streams:
    """All random numbers of one run."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def stream(self, name: str, index: int = 0) -> Random:
        """A fresh stream, always the same for one (seed, name, index)."""
        digest = hashlib.sha256(f"{self.seed}/{name}/{index}".encode()).digest()
        return Random(int.from_bytes(digest[:16], "big"))
