"""Virtual processors that the host takes away: when each of them runs.

    runs | stolen | runs | stolen | ...     lengths exponential, drawn from the vCPU's own stream

Exponential lengths have no memory, so the time until a stolen vCPU runs again has the
same mean at whatever moment an interrupt comes: the machine's `resume`.  Only what
arrives from outside is delayed; the vCPU's own work is not stopped by it.

The schedule depends on the seed and the vCPU only.  It is drawn as far as somebody
asks, and the order of asking changes nothing.
"""

from array import array
from bisect import bisect_right
from decimal import Decimal
from random import Random

from coalsim.engine.laws import Law, Sampler
from coalsim.engine.streams import Streams
from coalsim.errors import ConfigError, Problem
from coalsim.units import CpuId, Time


class VcpuSchedule:
    """When the vCPUs of a guest run.

    Args:
        preempted_share: of the time for which a vCPU is stolen, from 0 to below 1.
        resume: mean time for which the host keeps it, in ps.
        streams: the run's random numbers.
    """

    def __init__(self, preempted_share: Decimal, resume: Time, streams: Streams) -> None:
        if not 0 <= preempted_share < 1 or (preempted_share and resume < 1):
            problem = Problem(
                key="preempted_share",
                value=str(preempted_share),
                message="a vCPU cannot be stolen for that share of the time",
                remedy="give a share from 0 to below 1, and a time until it runs again if it is above 0",
            )
            raise ConfigError([problem])
        self._share = preempted_share
        self._resume = resume
        self._streams = streams
        self._lives: dict[CpuId, _Life] = {}

    def runs_from(self, cpu: CpuId, at: Time) -> Time:
        """The first moment from `at` on at which the vCPU runs."""
        if not self._share:
            return at
        life = self._lives.get(cpu)
        if life is None:
            stream = self._streams.stream("vcpu", cpu)
            life = self._lives[cpu] = _Life(self._share, self._resume, stream)
        return life.runs_from(at)

    def runs(self, cpu: CpuId, at: Time) -> bool:
        """Whether the vCPU runs at that moment."""
        return self.runs_from(cpu, at) == at


class _Life:
    """One vCPU: the times at which it is taken away and given back, in turn."""

    __slots__ = ("_edges", "_run", "_stolen")

    def __init__(self, share: Decimal, resume: Time, stream: Random) -> None:
        self._stolen = Law(kind="exp", mean=resume).sampler(stream)
        self._run = Law(kind="exp", mean=round(resume * (1 - share) / share)).sampler(stream)
        starts_stolen = stream.random() < share
        taken = 0 if starts_stolen else _at_least_1(self._run)
        self._edges = array("q", (taken, taken + _at_least_1(self._stolen)))

    def runs_from(self, at: Time) -> Time:
        edges = self._edges
        while edges[-1] <= at:
            edges.append(edges[-1] + _at_least_1(self._run))
            edges.append(edges[-1] + _at_least_1(self._stolen))
        passed = bisect_right(edges, at)
        return edges[passed] if passed % 2 else at  # an odd number of edges: taken, not given back


def _at_least_1(draw: Sampler) -> Time:
    return max(1, draw())
