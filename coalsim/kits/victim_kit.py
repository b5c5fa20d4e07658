"""The kit of victim rules.

    from coalsim.kits import check_victim
    check_victim(MyRule)

answers        it chooses a process that there is, that may be killed and whose memory helps
somebody       it chooses somebody whenever somebody may be killed
repetition     the same processes get the same answer, and are left as they are
running        a machine that runs out of memory runs on with it, and the engine's modes agree
"""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from coalsim.errors import ConfigError
from coalsim.kits.short_study import outcome_of, same_in_all_modes
from coalsim.kits.verdicts import Broken, Report, Trials
from coalsim.mm.reclaim.victim_rules import CheckedRule, VictimRule
from coalsim.mm.reclaim.victims import UNKILLABLE, Candidate, Footprint
from coalsim.units import NodeId

SEEDS = tuple(range(1, 41))
QUICK_SEEDS = tuple(range(1, 11))
CASES = 25
"""Crowds of processes for each seed."""
STORM = {
    "workload.processes": "5",
    "workload.cpus": "4",
    "workload.mib": "4",
    "workload.unkillable": "1",
    "machine.name": "pack:1 numa:1 core:4 pu:1",
    "machine.memory": "4MiB",
}
"""What makes the study `oom_storm` small."""


def victim_report(policy: type[VictimRule], *, seeds: Sequence[int] = SEEDS) -> Report:
    """Try every promise of a victim rule."""
    return _trials(policy, seeds).report()


def check_victim(policy: type[VictimRule], *, seeds: Sequence[int] = SEEDS) -> Report:
    """Try every promise of a victim rule.

    Args:
        policy: the class.
        seeds: random crowds of processes for each.

    Raises:
        PromiseBroken: some do not hold.
    """
    return _trials(policy, seeds).demand()


def _trials(policy: type[VictimRule], seeds: Sequence[int]) -> Trials:
    kit = _VictimKit(policy, seeds)
    trials = Trials("victim", policy, "check_victim")
    if not trials.promise("interface", "it can be made without arguments, and can choose", kit.works):
        return trials
    trials.promise("answers", "it chooses a process that may be killed, if there is one", kit.answers)
    trials.promise("repetition", "the same processes get the same answer", kit.repetition)
    if trials.report().passed:
        trials.promise("running", "a machine without memory runs on with it, in all modes alike", kit.running)
    return trials


class _VictimKit:
    """The trials of one class."""

    def __init__(self, policy: type[VictimRule], seeds: Sequence[int]) -> None:
        self._policy = policy
        self._seeds = seeds

    def works(self) -> None:
        """The least that it must do."""
        only = Candidate(footprint=Footprint(rss=10), pid=1, name="only")
        if CheckedRule(self._policy).choose([only], 1000, ()) != 0:
            raise Broken("there is one process, and it does not choose it")

    def answers(self) -> None:
        """Whatever the crowd; `CheckedRule` looks at the answer as in a run."""
        for seed in self._seeds:
            rule, draw = CheckedRule(self._policy), Random(seed)
            for case in range(CASES):
                crowd, nodes = _crowd(draw)
                try:
                    rule.choose(crowd, 100_000, nodes)
                except ConfigError as error:
                    raise Broken(f"in crowd {case} of seed {seed}: {error}", f"seeds=({seed},)") from None

    def repetition(self) -> None:
        """Asked twice, and another one asked."""
        for seed in self._seeds:
            rule, other, draw = CheckedRule(self._policy), CheckedRule(self._policy), Random(seed)
            for case in range(CASES):
                crowd, nodes = _crowd(draw)
                first = rule.choose(crowd, 100_000, nodes)
                if not first == rule.choose(crowd, 100_000, nodes) == other.choose(crowd, 100_000, nodes):
                    raise Broken(f"crowd {case} of seed {seed} gets different answers", f"seeds=({seed},)")

    def running(self) -> None:
        """A small storm in all modes."""
        same_in_all_modes(
            lambda mode: outcome_of(
                "oom_storm", STORM, mode, lambda config: replace(config, victim=self._policy)
            )
        )


def _crowd(draw: Random) -> tuple[list[Candidate], tuple[NodeId, ...]]:
    """Some processes, of which a few cannot be killed, and the nodes that a request may use."""
    crowd = [
        Candidate(
            footprint=Footprint(rss=draw.randrange(5000), swap=draw.randrange(50), tables=draw.randrange(20)),
            oom_score_adj=draw.choice((0, 0, 0, 500, 1000, -500, UNKILLABLE)),
            is_over=draw.random() < 0.15,
            allowed_nodes=draw.choice(((), (), (NodeId(0),), (NodeId(1),))),
            pid=100 + number,
            name=f"task{number}",
        )
        for number in range(draw.randrange(1, 9))
    ]
    return crowd, draw.choice(((), (), (NodeId(0),)))
