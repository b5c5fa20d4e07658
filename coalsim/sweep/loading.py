"""From rows to results: what a folder or a store holds, as a study's results.

Every document is checked before anybody prints it; a file that somebody changed is refused
with the run that is wrong.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from coalsim.errors import InputError, Problem
from coalsim.guarded import clean, refusal
from coalsim.observe.document import ResultDocument
from coalsim.observe.means import mean_document
from coalsim.study.intervals import document_intervals
from coalsim.study.run import SAME_RUNS, all_the_same
from coalsim.sweep import manifest as manifests
from coalsim.sweep import resultfile
from coalsim.sweep.agenda import Demand, PointRuns
from coalsim.sweep.manifest import Manifest, read_manifest
from coalsim.sweep.points import Point, Show
from coalsim.sweep.results import PointResults, StudyResults
from coalsim.sweep.rows import DONE, Row
from coalsim.sweep.store import FILE as STORE
from coalsim.sweep.store import stored_rows

DEFAULT_METRICS = ("throughput.ops_per_s", "latency_ns.mean")
POINTS_TOLD = 4
NUMBERS_TOLD = 10
MEMORY = Path("memory")
"""What results are said to come from that were never written down."""


def is_sweep(path: Path) -> bool:
    """Whether a folder is that of a sweep."""
    return (path / manifests.FILE).is_file()


def load_folder(folder: Path) -> StudyResults:
    """The results in a folder of a sweep or of a single run.

    Raises:
        InputError: there are none, or they are damaged.
    """
    if not is_sweep(folder):
        return _single_run(folder)
    manifest = read_manifest(folder)
    rows = stored_rows(folder / STORE) if (folder / STORE).exists() else []
    return gathered(manifest, rows, folder)


def gathered(manifest: Manifest, rows: Iterable[Row], folder: Path = MEMORY) -> StudyResults:
    """A study's results out of the rows of a store, which may hold those of other studies too.

    Raises:
        InputError: a row's document is damaged.
    """
    by_point: dict[str, list[Row]] = {point.key: [] for point in manifest.points}
    for row in rows:
        if row.point in by_point and row.key == manifest.demand.key(row.point, row.replication):
            by_point[row.point].append(row)
    found = [_point(manifest, point, by_point[point.key], folder) for point in manifest.points]
    points = tuple(results for results, _ in found)
    return StudyResults(
        name=manifest.name,
        title=manifest.title,
        question=manifest.question,
        expectation=manifest.expectation,
        reading=manifest.reading,
        axes=manifest.axes,
        show=manifest.show,
        stop=manifest.stop,
        points=points,
        config=manifest.config,
        versions=manifest.versions,
        warnings=(*gathered_warnings([run for point in points for run in point.runs]), *_same_runs(points)),
        folder=folder,
        missing=sum(missing for _, missing in found),
    )


def _point(manifest: Manifest, point: Point, rows: Sequence[Row], folder: Path) -> tuple[PointResults, int]:
    """A point's results, and how many of its runs are missing."""
    wanted = runs_wanted(manifest.demand, rows)
    held = {row.replication: row for row in rows if row.replication < wanted}
    ordered = [held[number] for number in sorted(held)]
    results = PointResults(
        point=point,
        runs=tuple(_document(manifest.name, row, folder) for row in ordered if row.status == DONE),
        failures=tuple(row for row in ordered if row.status != DONE),
        config=manifest.config_of(point.number),
    )
    return results, wanted - len(held)


def runs_wanted(demand: Demand, rows: Iterable[Row]) -> int:
    """How many replications a point needs, as far as its rows tell."""
    runs = PointRuns(demand)
    for row in rows:
        runs.add(row)
    return runs.wanted


def _document(study: str, row: Row, folder: Path) -> ResultDocument:
    file = folder / STORE
    try:
        document = resultfile.checked_document(file, row.result)
    except InputError as error:
        run = f"run {row.key[:12]} (seed {row.seed})"
        raise InputError(
            [
                Problem(
                    where=clean(str(file)),
                    key=problem.key or run,
                    message=f"{problem.message}, in {run}" if problem.key else problem.message,
                    remedy="move the file away and run the study again: somebody changed it",
                )
                for problem in error.problems
            ]
        ) from None
    document["study"] = study
    return document


