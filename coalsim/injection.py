"""Injection: everything that is to go wrong in a run, as its system takes it.

    fail    allocations that get nothing            mm/debug/failing.py
    delay   locks held for longer, late interrupts  locks/delayed.py, cpus/delayed_delivery.py
    away    a CPU that does not run for a while, a node that gives no more pages

One object is for one run: rules count what they have done.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from coalsim.cpus.absence import Absences
from coalsim.cpus.delayed_delivery import IpiDelay
from coalsim.locks.delayed import LockDelay
from coalsim.mm.debug.failing import FailRule
from coalsim.units import CpuId, NodeId, Time


@dataclass(frozen=True, kw_only=True)
class NodeAway:
    """A node's zones give nothing from `begin` to `end`; what is freed there stays there."""

    node: NodeId
    begin: Time
    end: Time


@dataclass(frozen=True, kw_only=True)
class CpuAway:
    """A CPU does not run from `begin` to `end`, whatever it is doing."""

    cpu: CpuId
    begin: Time
    end: Time


@dataclass(frozen=True, kw_only=True)
class Injection:
    """All rules of a run; empty: nothing goes wrong."""

    fail: Sequence[FailRule] = field(default=())
    lock_delays: Sequence[LockDelay] = field(default=())
    ipi_delays: Sequence[IpiDelay] = field(default=())
    cpus_away: Sequence[CpuAway] = field(default=())
    nodes_away: Sequence[NodeAway] = field(default=())

    @property
    def is_empty(self) -> bool:
        """Nothing goes wrong."""
        return not (self.fail or self.lock_delays or self.ipi_delays or self.cpus_away or self.nodes_away)

    @property
    def fails_pages(self) -> bool:
        """Some rule refuses requests for pages."""
        return any(rule.what == "pages" for rule in self.fail)

    @property
    def fails_objects(self) -> bool:
        """Some rule refuses requests for objects."""
        return any(rule.what == "objects" for rule in self.fail)

    def absences(self) -> Absences | None:
        """The CPUs' times away; None: there are none."""
        windows: dict[CpuId, list[tuple[Time, Time]]] = {}
        for away in self.cpus_away:
            windows.setdefault(away.cpu, []).append((away.begin, away.end))
        return Absences(windows) if windows else None

    def unmatched(self) -> Sequence[tuple[str, int, str]]:
        """Rules that nothing in the run fitted: their key and number, and the lock that one names."""
        return [
            *(("fail", rule.number, "") for rule in self.fail if not rule.chances),
            *(("delay", rule.number, rule.lock) for rule in self.lock_delays if not rule.chances),
            *(("delay", rule.number, "") for rule in self.ipi_delays if not rule.chances),
        ]

    def report(self) -> Mapping[str, object]:
        """What the rules have done, for the result."""
        return {
            "refused": {
                f"{rule.number}": dict(sorted(rule.refused.items())) for rule in self.fail if rule.refused
            },
            "lock_delays": sum(rule.taken for rule in self.lock_delays),
            "ipi_delays": sum(rule.taken for rule in self.ipi_delays),
        }
