"""Placement: on which nodes a page is looked for, and in which order.

    local        the CPU's own node, then the others by distance
    bind         only the allowed nodes, by distance from the CPU's own
    interleave   the allowed nodes in turn; when the node in turn has no memory, by
                 distance from it
    preferred    one chosen node, then the others by distance from it

A user's own class can stand for these; what it answers is checked each time.

A placement is asked with the node of the asking CPU and a turn, which is the asking
thread's own counter: it goes in and comes out, the placement remembers nothing.

Nothing here waits or costs time; the zone lists are read-mostly.
Source: Linux mm/mempolicy.c (MPOL_LOCAL, MPOL_BIND, MPOL_INTERLEAVE, MPOL_PREFERRED).
"""

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from coalsim.errors import CoalsimError, ConfigError, Problem
from coalsim.plugins import Asked, Registry, error_line, failure_in, find_class, nonsense, shown
from coalsim.units import NodeId

Order = tuple[NodeId, ...]
"""Nodes in the order in which they are tried."""


class Placement(Protocol):
    """What a placement policy is.

    Args of its constructor:
        by_distance: for each node all nodes, itself first, the near before the far.
        allowed: the nodes that the policy is given, in its own order.
    """

    def __init__(self, by_distance: Sequence[Order], allowed: Sequence[NodeId]) -> None: ...

    def nodes(self, local: NodeId, turn: int) -> tuple[Order, int]:
        """The nodes to try for a CPU of node `local`, and the thread's next turn."""
        ...


class Local:
    """Own node first."""

    def __init__(self, by_distance: Sequence[Order], allowed: Sequence[NodeId]) -> None:
        self._by_distance = by_distance

    def nodes(self, local: NodeId, turn: int) -> tuple[Order, int]:
        """All nodes by distance from the CPU's own."""
        return self._by_distance[local], turn


class Bind:
    """The allowed nodes and no others."""

    def __init__(self, by_distance: Sequence[Order], allowed: Sequence[NodeId]) -> None:
        self._orders = [tuple(node for node in order if node in allowed) for order in by_distance]

    def nodes(self, local: NodeId, turn: int) -> tuple[Order, int]:
        """The allowed nodes by distance from the CPU's own."""
        return self._orders[local], turn


class Interleave:
    """The allowed nodes in turn."""

    def __init__(self, by_distance: Sequence[Order], allowed: Sequence[NodeId]) -> None:
        self._orders = [by_distance[node] for node in allowed]

    def nodes(self, local: NodeId, turn: int) -> tuple[Order, int]:
        """All nodes by distance from the one whose turn it is."""
        return self._orders[turn % len(self._orders)], turn + 1


class Preferred:
    """One node before all others."""

    def __init__(self, by_distance: Sequence[Order], allowed: Sequence[NodeId]) -> None:
        self._order = by_distance[allowed[0]]

    def nodes(self, local: NodeId, turn: int) -> tuple[Order, int]:
        """All nodes by distance from the preferred one."""
        return self._order, turn


PLACEMENTS: dict[str, type[Placement]] = {
    "local": Local,
    "bind": Bind,
    "interleave": Interleave,
    "preferred": Preferred,
}

REGISTRY: Registry[Placement] = Registry(
    kind="placement policy", group="coalsim.placements", classes=PLACEMENTS, methods=("nodes",)
)


class _Checked:
    """A user's placement; an answer that is none is told as a mistake of the class."""

    def __init__(
        self, policy: type[Placement], by_distance: Sequence[Order], allowed: Sequence[NodeId]
    ) -> None:
        self._policy = policy
        self._known = by_distance[0]
        try:
            self._theirs = policy(by_distance, allowed)
        except Exception as error:
            if isinstance(error, CoalsimError):
                raise
            theirs = failure_in(policy.__module__, error, "kernel.placement")
            what = f"cannot be made: {error_line(error)}"
            raise theirs or self._refusal(what, "__init__") from error

    def nodes(self, local: NodeId, turn: int) -> tuple[Order, int]:
        """As the class says."""
        match self._theirs.nodes(local, turn):
            case (tuple() as order, int() as then) if order and all(node in self._known for node in order):
                return order, then
            case answer:
                raise self._refusal(f"answers {shown(answer)} to nodes({local}, {turn})", "nodes")

    def _refusal(self, what: str, method: str) -> ConfigError:
        known = ", ".join(map(str, self._known))
        remedy = f"its constructor takes (by_distance, allowed), nodes gives (nodes of {known}), next turn"
        return nonsense(self._policy, method, "kernel.placement", what, remedy)


def find_placement(name: str, asked: Asked) -> type[Placement]:
    """The policy of that name.

    Raises:
        ConfigError: there is none, or a user's class is no placement.
    """
    return find_class(name, REGISTRY, asked)


def placement(
    name: str,
    by_distance: Sequence[Order],
    allowed: Sequence[NodeId] = (),
    policy: type[Placement] | None = None,
) -> Placement:
    """The placement of that name.

    Args:
        name: a key of PLACEMENTS, unless the policy is given.
        by_distance: for each node all nodes, itself first, the near before the far.
        allowed: nodes that the policy is given; none means all of them.
        policy: as `find_placement` found it.

    Raises:
        ConfigError: no such policy, or a node that the machine has not.
    """
    problems = []
    policy = policy or PLACEMENTS.get(name)
    if policy is None:
        problems.append(
            Problem(
                key="kernel.placement",
                value=name,
                message="is not known",
                remedy=f"use one of {', '.join(PLACEMENTS)}",
            )
        )
    problems += [
        Problem(
            key="kernel.placement_nodes",
            value=str(node),
            message="the machine has no such node",
            remedy=f"use 0 to {len(by_distance) - 1}",
        )
        for node in allowed
        if not 0 <= node < len(by_distance)
    ]
    if problems or policy is None:
        raise ConfigError(problems)
    make = policy if policy in PLACEMENTS.values() else partial(_Checked, policy)
    return make(by_distance, allowed or [NodeId(node) for node in range(len(by_distance))])
