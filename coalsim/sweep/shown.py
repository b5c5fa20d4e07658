"""[show] and [stop]: what tables and figures show, and how many replications are enough.

Invariant: a `Show` names only axes that the study has.
"""

from collections.abc import Sequence

from coalsim.errors import Problem
from coalsim.study.document import Document
from coalsim.sweep.metric_paths import metric_fault
from coalsim.sweep.points import Axis, Show, Stop
from coalsim.sweep.ranges import quantity
from coalsim.sweep.tables import ShowSection, StopSection, did_you_mean, read_table

LOGARITHMIC = "log"


def read_show(
    document: Document, axes: Sequence[Axis], problems: list[Problem], gone: Sequence[str] = ()
) -> Show:
    """What [show] asks for, with its defaults; mistakes are added to `problems`.

    Args:
        document: the study; axes: what it varies.
        problems: gets every mistake.
        gone: keys of axes that the command line set to one value: who names them is not mistaken.
    """
    section = read_table(document, "show", document.raw.get("show", {}), ShowSection, problems)
    section = section or ShowSection()
    for number, metric in enumerate(section.metrics):
        _check_metric(document, f"show.metrics.{number}", metric, problems)
    keys = tuple(key for axis in axes for key in axis.keys)
    known = (*keys, *gone)

    def check(at: str, key: str) -> None:
        if key not in known:
            remedy = did_you_mean(key, known) if known else "the study has no axes: leave it out"
            problems.append(document.problem(at, "no axis has this key", remedy, key))

    if section.x:
        check("show.x", section.x)
    for number, key in enumerate(section.series or ()):
        check(f"show.series.{number}", key)
    x = section.x if section.x in keys else _first_numeric(axes)
    others = tuple(key for axis in axes if x not in axis.keys for key in axis.keys)
    series = others if section.series is None else tuple(key for key in section.series if key in keys)
    of_x = next((axis for axis in axes if x in axis.keys), None)
    by_axis = ("x",) if of_x is not None and of_x.scale == LOGARITHMIC else ()
    log: tuple[str, ...] = by_axis if section.log is None else section.log
    return Show(metrics=section.metrics, x=x, series=series, log=tuple(dict.fromkeys(log)))


def read_stop(document: Document, problems: list[Problem]) -> Stop | None:
    """The stopping rule; None if the study has none.  Mistakes are added to `problems`."""
    if "stop" not in document.raw:
        return None
    section = read_table(document, "stop", document.raw["stop"], StopSection, problems)
    if section is None:
        return None
    _check_metric(document, "stop.metric", section.metric, problems)
    if section.least > section.most:
        message = f"fewer than the least, {section.least}"
        problems.append(document.problem("stop.most", message, "raise it, or lower stop.least", section.most))
    return Stop(
        metric=section.metric,
        relative=section.relative,
        confidence=section.confidence,
        least=section.least,
        most=section.most,
    )


def _check_metric(document: Document, at: str, metric: str, problems: list[Problem]) -> None:
    fault = metric_fault(metric)
    if fault is not None:
        problems.append(document.problem(at, fault.message, fault.remedy, metric))


def _first_numeric(axes: Sequence[Axis]) -> str:
    """The first key with numbers, those of axes with one key before others; else the first key."""
    for axis in sorted(axes, key=lambda axis: len(axis.keys) > 1):
        for at, key in enumerate(axis.keys):
            if all(quantity(row[at]) is not None for row in axis.values):
                return key
    return axes[0].keys[0] if axes else ""
