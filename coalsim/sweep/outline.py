"""What a study asks and how much there is to run, as text and as JSON.

Invariant: texts of studies are cleaned: nothing in them reaches the terminal but printable characters.
"""

from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap

from coalsim.guarded import clean
from coalsim.study.document import show
from coalsim.sweep.points import Axis, Point
from coalsim.sweep.sweep_spec import SweepSpec
from coalsim.units import format_time

WIDTH = 100
MOST_POINTS_LISTED = 40
MOST_VALUES_LISTED = 12
_STARTS = {
    "Question:": "question",
    "Setup:": "setup",
    "Expectation:": "expectation",
    "Reading it:": "reading",
}
"""How the paragraphs of a study's comment begin."""


def size_lines(sweep: SweepSpec) -> Iterator[str]:
    """How many points, replications and runs, and the simulated time of all of them."""
    points = len(sweep.points)
    if sweep.stop is None:
        each, runs = f"{sweep.replications}", f"{points * sweep.replications}"
        most = points * sweep.replications
    else:
        each = f"{sweep.stop.least} to {sweep.stop.most}, until {sweep.stop.metric} is narrow"
        runs = f"{points * sweep.stop.least} to {points * sweep.stop.most}"
        most = points * sweep.stop.most
    yield f"points        {points}"
    yield f"replications  {each}"
    yield f"runs          {runs}"
    yield f"simulated     {_simulated(sweep, most)}"


def _simulated(sweep: SweepSpec, runs: int) -> str:
    run = sweep.base.run
    if any(key in ("run.duration", "run.warmup") for axis in sweep.axes for key in axis.keys):
        return "differs from point to point"
    if not run.duration:
        return "until the load ends, in each run"
    one = run.duration + run.given_warmup
    pilot = " and the warm-ups, which pilot runs find" if isinstance(run.warmup, str) else ""
    return (
        f"{'at most ' if sweep.stop else ''}{format_time(one * runs)}{pilot} ({format_time(one)} in each run)"
    )


def outline_lines(sweep: SweepSpec, comment: Mapping[str, str]) -> Iterator[str]:
    """The study in words, its axes, its points.

    Args:
        sweep: the study.
        comment: what the comment at the top of its file says (`comment_words`); [study] goes before it.
    """
    base = sweep.base
    yield clean(f"{base.name}: {base.title}" if base.title else base.name)
    yield ""
    told = {"question": base.question, "expectation": base.expectation, "reading": base.reading}
    for name in _STARTS.values():
        yield from _paragraph(name, told.get(name) or comment.get(name, ""))
    yield from _paragraph("machine", base.machine)
    yield from _paragraph("kernel", base.kernel.name)
    yield from _paragraph("load", base.workload_kind)
    yield ""
    yield from size_lines(sweep)
    if sweep.axes:
        yield ""
        yield from _axis_table(sweep.axes)
        yield ""
        yield from _point_table(sweep.points)


def _paragraph(name: str, text: str) -> Iterator[str]:
    lines = wrap(clean(text), WIDTH - 14)
    for number, line in enumerate(lines):
        yield f"{name if not number else '':<14}{line}"


def _axis_table(axes: tuple[Axis, ...]) -> Iterator[str]:
    rows = [("axis", "scale", "steps", "values")]
    for axis in axes:
        keys = ", ".join(axis.keys)
        name = keys if axis.label == keys else f"{keys} ({axis.label})"
        rows.append((clean(name), axis.scale, str(len(axis.values)), clean(_values(axis))))
    yield from _aligned(rows)


def _values(axis: Axis) -> str:
    texts = [" + ".join(show(value) for value in row) for row in axis.values]
    if len(texts) > MOST_VALUES_LISTED:
        texts = [*texts[: MOST_VALUES_LISTED - 2], "...", texts[-1]]
    return "  ".join(texts)


def _point_table(points: tuple[Point, ...]) -> Iterator[str]:
    keys = [key for key, _ in points[0].settings]
    rows = [("point", *map(clean, keys))]
    rows.extend(
        (str(point.number), *(clean(show(value)) for _, value in point.settings))
        for point in points[:MOST_POINTS_LISTED]
    )
    yield from _aligned(rows)
    if len(points) > MOST_POINTS_LISTED:
        yield f"... and {len(points) - MOST_POINTS_LISTED} more; --json lists them all"


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def outline_document(sweep: SweepSpec) -> dict[str, object]:
    """The same as JSON: with the resolved configuration and every point's key."""
    stop = sweep.stop
    return {
        "study": sweep.base.resolved()["study"],
        "config": sweep.base.resolved(),
        "axes": [
            {
                "keys": [*axis.keys],
                "label": axis.label,
                "scale": axis.scale,
                "values": [[*row] for row in axis.values],
            }
            for axis in sweep.axes
        ],
        "points": [
            {"number": point.number, "key": point.key, "settings": dict(point.settings)}
            for point in sweep.points
        ],
        "replications": sweep.replications,
        "seed": sweep.seed,
        "show": {
            "metrics": [*sweep.show.metrics],
            "x": sweep.show.x,
            "series": [*sweep.show.series],
            "log": [*sweep.show.log],
        },
        "stop": None
        if stop is None
        else {
            "metric": stop.metric,
            "relative": stop.relative,
            "confidence": stop.confidence,
            "least": stop.least,
            "most": stop.most,
        },
    }


def comment_words(text: str) -> dict[str, str]:
    """What the comment at the top of a study file says: question, setup, expectation, reading."""
    said: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        words = line[1:].strip()
        start = next((start for start in _STARTS if words.startswith(start)), "")
        if start:
            current = said.setdefault(_STARTS[start], [])
            words = words.removeprefix(start).strip()
        if not words:
            current = None
        elif current is not None:
            current.append(words)
    return {name: " ".join(words) for name, words in said.items()}
