"""What the page draws, as one JSON document: places, curves, means, half widths, shares, lock lines.

The result documents stay where they are: a page of a thousand points has some hundred kilobytes.

Invariant: the text can stand inside a script element: no character in it ends one.
"""

import json
from collections.abc import Mapping

from coalsim.report.curves import Curves, curves_of
from coalsim.report.lock_rows import LockLine, LockTables, lock_tables
from coalsim.report.numbers import short
from coalsim.report.stacks import Stacks, stacks_of
from coalsim.report.words import label_of, unit_of
from coalsim.sweep.loading import shown
from coalsim.sweep.results import StudyResults
from coalsim.sweep.table import confidence_of, point_interval

_ENDS = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


def page_data(results: StudyResults) -> dict[str, object]:
    """All that the page's script needs."""
    return {
        "confidence": confidence_of(results),
        "log": {"x": "x" in results.show.log, "y": "y" in results.show.log},
        "points": [_settings_text(dict(point.point.settings)) for point in results.points],
        "metrics": [_metric(results, metric) for metric in results.show.metrics],
        **_curves(curves_of(results)),
        "stacks": _stacks(stacks_of(results)),
        "locks": _locks(lock_tables(results)),
    }


def script_text(data: Mapping[str, object]) -> str:
    """The JSON text of a document as it may stand in a script element of a page."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.translate(_ENDS)


def _settings_text(settings: Mapping[str, object]) -> str:
    return ", ".join(f"{key} = {shown(value)}" for key, value in settings.items())


def _metric(results: StudyResults, metric: str) -> dict[str, object]:
    found = [point_interval(results, point, metric) for point in results.points]
    halves = [None if known is None else known.half_width for known in found]
    return {
        "path": metric,
        "label": label_of(metric),
        "unit": unit_of(metric),
        "mean": [None if known is None else short(known.mean) for known in found],
        "half": [None if half is None else short(half) for half in halves],
        "runs": [0 if known is None else known.count for known in found],
    }


def _curves(curves: Curves) -> dict[str, object]:
    places = curves.places
    return {
        "x": {
            "label": places.label,
            "texts": places.texts,
            "numbers": [short(number) for number in places.numbers],
            "unit": places.unit,
        },
        "series": [{"label": curve.label, "points": curve.points} for curve in curves.curves],
    }


def _stacks(stacks: Stacks) -> dict[str, object]:
    return {
        "causes": stacks.causes,
        "shares": stacks.shares,
        "perOperation": [None if value is None else short(value) for value in stacks.per_operation],
    }


def _locks(tables: LockTables) -> dict[str, object]:
    return {
        "points": [[_lock(line) for line in table] for table in tables.points],
        "hidden": tables.hidden,
    }


def _lock(line: LockLine) -> list[object]:
    numbers = (
        line.acquisitions,
        line.contentions,
        line.bounces,
        line.wait_total,
        line.wait_average,
        line.wait_longest,
        line.hold_total,
        line.hold_average,
        line.hold_longest,
    )
    sites = [[site.site, short(site.contentions), short(site.wait_total)] for site in line.sites]
    return [line.name, line.type, *map(short, numbers), sites]
