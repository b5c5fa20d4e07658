"""Operations and latencies of a run by equal parts of its time, counted at barriers.

    begin -- batch 1 --| -- batch 2 --| ... | -- batch N -- end

Barriers change nothing that is simulated: a run with batches has the results of one without,
but for the number of events.  The meter is read and not reset, so a batch is what was counted
at its end less what was counted before; what began before a barrier counts before it.
"""

from itertools import pairwise

from coalsim.boot import System
from coalsim.observe.batches_document import BatchesEntry
from coalsim.observe.document import nanoseconds
from coalsim.units import Time


class BatchCounter:
    """Counts the batches of one run.

    Args:
        system: booted, not yet run; its meter stands at 0 when the first batch begins.
        headline: the phase whose latencies count.
        begin, length: of all batches together, in ps.
        number: of batches.
    """

    def __init__(self, system: System, headline: str, begin: Time, length: Time, number: int) -> None:
        self._system = system
        self._headline = headline
        self._length = length
        self._number = number
        self._seen = [(0, 0, 0)]  # at the end of each batch: operations, latencies, their sum in ps
        for batch in range(1, number):
            system.env.declare_barrier(begin + batch * length // number, self._cut)

    def end(self) -> None:
        """The last batch ends; at a barrier."""
        self._cut()

    @property
    def is_complete(self) -> bool:
        """The run came to the end of the last batch."""
        return len(self._seen) == self._number + 1

    @property
    def ops(self) -> list[int]:
        """Operations of each batch."""
        return self._differences(0)

    @property
    def latency_counts(self) -> list[int]:
        """Latencies of each batch."""
        return self._differences(1)

    @property
    def latency_totals(self) -> list[Time]:
        """Their sum, in ps."""
        return self._differences(2)

    def entry(self) -> BatchesEntry:
        """The part of the result document."""
        whole, rest = divmod(self._length, self._number)
        return {
            "length_ps": self._length / self._number if rest else whole,
            "ops": [*self.ops],
            "latency_count": [*self.latency_counts],
            "latency_total_ns": [nanoseconds(total) for total in self.latency_totals],
        }

    def _cut(self) -> None:
        meter = self._system.meter
        parts = meter.phases.get(self._headline, [])
        counted = sum(part.count for part in parts), sum(part.total for part in parts)
        self._seen.append((meter.count, *counted))

    def _differences(self, what: int) -> list[int]:
        seen = [counted[what] for counted in self._seen]
        return [after - before for before, after in pairwise(seen)]
