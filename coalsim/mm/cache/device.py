"""The device that files lie on: requests queue, and each has a latency beside its transfer.

    submitted -> waits for the transfers before it -> transferred -> latency -> done

When a request is done is known when it is submitted.  Reads and writes share the queue.
The end of a request costs whoever waits for it, not the processor that would be interrupted.
Shared state: `sync` before every use.
"""

from collections import deque
from collections.abc import Sequence

from coalsim.cpus.cpu import Cpu
from coalsim.mm.cache.page import CachedPage
from coalsim.profiles.costs import KernelCosts
from coalsim.units import NodeId, Time

DEVICE = "device request"


class Device:
    """One drive.

    Args:
        costs: latencies and times per page, and what a request costs its processor.
    """

    def __init__(self, costs: KernelCosts) -> None:
        self._costs = costs
        self._free_at: Time = 0
        self._writing: deque[tuple[Time, NodeId]] = (
            deque()
        )  # pages on their way, by the time when they are done
        self.reset()

    def reset(self) -> None:
        """Forget what was counted, at the end of the warm-up."""
        self.requests = self.pages_read = self.pages_written = 0

    def read(self, cpu: Cpu, pages: Sequence[CachedPage]) -> Time:
        """Read pages that follow each other; when they are there.  Synchronised."""
        self.pages_read += len(pages)
        done = self._request(cpu, len(pages) * self._costs.device_read_page)
        return done + self._costs.device_read_latency

    def write(self, cpu: Cpu, pages: Sequence[CachedPage]) -> Time:
        """Write pages that follow each other; when the device has them.  Synchronised."""
        self.pages_written += len(pages)
        done = self._request(cpu, len(pages) * self._costs.device_write_page)
        done += self._costs.device_write_latency
        self._writing.extend((done, page.node) for page in pages)
        return done

    def _request(self, cpu: Cpu, transfer: Time) -> Time:
        self.requests += 1
        now = cpu.env._now
        self._free_at = max(now, self._free_at) + transfer
        cpu.charge(self._costs.io_submit, DEVICE)
        return self._free_at

    def being_written(self, node: NodeId, now: Time) -> int:
        """Pages of a node that the device has not got yet."""
        writing = self._writing
        while writing and writing[0][0] <= now:
            writing.popleft()
        return sum(done > now and where == node for done, where in writing)

    def next_written(self, now: Time) -> Time:
        """When the next page is written; `now` if none is on its way."""
        return next((done for done, _ in self._writing if done > now), now)
