"""The kit of placement policies.

    from coalsim.kits import check_placement
    check_placement(MyPlacement)

answers        nodes gives nodes of the machine, none of them twice, and the next turn
memory         it remembers nothing: the same node and turn get the same answer
reach          with all nodes allowed, every node is tried sooner or later, in some turn
running        a study runs with it, and the engine's modes agree
"""

from collections.abc import Sequence
from dataclasses import replace

from coalsim.kits.short_study import SMALL, outcome_of, same_in_all_modes
from coalsim.kits.verdicts import Broken, Report, Trials
from coalsim.mm.phys.placement import Order, Placement, placement
from coalsim.units import NodeId

NODES = (1, 2, 4, 8)
"""Sizes of the machines."""
TURNS = 40


def placement_report(policy: type[Placement], *, nodes: Sequence[int] = NODES) -> Report:
    """Try every promise of a placement policy."""
    return _trials(policy, nodes).report()


def check_placement(policy: type[Placement], *, nodes: Sequence[int] = NODES) -> Report:
    """Try every promise of a placement policy.

    Args:
        policy: the class.
        nodes: a machine of so many nodes for each.

    Raises:
        PromiseBroken: some do not hold.
    """
    return _trials(policy, nodes).demand()


def _trials(policy: type[Placement], nodes: Sequence[int]) -> Trials:
    kit = _PlacementKit(policy, nodes)
    trials = Trials("placement", policy, "check_placement")
    if not trials.promise("answers", "it names nodes of the machine, none twice, and a turn", kit.answers):
        return trials
    trials.promise("memory", "the same node and turn get the same answer", kit.memory)
    trials.promise("reach", "every node is tried sooner or later", kit.reach)
    if trials.report().passed:
        trials.promise("running", "a study runs with it, and the engine's modes agree", kit.running)
    return trials


class _PlacementKit:
    """The trials of one class."""

    def __init__(self, policy: type[Placement], nodes: Sequence[int]) -> None:
        self._policy = policy
        self._nodes = nodes

    def _made(self, nodes: int) -> Placement:
        """One for a ring of nodes, checked at every answer as in a run."""
        return placement("", _ring(nodes), (), self._policy)

    def _orders(self, nodes: int) -> list[Order]:
        """What every node is told, over some turns of a thread."""
        made, orders = self._made(nodes), list[Order]()
        for local in range(nodes):
            turn = 0
            for _ in range(TURNS):
                order, turn = made.nodes(NodeId(local), turn)
                orders.append(order)
        return orders

    def answers(self) -> None:
        """Whatever the machine and the turn."""
        for nodes in self._nodes:
            for order in self._orders(nodes):
                if len(dict.fromkeys(order)) != len(order):
                    raise Broken(f"it names a node twice: {order}", f"nodes=({nodes},)")

    def memory(self) -> None:
        """Asked once more, and another one asked."""
        for nodes in self._nodes:
            made, other = self._made(nodes), self._made(nodes)
            for turn in range(TURNS):
                for local in map(NodeId, range(nodes)):
                    first = made.nodes(local, turn)
                    if not first == made.nodes(local, turn) == other.nodes(local, turn):
                        said = (
                            f"nodes({local}, {turn}) has two answers: use the turn, not a counter of your own"
                        )
                        raise Broken(said, f"nodes=({nodes},)")

    def reach(self) -> None:
        """Memory that is never tried is memory lost."""
        for nodes in self._nodes:
            reached = {node for order in self._orders(nodes) for node in order}
            if missing := [node for node in range(nodes) if node not in reached]:
                said = f"in {TURNS} turns of {nodes} nodes nobody was told to try {missing}"
                raise Broken(said, f"nodes=({nodes},)")

    def running(self) -> None:
        """A short run of a real load in all modes."""
        settings = {
            "machine": SMALL,
            "workload.cpus": "4",
            "workload.frames_per_cpu": "100",
            "workload.spread": "scatter",
        }
        same_in_all_modes(
            lambda mode: outcome_of(
                "page_bulk", settings, mode, lambda config: replace(config, placement=self._policy)
            )
        )


def _ring(nodes: int) -> list[Order]:
    """Nodes on a ring, by distance from each."""
    return [
        tuple(
            map(NodeId, sorted(range(nodes), key=lambda to: (min((to - me) % nodes, (me - to) % nodes), to)))
        )
        for me in range(nodes)
    ]
