"""When the host runs each virtual processor of a guest.

    runs | stolen | runs | stolen | ...     lengths exponential, drawn from the vCPU's own stream

Exponential lengths have no memory, so the time until a stolen vCPU runs again has the
same mean at whatever moment an interrupt comes: the machine's `resume`.  What being stolen
does to a processor is in `cpus/virtual.py`.

The schedule depends on the seed and the vCPU only: not on what the guest does, and so
not on whether a vCPU idles either.  It is drawn as far as somebody asks, and the order of
asking changes nothing.
"""

from array import array
from bisect import bisect_right
from decimal import Decimal
from random import Random
from typing import NamedTuple

from coalsim.engine.laws import Law, Sampler
from coalsim.engine.streams import Streams
from coalsim.errors import ConfigError, Problem
from coalsim.units import FOREVER, CpuId, Time


class Stolen(NamedTuple):
    """A vCPU does not run from `taken` on, and runs again at `given_back`."""

    taken: Time
    given_back: Time


NEVER = Stolen(FOREVER, FOREVER)


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
                key="machine.guest.preempted_share",
                value=str(preempted_share),
                message="a vCPU cannot be stolen for that share of the time",
                remedy="give a share from 0 to below 1, and guest.resume of at least 1 ps if it is above 0",
            )
            raise ConfigError([problem])
        self._share = preempted_share
        self._resume = resume
        self._streams = streams
        self._lives: dict[CpuId, _Life] = {}

    @property
    def steals(self) -> bool:
        """Whether any vCPU is ever taken away."""
        return self._share > 0

    def stolen_after(self, cpu: CpuId, at: Time) -> Stolen:
        """The first time away that ends after `at`."""
        return self._life(cpu).stolen_after(at) if self._share else NEVER

    def runs_from(self, cpu: CpuId, at: Time) -> Time:
        """The first moment from `at` on at which the vCPU runs."""
        taken, given_back = self.stolen_after(cpu, at)
        return given_back if taken <= at else at

    def runs(self, cpu: CpuId, at: Time) -> bool:
        """Whether the vCPU runs at that moment."""
        return self.runs_from(cpu, at) == at

    def time_away(self, cpu: CpuId, begin: Time, end: Time) -> Time:
        """For how much of [begin, end) the host has the vCPU."""
        away = 0
        while begin < end:
            taken, given_back = self.stolen_after(cpu, begin)
            away += max(0, min(end, given_back) - max(begin, taken))
            begin = given_back
        return away

    def _life(self, cpu: CpuId) -> "_Life":
        life = self._lives.get(cpu)
        if life is None:
            stream = self._streams.stream("vcpu", cpu)
            life = self._lives[cpu] = _Life(self._share, self._resume, stream)
        return life


class _Life:
    """One vCPU: the times at which it is taken away and given back, in turn."""

    __slots__ = ("_edges", "_run", "_stolen")

    def __init__(self, share: Decimal, resume: Time, stream: Random) -> None:
        self._stolen = Law(kind="exp", mean=resume).sampler(stream)
        self._run = Law(kind="exp", mean=round(resume * (1 - share) / share)).sampler(stream)
        starts_stolen = stream.random() < share
        taken = 0 if starts_stolen else _at_least_1(self._run)
        self._edges = array("q", (taken, taken + _at_least_1(self._stolen)))

    def stolen_after(self, at: Time) -> Stolen:
        edges = self._edges
        while edges[-1] <= at:
            edges.append(edges[-1] + _at_least_1(self._run))
            edges.append(edges[-1] + _at_least_1(self._stolen))
        taken = bisect_right(edges, at) & ~1  # an even number of edges have passed when it is taken
        return Stolen(edges[taken], edges[taken + 1])


def _at_least_1(draw: Sampler) -> Time:
    return max(1, draw())
