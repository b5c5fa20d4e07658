"""A validation as text and as JSON."""

from coalsim import __version__
from coalsim.observe.tables import Style, Table, columns, render
from coalsim.study.curves import load_curve
from coalsim.study.validate import VALIDATIONS, Verdict

BAR = 40


def listing() -> str:
    """The curves that can be predicted, one per line."""
    rows = []
    for name, validation in VALIDATIONS.items():
        curve = load_curve(validation.curve)
        rows.append(f"{name:<16} {curve.title}: {len(curve.points)} points, {curve.unit}, on {curve.machine}")
    return "\n".join(rows)


def as_text(verdict: Verdict, style: Style) -> str:
    """A table of all points, the mean error, what was calibrated on what."""
    curve = verdict.curve
    table = Table(
        columns(f"{curve.axis} measured predicted error% used"),
        tuple(
            (
                str(point.x),
                f"{point.measured:,.2f}",
                f"{point.predicted:,.2f}",
                f"{100 * point.error:+z.1f}",
                "calibrated" if point.calibrated else "",
            )
            for point in verdict.points
        ),
    )
    lines = [
        f"# coalsim {__version__} validation {verdict.name}: {curve.title}, {curve.unit}",
        f"measured:  {curve.machine}",
        f"           {curve.source} [{curve.status}]",
        f"predicted: machine {verdict.machine}, profile {verdict.profile}, "
        + ", ".join(
            f"{key}={value}" for key, value in verdict.settings if key not in ("machine", "machine.name")
        ),
        *(f"rule:      {rule}" for rule in verdict.validation.rules),
        "",
        render(table, style),
        _errors(verdict),
    ]
    return "\n".join(lines)


def _errors(verdict: Verdict) -> str:
    """How far the predictions are off, in one line."""
    predicted = sum(not point.calibrated for point in verdict.points)
    if not predicted:
        return "every point printed calibrated a parameter: nothing was predicted"
    over = "the point" if predicted == 1 else f"the {predicted} points"
    return (
        f"mean error {100 * verdict.mean_error:.1f} %, worst {100 * verdict.worst_error:.1f} %, "
        f"over {over} that calibrated nothing"
    )


def as_document(verdict: Verdict) -> dict[str, object]:
    """The same as one JSON document."""
    curve = verdict.curve
    return {
        "coalsim": __version__,
        "validation": verdict.name,
        "title": curve.title,
        "unit": curve.unit,
        "axis": curve.axis,
        "source": curve.source,
        "status": curve.status,
        "measured_on": curve.machine,
        "machine": verdict.machine,
        "profile": verdict.profile,
        "settings": dict(verdict.settings),
        "rules": list(verdict.validation.rules),
        "mean_error": verdict.mean_error,
        "worst_error": verdict.worst_error,
        "points": [
            {
                "x": point.x,
                "measured": point.measured,
                "predicted": point.predicted,
                "error": point.error,
                "calibrated": point.calibrated,
            }
            for point in verdict.points
        ],
    }
