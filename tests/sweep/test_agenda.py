"""Which runs are done depends on the results, never on the order in which they came."""

import json
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from coalsim.sweep.agenda import Agenda, Demand, PointRuns
from coalsim.sweep.points import Point, Stop
from coalsim.sweep.rows import CRASHED, DONE, FAILED, TIMEOUT, Row, Task

RULE = Stop(metric="throughput.ops_per_s", relative=0.05, confidence=0.95, least=3, most=9)


def points(count: int) -> list[Point]:
    return [Point(number=number, key=f"p{number}", settings=()) for number in range(count)]


def task(point: Point, key: str, replication: int, seed: int) -> Task:
    return Task(
        key=key,
        point=point.key,
        replication=replication,
        seed=seed,
        config={},
        trust=False,
        max_input=None,
    )


def row(of: Task, value: float = 1.0, status: str = DONE) -> Row:
    result = json.dumps({"throughput": {"ops_per_s": value}}) if status == DONE else ""
    return Row(
        key=of.key,
        point=of.point,
        replication=of.replication,
        seed=of.seed,
        status=status,
        result=result,
        error="",
        host_s=0.1,
        attempts=1,
    )


def finish(agenda: Agenda, draw: random.Random, width: int, spread: float = 0.2) -> dict[str, Row]:
    """Do everything, several at once, ending in any order; a run's value depends on its seed and point."""
    under_way: list[Task] = []
    done: dict[str, Row] = {}
    while True:
        while len(under_way) < width and (found := agenda.next()) is not None:
            assert found.key not in done, "handed out twice"
            under_way.append(found)
        if not under_way:
            return done
        ended = under_way.pop(draw.randrange(len(under_way)))
        value = random.Random(f"{ended.point}/{ended.seed}").gauss(100, 100 * spread)
        status = FAILED if ended.point == "p1" and ended.replication == 2 else DONE
        done[ended.key] = row(ended, value, status)
        agenda.ended(done[ended.key])


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 7))
def test_the_rule_asks_for_the_same_runs_in_every_order(order: int, width: int) -> None:
    """With a stopping rule the set of rows is that of one worker, however many there are."""
    demand = Demand(replications=1, seed=7, stop=RULE)
    alone = finish(Agenda(points(4), demand, [], task), random.Random(0), width=1)
    mixed = finish(Agenda(points(4), demand, [], task), random.Random(order), width=width)

    assert mixed == alone


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(0, 20))
def test_going_on_from_any_moment_ends_in_the_same_rows(order: int, kept: int) -> None:
    """Some of the rows are there already; the others are done, and none twice."""
    demand = Demand(replications=1, seed=7, stop=RULE)
    whole = finish(Agenda(points(4), demand, [], task), random.Random(0), width=1)
    some = random.Random(order).sample([*whole.values()], min(kept, len(whole)))
    rest = finish(Agenda(points(4), demand, some, task), random.Random(order), width=2)

    held = {one.key for one in some}
    assert not held & rest.keys()
    assert {**{one.key: one for one in some}, **rest} == whole


def test_without_a_rule_each_point_has_its_replications() -> None:
    """Points with one key are one; seeds count up from the study's."""
    twice = [*points(2), Point(number=2, key="p0", settings=())]
    done = finish(Agenda(twice, Demand(replications=3, seed=5), [], task), random.Random(1), width=4)

    assert len(done) == 6
    assert sorted({one.seed for one in done.values()}) == [5, 6, 7]


def test_crashed_and_late_runs_are_tried_again_and_failed_ones_are_not() -> None:
    """The same command again: what the host did is worth another try, what the study does is not."""
    demand = Demand(replications=3, seed=1)
    agenda = Agenda(points(1), demand, [], task)
    tasks = [agenda.next() for _ in range(3)]
    statuses = (CRASHED, FAILED, TIMEOUT)
    rows = [row(one, status=status) for one, status in zip(tasks, statuses, strict=True) if one is not None]
    again = Agenda(points(1), demand, rows, task)

    assert [again.next(), again.next(), again.next()] == [tasks[0], tasks[2], None]
    assert (again.done, again.total, again.failed) == (1, 3, 1)


def test_rows_of_other_studies_are_passed_over() -> None:
    """A store may hold the runs of an older axis, or of another first seed."""
    old = Agenda(points(2), Demand(replications=1, seed=9), [], task)
    rows = [row(one) for one in (old.next(), old.next()) if one is not None]
    agenda = Agenda(points(1), Demand(replications=1, seed=1), rows, task)

    assert (agenda.done, agenda.total) == (0, 1)


def test_a_point_whose_run_failed_asks_for_no_more() -> None:
    """The rule cannot judge what is not there."""
    runs = PointRuns(Demand(replications=1, seed=1, stop=RULE))
    agenda = Agenda(points(1), Demand(replications=1, seed=1, stop=RULE), [], task)
    for status in (DONE, FAILED, DONE):
        found = agenda.next()
        assert found is not None
        runs.add(row(found, status=status))

    assert runs.is_complete
    assert runs.wanted == RULE.least
