"""The OOM killer's arithmetic, to the digit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coalsim.mm.reclaim.victims import Candidate, Footprint, badness, choose, eligible, oom_score
from coalsim.units import NodeId

TOTAL = 1_048_576


@pytest.mark.parametrize(
    ("memory", "adjustment", "points", "score"),
    [
        (Footprint(rss=100_000, tables=400), 0, 100_400, 730),
        (Footprint(rss=50_000, swap=20_000, tables=100), 300, 384_500, 910),
        (Footprint(rss=200_000), -500, -324_000, 461),
        (Footprint(rss=1000), 1000, 1_049_000, 1333),
        (Footprint(rss=300_000), -999, -746_952, 192),
    ],
)
def test_points_and_scores(memory: Footprint, adjustment: int, points: int, score: int) -> None:
    """rss + swap + tables + adjustment x (total / 1000); divisions truncate towards zero."""
    assert badness(memory, adjustment, TOTAL) == points
    assert oom_score(points, TOTAL) == score


def candidate(rss: int, adjustment: int = 0, over: bool = False, nodes: tuple[int, ...] = ()) -> Candidate:
    """A process."""
    return Candidate(
        footprint=Footprint(rss=rss),
        oom_score_adj=adjustment,
        is_over=over,
        allowed_nodes=tuple(NodeId(number) for number in nodes),
    )


def test_the_unkillable_and_the_dead_are_never_chosen() -> None:
    """However much they have; and if there is nobody else, nobody is."""
    assert choose([candidate(1000, -1000), candidate(1), candidate(500, over=True)], TOTAL, ()) == 1
    assert choose([candidate(1000, -1000), candidate(500, over=True)], TOTAL, ()) == -1
    assert choose([], TOTAL, ()) == -1


def test_negative_points_can_be_the_most() -> None:
    """An adjustment of -999 protects only as long as there is somebody else."""
    assert choose([candidate(10, -999), candidate(20, -999)], TOTAL, ()) == 1


def test_of_equals_the_youngest_goes() -> None:
    """As in `oom_evaluate_task`, which passes over those with fewer points than the best so far."""
    assert choose([candidate(5), candidate(7), candidate(7), candidate(6)], TOTAL, ()) == 2


def test_a_request_for_some_nodes_kills_who_may_use_them() -> None:
    """Who is bound elsewhere cannot help; who is bound to none may use all."""
    wanted = (NodeId(1),)
    bound = [candidate(900, nodes=(0,)), candidate(100, nodes=(0, 1)), candidate(50)]
    assert [eligible(one, wanted) for one in bound] == [False, True, True]
    assert choose(bound, TOTAL, wanted) == 1
    assert choose(bound, TOTAL, ()) == 0


@given(
    processes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(-1000, 1000)), max_size=30),
    total=st.integers(1000, 1 << 30),
)
def test_the_choice_is_the_maximum(processes: list[tuple[int, int]], total: int) -> None:
    """Against a maximum taken over a list."""
    chosen = choose([candidate(rss, adjustment) for rss, adjustment in processes], total, ())
    points = {
        index: rss + adjustment * (total // 1000)
        for index, (rss, adjustment) in enumerate(processes)
        if adjustment != -1000
    }
    expected = max(points, key=lambda index: (points[index], index)) if points else -1
    assert chosen == expected
