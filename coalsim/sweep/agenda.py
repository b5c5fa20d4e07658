"""Agenda: which runs of a study are still to do.

Without a stopping rule a point has a fixed number of replications.  With one, its first `least`
replications are run in any case; from then on each replication is asked for by what those before
it gave, in the order of their numbers.  So which runs a study has does not depend on which of
them ended first, and other points keep the workers busy meanwhile.

Invariant: a run is handed out at most once, and never if a settled row of it is there already.
A run that is not done ends its point's wish for more: a rule cannot judge what is not there.
"""

import json
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from coalsim.stats.stopping import StoppingRule
from coalsim.sweep.metrics import metric_value
from coalsim.sweep.points import Point, Stop
from coalsim.sweep.rows import DONE, SETTLED, Row, Task, run_key


@dataclass(frozen=True, kw_only=True)
class Demand:
    """How many replications every point has.

    Args:
        replications: of each point, where no rule says otherwise.
        seed: of replication 0; replication r has seed + r in every point.
        stop: the rule, if there is one.
    """

    replications: int
    seed: int
    stop: Stop | None = None

    def key(self, point: str, replication: int) -> str:
        """The key of a run."""
        return run_key(point, replication, self.seed + replication)


@dataclass
class PointRuns:
    """The runs of one point that have ended, and how many it needs as far as is known.

    `add` may be called in any order; `wanted` depends on what was added alone.
    """

    demand: Demand
    wanted: int = 0
    ended: dict[int, float | None] = field(default_factory=dict)  # replication: metric; None is no value

    def __post_init__(self) -> None:
        stop = self.demand.stop
        self.wanted = self.demand.replications if stop is None else stop.least

    def add(self, row: Row) -> None:
        """A run has ended."""
        stop = self.demand.stop
        if stop is None:
            self.ended[row.replication] = None
            return
        self.ended[row.replication] = _metric(row, stop.metric) if row.status == DONE else None
        self._judge(stop)

    def _judge(self, stop: Stop) -> None:
        rule = StoppingRule(
            relative=stop.relative, confidence=stop.confidence, least=stop.least, most=stop.most
        )
        while True:
            values = [self.ended.get(number) for number in range(self.wanted)]
            known = [value for value in values if value is not None]
            if len(known) < self.wanted or rule.verdict(known).is_over:
                return
            self.wanted += 1

    @property
    def is_complete(self) -> bool:
        """Nothing more is asked for."""
        return all(number in self.ended for number in range(self.wanted))


def _metric(row: Row, path: str) -> float | None:
    """The metric of a row; None also where somebody has damaged it, which whoever loads it will say."""
    try:
        document = json.loads(row.result)
    except (ValueError, RecursionError):
        return None
    return metric_value(document, path) if isinstance(document, dict) else None


class Agenda:
    """What is to do, handed out task by task.

    Args:
        points: of the study; those with one key are one here.
        demand: how many runs each has.
        rows: what was done before; rows of other studies are passed over.
        task: makes the task of a run: point, key, replication, seed.
    """

    def __init__(
        self,
        points: Iterable[Point],
        demand: Demand,
        rows: Iterable[Row],
        task: Callable[[Point, str, int, int], Task],
    ) -> None:
        self._demand = demand
        self._task = task
        self._points = {point.key: point for point in reversed([*points])}
        self._points = dict(reversed(self._points.items()))
        self._runs = {key: PointRuns(demand) for key in self._points}
        self._asked = dict.fromkeys(self._points, 0)  # replications that were queued or are there
        self._queue: deque[tuple[str, int]] = deque()
        self.failed = 0
        for row in rows:
            if row.status in SETTLED and self._is_ours(row):
                self.failed += row.status != DONE
                self._runs[row.point].add(row)
        for key in self._points:
            self._queue.extend(self._new(key))

    def _is_ours(self, row: Row) -> bool:
        return row.point in self._runs and row.key == self._demand.key(row.point, row.replication)

    def _new(self, point: str) -> list[tuple[str, int]]:
        """Replications of a point that nobody has asked for yet."""
        runs, asked = self._runs[point], self._asked[point]
        self._asked[point] = max(asked, runs.wanted)
        return [(point, number) for number in range(asked, runs.wanted) if number not in runs.ended]

    def next(self) -> Task | None:
        """The next run to do; None if there is none before some that are under way have ended."""
        if not self._queue:
            return None
        point, number = self._queue.popleft()
        return self._task(
            self._points[point], self._demand.key(point, number), number, self._demand.seed + number
        )

    def ended(self, row: Row) -> None:
        """A run has ended, well or not."""
        self.failed += row.status != DONE
        self._runs[row.point].add(row)
        self._queue.extendleft(reversed(self._new(row.point)))

    @property
    def total(self) -> int:
        """Runs that are known to be needed; a stopping rule may ask for more."""
        return sum(runs.wanted for runs in self._runs.values())

    @property
    def done(self) -> int:
        """Runs among them that have ended."""
        return sum(number in runs.ended for runs in self._runs.values() for number in range(runs.wanted))

    @property
    def points(self) -> int:
        """Points that differ."""
        return len(self._points)

    @property
    def points_done(self) -> int:
        """Points that need no more runs."""
        return sum(runs.is_complete for runs in self._runs.values())
