"""Interrupts that arrive late at chosen places: what a fault injection asks for.

A delivery made here is as the machine's, but some of a sender's sendings take longer on their way.
The least time to a target stays what it was, so processors may run ahead as before.
Chances are counted for each sender by itself; it sends synchronised.
"""

from collections.abc import Sequence

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.delivery import Delivery, Sends
from coalsim.engine.occasions import Occasions, When
from coalsim.engine.streams import Streams
from coalsim.topology.distance import Distance
from coalsim.units import CpuId, Time


class IpiDelay:
    """A rule: which sendings are late, and by how much.

    Args:
        by: for so long, in ps.
        cpu: the sender; -1: any.
        when: which of its sendings.
        number: of the rule, which names its random numbers.
    """

    def __init__(self, by: Time, cpu: int, when: When, number: int) -> None:
        self.by = by
        self.cpu = cpu
        self.when = when
        self.number = number
        self.taken = 0
        self.chances = 0  # sendings that fitted


class DelayedDelivery(Delivery):
    """A delivery with delays.

    Args:
        inner: as it is without.
        rules: the delays.
        streams: the run's random numbers.
    """

    is_steady = False

    def __init__(self, inner: Delivery, rules: Sequence[IpiDelay], streams: Streams) -> None:
        super().__init__(inner.costs)
        self.name = inner.name
        self._inner = inner
        self._rules = rules
        self._streams = streams
        self._occasions: dict[tuple[int, CpuId], Occasions] = {}

    def send_times(self, sender: Cpu, targets: Sequence[Cpu]) -> Sends:
        """As without, and then late."""
        sends = self._inner.send_times(sender, targets)
        late = sum(self._late(rule, sender.id) for rule in self._rules if rule.cpu in (-1, sender.id))
        return sends._replace(arrivals=[(at + late, cpu) for at, cpu in sends.arrivals]) if late else sends

    def _late(self, rule: IpiDelay, sender: CpuId) -> Time:
        occasions = self._occasions.get((rule.number, sender))
        if occasions is None:
            stream = self._streams.stream(f"inject ipi {rule.number}", sender)
            occasions = self._occasions[rule.number, sender] = Occasions(rule.when, stream)
        rule.chances += 1
        if not occasions.is_now():
            return 0
        rule.taken += 1
        return rule.by

    def soonest(self, distance: Distance) -> Time:
        """As without."""
        return self._inner.soonest(distance)
