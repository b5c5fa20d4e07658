"""The results of a study, as tables, comparisons, figures and reports take them.

They come from a sweep's folder (study.json and results.sqlite), from the folder of a single
run (result.json), or straight from a store that was never written down.

Invariant: points stand in the order of the grid, the runs of a point in that of their
replications, and only those that its stopping rule asked for; so everything made from them
depends neither on the order in which runs ended nor on how often they were begun.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from coalsim.sweep.metrics import metric_value
from coalsim.sweep.points import Axis, Point, Show, Stop
from coalsim.sweep.rows import Row

if TYPE_CHECKING:
    from coalsim.observe.document import ResultDocument


@dataclass(frozen=True, kw_only=True)
class PointResults:
    """One point and its runs.

    Args:
        point: which.
        runs: the documents of the runs that are done, by replication.
        failures: the rows of those that are not, by replication.
        config: the resolved configuration.
    """

    point: Point
    runs: "tuple[ResultDocument, ...]"
    failures: tuple[Row, ...]
    config: Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class StudyResults:
    """A study and what came out so far.

    Args:
        name, title, question, expectation, reading: the study in words.
        axes, show, stop: as the study says.
        points: all of them, also those without a run.
        config: the resolved configuration that the axes vary.
        versions: of the programs that the results depend on.
        warnings: of all runs, each once, with how many runs gave it.
        folder: where it was read from.
        missing: runs that were not done yet.
    """

    name: str
    title: str
    question: str
    expectation: str
    reading: str
    axes: tuple[Axis, ...]
    show: Show
    stop: Stop | None
    points: tuple[PointResults, ...]
    config: Mapping[str, object]
    versions: Mapping[str, str]
    warnings: tuple[str, ...]
    folder: Path
    missing: int

    def values(self, point: PointResults, metric: str) -> list[float]:
        """A metric in each run of a point that has it, by replication; in the unit of the document."""
        found = (metric_value(cast("Mapping[str, object]", run), metric) for run in point.runs)
        return [value for value in found if value is not None]


def load_results(folder: Path) -> StudyResults:
    """The results in a folder of a sweep or of a single run.

    Raises:
        InputError: there are none, or they are damaged.
    """
    from coalsim.sweep.loading import load_folder

    return load_folder(folder)
