"""Placement policies: which nodes, in which order."""

import pytest

from coalsim.errors import ConfigError
from coalsim.mm.phys.placement import placement
from coalsim.units import NodeId

N = [NodeId(node) for node in range(4)]
BY_DISTANCE = [
    (N[0], N[1], N[2], N[3]),
    (N[1], N[0], N[3], N[2]),
    (N[2], N[3], N[0], N[1]),
    (N[3], N[2], N[1], N[0]),
]


@pytest.mark.parametrize(
    ("name", "allowed", "local", "nodes"),
    [
        ("local", [], 2, (2, 3, 0, 1)),
        ("bind", [N[1], N[3]], 2, (3, 1)),
        ("bind", [], 1, (1, 0, 3, 2)),
        ("preferred", [N[3]], 0, (3, 2, 1, 0)),
    ],
)
def test_each_policy_tries_its_nodes_in_its_order(
    name: str, allowed: list[NodeId], local: int, nodes: tuple[int, ...]
) -> None:
    """Local by distance, bind within its nodes, preferred from its node; no turn is used up."""
    assert placement(name, BY_DISTANCE, allowed).nodes(NodeId(local), 5) == (nodes, 5)


def test_interleave_takes_its_nodes_in_turn() -> None:
    """The turn is the caller's: it goes in, and the next one comes out."""
    policy, turn, first = placement("interleave", BY_DISTANCE, [N[2], N[0], N[3]]), 0, []
    for _ in range(5):
        nodes, turn = policy.nodes(N[1], turn)
        first.append(nodes[0])
    assert (first, turn) == ([2, 0, 3, 2, 0], 5)
    assert policy.nodes(N[1], 0)[0] == (2, 3, 0, 1)  # without memory there: by distance from it


def test_unknown_policies_and_nodes_are_refused_together() -> None:
    """A misspelt name and two nodes that do not exist: three mistakes."""
    with pytest.raises(ConfigError) as caught:
        placement("nearest", BY_DISTANCE, [NodeId(4), NodeId(-1)])
    assert len(caught.value.problems) == 3
