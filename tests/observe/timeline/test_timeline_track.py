"""A track lays a CPU's time out where it was spent."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from coalsim.observe.timeline.facts import OPERATION, Frame, edges
from coalsim.observe.timeline.track import KEPT, Track

PIECES = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 9), st.booleans()), max_size=60)


def told(track: Track, begin: int, end: int) -> list[tuple[int, int, str]]:
    return [(leaf.begin, leaf.end, leaf.path[-1].name) for leaf in track.leaves(begin, end)]


def test_own_time_goes_around_handlers() -> None:
    """An interrupted charge ends later; a handler at the end of one lies behind it."""
    track = Track(0)
    track.add("user", 30, 0)
    track.add_handler("irq", 10, 15, keep=True)
    track.add_handler("irq", 35, 40, keep=True)
    track.add("lock:zone:wait", 10, 0)

    assert told(track, 0, 99) == [
        (0, 10, "user"),
        (10, 15, "irq"),
        (15, 35, "user"),
        (35, 40, "irq"),
        (40, 50, "lock:zone:wait"),
    ]
    assert [edge.frame.name for edge in edges(track.leaves(0, 99)) if edge.opens] == [
        "user",
        "irq",
        "irq",
        "lock:zone",
        "lock:zone:wait",
    ]


def test_a_wait_is_divided_from_its_end() -> None:
    """The last part comes first, as the engine names them."""
    track = Track(0)
    track.add("wait", 5, 0)
    track.add("user", 5, 0)
    track.add("wait", 100, 0)
    track.rename("wait", "back", 10)
    track.rename("wait", "remote", 30)

    assert told(track, 0, 999)[2:] == [(10, 70, "wait"), (70, 100, "remote"), (100, 110, "back")]


def test_what_lies_behind_the_window_is_renamed_there() -> None:
    """A wait that was not kept does not lend its name to one that was."""
    track = Track(0)
    track.add("wait", 100, 0)
    track.pass_over("wait", 50)
    track.rename("wait", "back", 20)

    assert told(track, 0, 100) == [(0, 100, "wait")]


def test_operations_stay_open_across_their_causes() -> None:
    """One begin and one end, however much happens inside."""
    track = Track(0)
    number = track.operation((Frame("munmap", OPERATION, (1, 0)),))
    track.add("a", 5, number)
    track.add_handler("irq", 5, 7, keep=True)
    track.add("b", 5, number)
    track.add("a", 5, 0)
    opened = [(edge.at, edge.opens) for edge in edges(track.leaves(0, 99)) if edge.frame.name == "munmap"]

    assert opened == [(0, True), (12, False)]


@given(PIECES, st.integers(0, 200))
def test_any_window_is_filled_exactly(pieces: list[tuple[str, int, bool]], begin: int) -> None:
    """Whatever is added, leaves follow each other up to the position, and windows cut them."""
    track = Track(0)
    for cause, amount, handled in pieces:
        if handled:
            track.add_handler(cause.upper(), track.position, track.position + amount, keep=True)
        else:
            track.add(cause, amount, 0)
    whole, part = told(track, 0, track.position), told(track, begin, track.position)

    assert sum(end - first for first, end, _ in whole) == track.position
    assert all(one[1] == other[0] for one, other in pairwise(whole))
    assert sum(end - first for first, end, _ in part) == max(0, track.position - begin)


def test_a_late_window_keeps_little() -> None:
    """Pieces far before it are forgotten, and those in it lie where they would without that."""
    early, late = Track(0), Track(10_000)
    for track in (early, late):
        for turn in range(5_000):
            track.add("ab"[turn % 2], 2 + turn % 3, 0)
            if turn % 7 == 0:
                track.add_handler("irq", track.position, track.position + 1, keep=True)

    assert told(late, 10_000, 12_000) == told(early, 10_000, 12_000)
    assert len(list(late.leaves(0, 10_000))) <= 4 * KEPT
