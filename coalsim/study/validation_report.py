"""A validation as text and as JSON.

A validation of one curve is printed as that curve.  One of several has a column that
names the curve of each row, and says about each what it does not share with the others.
"""

from collections.abc import Callable

from coalsim import __version__
from coalsim.observe.tables import Style, Table, columns, render
from coalsim.study.predictions import VALIDATIONS, Validation, load_validation
from coalsim.study.validate import Outcome, Point, Verdict

NAME_WIDTH = max(map(len, VALIDATIONS))


def listing() -> str:
    """The validations that can be carried out, one per line."""
    return "\n".join(_listed(load_validation(name)) for name in VALIDATIONS)


def _listed(validation: Validation) -> str:
    curves = [case.curve for case in validation.cases]
    points = sum(len(curve.points) for curve in curves)
    units = ", ".join(dict.fromkeys(curve.unit for curve in curves))
    first, *others = dict.fromkeys(curve.machine for curve in curves)
    machines = f"{first}; and others" if others else first
    return f"{validation.name:<{NAME_WIDTH}} {validation.title}: {points} points, {units}, on {machines}"


def as_text(verdict: Verdict, style: Style) -> str:
    """A table of all points, the mean error, what was calibrated on what."""
    validation = verdict.validation
    units = dict.fromkeys(outcome.case.curve.unit for outcome in verdict.outcomes)
    title = f"# coalsim {__version__} validation {validation.name}: {validation.title}"
    lines = [
        f"{title}, {next(iter(units))}" if len(units) == 1 else title,
        *(_said(verdict, "unit", lambda outcome: (outcome.case.curve.unit,)) if len(units) > 1 else ()),
        *_said(verdict, "measured", _measured),
        *_said(verdict, "predicted", _predicted),
        *(f"rule:      {rule}" for rule in validation.rules),
        *(
            f"rule:      {_named(outcome, rule)}"
            for outcome in verdict.outcomes
            for rule in outcome.case.rules
        ),
        "",
        render(_table(verdict), style),
        *(_named(outcome, _errors(outcome)) for outcome in verdict.outcomes),
    ]
    return "\n".join(lines)


def _said(verdict: Verdict, heading: str, words: Callable[[Outcome], tuple[str, ...]]) -> list[str]:
    """Lines about the curves under a heading; the names of those that share them, where not all do."""
    shared: dict[tuple[str, ...], list[str]] = {}
    for outcome in verdict.outcomes:
        shared.setdefault(words(outcome), []).append(outcome.case.curve.name)
    lines: list[str] = []
    for said, names in shared.items():
        who = f"{', '.join(names)}: " if len(names) < len(verdict.outcomes) else ""
        lines += [f"{heading + ':':<10} {who}{said[0]}", *(f"{'':<11}{line}" for line in said[1:])]
    return lines


def _measured(outcome: Outcome) -> tuple[str, ...]:
    curve = outcome.case.curve
    return curve.machine, f"{curve.source} [{curve.status}]"


def _predicted(outcome: Outcome) -> tuple[str, ...]:
    if reason := outcome.case.prediction.unmodelled:
        return (f"not at all: {reason}",)
    ran = [f"machine {outcome.machine}", f"profile {outcome.profile}"]
    given = [f"{key}={value}" for key, value in outcome.settings if key not in ("machine", "machine.name")]
    return (", ".join([*ran, *given]),)


def _table(verdict: Verdict) -> Table:
    named = any(outcome.case.curve.name for outcome in verdict.outcomes)
    head = f"{verdict.validation.axis} measured predicted error% used"
    rows = [
        ((outcome.case.curve.name,) if named else ()) + _row(point)
        for outcome in verdict.outcomes
        for point in outcome.points
    ]
    return Table(columns(f"series {head}" if named else head), tuple(rows))


def _row(point: Point) -> tuple[str, ...]:
    return (
        str(point.x),
        f"{point.measured:,.2f}",
        "" if point.predicted is None else f"{point.predicted:,.2f}",
        "" if point.error is None else f"{100 * point.error:+z.1f}",
        "unmodelled" if point.predicted is None else "calibrated" if point.calibrated else "",
    )


def _named(outcome: Outcome, text: str) -> str:
    """A line about a curve that has a name."""
    return f"{outcome.case.curve.name}: {text}" if outcome.case.curve.name else text


def _errors(outcome: Outcome) -> str:
    """How far the predictions are off, in one line."""
    if outcome.case.prediction.unmodelled:
        return "nothing was predicted"
    if not outcome.errors:
        return "every point printed calibrated a parameter: nothing was predicted"
    predicted = len(outcome.errors)
    over = "the point" if predicted == 1 else f"the {predicted} points"
    return (
        f"mean error {100 * outcome.mean_error:.1f} %, worst {100 * outcome.worst_error:.1f} %, "
        f"over {over} that calibrated nothing"
    )


def as_document(verdict: Verdict) -> dict[str, object]:
    """The same as one JSON document: one curve as itself, several as `series`."""
    validation = verdict.validation
    head: dict[str, object] = {
        "coalsim": __version__,
        "validation": validation.name,
        "title": validation.title,
        "axis": validation.axis,
    }
    if not any(outcome.case.curve.name for outcome in verdict.outcomes):
        (outcome,) = verdict.outcomes
        return {**head, **_outcome(outcome), "rules": [*validation.rules, *outcome.case.rules]}
    series = [{"name": outcome.case.curve.name, **_outcome(outcome)} for outcome in verdict.outcomes]
    return {**head, "rules": list(validation.rules), "series": series}


def _outcome(outcome: Outcome) -> dict[str, object]:
    curve = outcome.case.curve
    return {
        "unit": curve.unit,
        "source": curve.source,
        "status": curve.status,
        "measured_on": curve.machine,
        **_how(outcome),
        "rules": list(outcome.case.rules),
        "points": [
            {
                "x": point.x,
                "measured": point.measured,
                "predicted": point.predicted,
                "error": point.error,
                "calibrated": point.calibrated,
            }
            for point in outcome.points
        ],
    }


def _how(outcome: Outcome) -> dict[str, object]:
    """What was run and how well it did, or why nothing was."""
    if reason := outcome.case.prediction.unmodelled:
        return {"unmodelled": reason}
    return {
        "machine": outcome.machine,
        "profile": outcome.profile,
        "settings": dict(outcome.settings),
        "mean_error": outcome.mean_error,
        "worst_error": outcome.worst_error,
    }
