"""Cases: one configuration and changed copies of it, run with the same random numbers.

Replication r of every case has the same seed, so what differs between two cases is the change
alone, and their differences are taken pair by pair.  A case is a study with a table [what_if] laid
over it, so it can be run by any pool, and its document says what was changed.

Invariant: no run is done twice; which process did it changes nothing.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import cast

from coalsim.errors import ConfigError, Problem
from coalsim.observe.document import ResultDocument
from coalsim.study.document import Document
from coalsim.study.loads import WORKLOADS
from coalsim.study.planning import Plan, plan
from coalsim.study.spec import parse_spec
from coalsim.study.what_if import SECTION, WhatIf
from coalsim.sweep.manifest import plain
from coalsim.sweep.points import Point
from coalsim.sweep.pools import Pool
from coalsim.sweep.rows import DONE, Row, Task
from coalsim.sweep.sweep_spec import SweepSpec

PATIENCE_S = 0.5
Told = Callable[[int, int], None]
"""Told how many of how many runs are done."""
Wanted = tuple[WhatIf, int]
"""A case and a replication of it, from 0."""


class Cases:
    """The runs of one point of a study and of its changed copies.

    Args:
        spec: the study; point: which of its points.
        pool: who does the runs; the caller opens and closes it.
        told: told of the progress.
    """

    def __init__(self, spec: SweepSpec, point: Point, pool: Pool, told: Told | None = None) -> None:
        self._spec = spec
        self._pool = pool
        self._told = told
        self._config = plain(spec.task_config(point))
        self._rows: dict[tuple[str, int], Row] = {}
        self.original = spec.plan(point)  # its numbers still have their sources
        self.plan = self._planned(WhatIf())

    @property
    def base(self) -> WhatIf:
        """What the study itself changes."""
        return self.plan.spec.what_if

    def with_changes(self, what_if: WhatIf) -> WhatIf:
        """What the study itself changes, and then this."""
        return self.base.then(what_if)

    def check(self, what_if: WhatIf) -> None:
        """Refuse changes that cannot be made.

        Raises:
            ConfigError: all mistakes, told of `--what-if`.
        """
        try:
            self._planned(what_if)
        except ConfigError as error:
            told = " ".join(f"--what-if {change}" for change in what_if.changes)
            raise ConfigError(
                [replace(problem, where=problem.where or told) for problem in error.problems]
            ) from None

    def run(self, wanted: Iterable[Wanted]) -> None:
        """Do all runs that have not been done."""
        queue = [
            (what_if, number)
            for what_if, number in dict.fromkeys(wanted)
            if (self._key(what_if), number) not in self._rows
        ]
        total, under_way, done, at = len(queue), 0, 0, 0
        names = {}
        while at < total or under_way:
            while at < total and self._pool.room() > 0:
                task = self._task(*queue[at])
                names[task.key] = (task.point, task.replication)
                self._pool.submit(task)
                at, under_way = at + 1, under_way + 1
            for row in self._pool.wait(PATIENCE_S):
                self._rows[names[row.key]] = row
                under_way, done = under_way - 1, done + 1
                if self._told is not None:
                    self._told(done, total)

    def document(self, what_if: WhatIf, number: int) -> ResultDocument:
        """The result of a run that has been done.

        Raises:
            ConfigError: it failed; says why.
        """
        row = self._rows[self._key(what_if), number]
        if row.status != DONE:
            told = " ".join(f"--what-if {change}" for change in what_if.changes)
            message = f"its run with seed {row.seed} {row.status}: {row.error}"
            remedy = "leave this change out, or make it smaller"
            raise ConfigError([Problem(where=told, message=message, remedy=remedy)])
        return cast(ResultDocument, json.loads(row.result))

    def is_done(self, what_if: WhatIf, number: int) -> bool:
        """Whether a run has been done well."""
        row = self._rows.get((self._key(what_if), number))
        return row is not None and row.status == DONE

    def text(self, what_if: WhatIf, number: int) -> str:
        """The result of a run as its canonical text; empty if it failed."""
        return self._rows[self._key(what_if), number].result

    def documents(self, what_if: WhatIf, count: int) -> list[ResultDocument]:
        """The first replications of a case, run now where that has not been done.

        Raises:
            ConfigError: one failed.
        """
        self.run((what_if, number) for number in range(count))
        return [self.document(what_if, number) for number in range(count)]

    def config_of(self, what_if: WhatIf) -> dict[str, object]:
        """The configuration of a case: a study that asks for it."""
        bare = {key: value for key, value in self._config.items() if key != SECTION}
        table = what_if.table()
        return {**bare, SECTION: table} if table else bare

    def _planned(self, what_if: WhatIf) -> Plan:
        config = self.config_of(what_if) if what_if.changes else self._config
        spec = parse_spec(Document(raw=config), workloads=WORKLOADS, trust=self._spec.trust)
        return plan(spec, self._spec.max_input, self._spec.shelf.machine_of)

    def _key(self, what_if: WhatIf) -> str:
        return json.dumps([[change.target, str(change.factor)] for change in what_if.changes])

    def _task(self, what_if: WhatIf, number: int) -> Task:
        point = self._key(what_if)
        seed = self._spec.seed + number
        return Task(
            key=sha256(f"{point}/{number}".encode()).hexdigest(),
            point=point,
            replication=number,
            seed=seed,
            config=self.config_of(what_if),
            trust=self._spec.trust,
            max_input=self._spec.max_input,
        )


def metric_of(documents: Sequence[Mapping[str, object]], metric: str) -> list[float]:
    """A metric in each of several documents.

    Raises:
        ConfigError: one has no such number.
    """
    from coalsim.sweep.metrics import metric_value

    found = [metric_value(document, metric) for document in documents]
    if any(value is None for value in found):
        remedy = "take a dotted path into the result document, such as throughput.ops_per_s"
        raise ConfigError(
            [Problem(where="--metric", value=metric, message="a run has no such number", remedy=remedy)]
        )
    return [value for value in found if value is not None]