def gathered_warnings(runs: Sequence[ResultDocument]) -> tuple[str, ...]:
    """Each warning once, with how many of the runs gave it, in the order in which they turn up."""
    counts: dict[str, int] = {}
    for run in runs:
        for text in dict.fromkeys(run.get("warnings", [])):
            counts[text] = counts.get(text, 0) + 1
    return tuple(f"{text} ({count} of {len(runs)} runs)" for text, count in counts.items())


def _same_runs(points: Sequence[PointResults]) -> Iterator[str]:
    """Points whose intervals say nothing, because their runs differ in nothing but their seeds."""
    same = [point.point.number for point in points if len(point.runs) > 1 and all_the_same(point.runs)]
    if same:
        more = "" if len(same) <= NUMBERS_TOLD else f" and {len(same) - NUMBERS_TOLD} more"
        yield f"{SAME_RUNS} (points {', '.join(map(str, same[:NUMBERS_TOLD]))}{more})"


def _single_run(folder: Path) -> StudyResults:
    document = resultfile.load_result(folder)
    config = document.get("config", {})
    runs = tuple(document.get("runs", [document]))
    words = config.get("study", {})
    told = words if isinstance(words, dict) else {}
    point = Point(number=0, key="", settings=())
    return StudyResults(
        name=document["study"],
        title=str(told.get("title", "")),
        question=str(told.get("question", "")),
        expectation=str(told.get("expectation", "")),
        reading=str(told.get("reading", "")),
        axes=(),
        show=Show(metrics=DEFAULT_METRICS, x="", series=(), log=()),
        stop=None,
        points=(PointResults(point=point, runs=runs, failures=(), config=config),),
        config=config,
        versions={"coalsim": document["coalsim"]},
        warnings=tuple(document.get("warnings", [])),
        folder=folder,
        missing=0,
    )


def load_point(folder: Path, number: int | None, run: int | None = None) -> ResultDocument:
    """The result of one point of a sweep's folder, as a study of that point alone would give it.

    Args:
        folder: of the sweep.
        number: of the point; None where there is only one.
        run: a replication, counted from 1; None is the whole.

    Raises:
        InputError: there is no such point or run, or the point has no run that is done.
    """
    results = load_folder(folder)
    if number is None and len(results.points) > 1:
        raise _no_point(folder, "", "this is a sweep of several points", results)
    number = number or 0
    if not 0 <= number < len(results.points):
        raise _no_point(folder, str(number), "no such point", results)
    point = results.points[number]
    if not point.runs:
        why = f": {point.failures[0].error}" if point.failures else ""
        message = f"none of its runs is done{why}"
        raise refusal(
            folder, message, "run the study again, or take another point", value=f"--point {number}"
        )
    document = point_document(point)
    return document if run is None else resultfile.replication_of(folder, document, run)


def point_document(point: PointResults) -> ResultDocument:
    """The runs of a point as one document: their means with intervals, and themselves."""
    runs = point.runs
    if len(runs) == 1:
        document = cast(ResultDocument, json.loads(json.dumps(runs[0])))
    else:
        document = mean_document(runs)
        document["intervals"] = document_intervals(runs)
    document["config"] = dict(point.config)
    return document


def refuse_point(path: Path, number: int) -> InputError:
    """A point was asked for of what has only one."""
    return refusal(path, "this is a single run", "leave --point out", value=f"--point {number}")


def refuse_sweep(folder: Path | None) -> None:
    """A single run does not go into the folder of a sweep.

    Raises:
        InputError: it is one.
    """
    if folder is not None and is_sweep(folder):
        raise refusal(folder, "the results of a sweep are there", "name another folder")


def _no_point(folder: Path, value: str, message: str, results: StudyResults) -> InputError:
    last = len(results.points) - 1
    first = [point.point for point in results.points[:POINTS_TOLD]]
    described = "; ".join(f"{point.number}: {settings_text(point.settings)}" for point in first)
    more = "; ..." if last >= POINTS_TOLD else ""
    remedy = clean(f"give --point 0 to --point {last} ({described}{more})")
    return InputError(
        [Problem(where=clean(str(folder)), key="--point", value=value, message=message, remedy=remedy)]
    )


def settings_text(settings: Iterable[tuple[str, object]]) -> str:
    """A point's settings in one line."""
    return " ".join(f"{key}={shown(value)}" for key, value in settings)


def shown(value: object) -> str:
    """A value of an axis as its author would write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value)
    return str(value)
