"""Figures for papers, by matplotlib: a file for each metric, and one with the stacks.

Invariant: the same results and the same matplotlib give the same bytes: no dates, no random names.
"""

from collections.abc import Mapping, Sequence
from importlib.resources import as_file, files
from math import ceil, inf, log10
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from coalsim.report.curves import NOWHERE, Curve, Curves, Places, curves_of
from coalsim.report.libraries import missing_library
from coalsim.report.numbers import quantity_text
from coalsim.report.repeat import file_stem
from coalsim.report.stacks import OTHER, WHOLE, stacks_of
from coalsim.report.words import label_of, unit_of
from coalsim.stats.student import Interval
from coalsim.sweep.results import StudyResults
from coalsim.sweep.table import point_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("pdf", "svg", "png")
WIDTH, HEIGHT = 5.2, 3.4  # inches: a column of a paper
SERIES = ("#0072b2", "#d55e00", "#00835f", "#b4578f", "#c98a00", "#3a93cf", "#4b5563", "#8c510a")
CAUSES = ("#4477aa", "#cc6677", "#44aa99", "#ddcc77", "#882255", "#88ccee", "#117733", "#aa4499", "#999933")
REST = "#b4bac2"
FEW_DECADES = 2.2
TICK_WIDTH = 8.0  # pixels of a character
MARKS = "osd^vP"
DASHES = ("-", "--", ":", "-.")
_METADATA: Mapping[str, Mapping[str, str | None]] = MappingProxyType(
    {
        "pdf": {"CreationDate": None, "Creator": "coalsim", "Producer": None},
        "svg": {"Date": None, "Creator": "coalsim"},
        "png": {"Software": None},
    }
)


def write_figures(results: StudyResults, folder: Path, form: str) -> list[Path]:
    """Write all figures of a study.

    Args:
        results: the study.
        folder: where to; it is made if need be.
        form: "pdf", "svg" or "png".

    Returns:
        The files, in the order of the metrics; the stacks last.

    Raises:
        ConfigError: matplotlib is not installed.
        OSError: they cannot be written.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise missing_library("matplotlib", "plot", "a figure") from None
    folder.mkdir(parents=True, exist_ok=True)
    curves = curves_of(results)
    if curves.is_empty:
        only = Places(label="", texts=(results.name,), numbers=(), unit="")
        curves = Curves(places=only, curves=(Curve(label="", points=(0,)),))
    written = []
    settings = files(__package__) / "style" / "paper.mplstyle"
    with as_file(settings) as file, matplotlib.rc_context(fname=file):
        for metric in results.show.metrics:
            figure = Figure(figsize=(WIDTH, HEIGHT))
            _draw_metric(figure.subplots(), results, curves, metric)
            written.append(_save(figure, folder / f"{file_stem(metric)}.{form}", form))
        written.append(_save(_stack_figure(results, curves), folder / f"stacks.{form}", form))
    return written


def _save(figure: "Figure", file: Path, form: str) -> Path:
    figure.savefig(file, format=form, dpi=200, metadata=dict(_METADATA[form]))
    return file


def _draw_metric(axes: "Axes", results: StudyResults, curves: Curves, metric: str) -> None:
    places, unit = curves.places, unit_of(metric)
    at = places.numbers or tuple(map(float, range(len(places.texts))))
    means = [_means(results, curve, at, metric) for curve in curves.curves]
    all_means = [known.mean for found in means for _, known in found]
    is_log = "y" in results.show.log and any(mean > 0 for mean in all_means)
    for number, (curve, found) in enumerate(zip(curves.curves, means, strict=True)):
        if is_log:
            found = [(x, known) for x, known in found if known.mean > 0]
        axes.errorbar(
            [x for x, _ in found],
            [known.mean for _, known in found],
            yerr=[known.half_width or 0.0 for _, known in found],
            label=curve.label or None,
            color=SERIES[number % len(SERIES)],
            marker=MARKS[number % len(MARKS)],
            linestyle=DASHES[number // len(SERIES) % len(DASHES)] if places.numbers else "none",
            markersize=4,
            linewidth=1.4,
            capsize=2,
        )
    if "x" in results.show.log and places.numbers and min(places.numbers) > 0:
        axes.set_xscale("log")
    if is_log:
        _make_logarithmic(axes, sum(mean <= 0 for mean in all_means))
    else:
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]) if _has_negative(results, metric) else 0.0)
    _ticks(axes, places, at)
    axes.set_xlabel(places.label)
    axes.set_ylabel(label_of(metric))
    axes.yaxis.set_major_formatter(lambda value, _: quantity_text(value, unit, 3))
    if len(curves.curves) > 1:
        axes.legend(frameon=False, fontsize=8, ncols=1 + len(curves.curves) // 9)


def _means(
    results: StudyResults, curve: Curve, at: Sequence[float], metric: str
) -> list[tuple[float, Interval]]:
    """Where a curve has means, and these."""
    known = [
        (x, point_interval(results, results.points[point], metric))
        for x, point in zip(at, curve.points, strict=True)
        if point != NOWHERE
    ]
    return [(x, found) for x, found in known if found is not None]


def _make_logarithmic(axes: "Axes", lost: int) -> None:
    """A logarithmic y with more ticks than powers of ten where there are few; what it cannot show is told."""
    from matplotlib.ticker import LogLocator

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if log10(high / low) < FEW_DECADES:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    if lost:
        axes.set_title(f"{lost} not above 0: not on a log axis", fontsize=7, loc="right")


def _has_negative(results: StudyResults, metric: str) -> bool:
    return any(value < 0 for point in results.points for value in results.values(point, metric))


def _ticks(axes: "Axes", places: Places, at: Sequence[float]) -> None:
    """The places themselves where they are few or names, else round numbers."""
    axes.minorticks_off()
    if not places.numbers or len(at) <= 10:
        axes.set_xticks(at, _without_collisions(axes, places.texts, at))
    else:
        axes.xaxis.set_major_formatter(lambda value, _: quantity_text(value, places.unit, 3))


def _without_collisions(axes: "Axes", texts: Sequence[str], at: Sequence[float]) -> list[str]:
    """The texts of ticks, but for those that would run into the one before."""
    kept, free = [""] * len(texts), -inf
    pixels = [float(axes.transData.transform((x, 1.0))[0]) for x in at]
    for place in sorted(range(len(texts)), key=lambda place: pixels[place]):
        half = len(texts[place]) * TICK_WIDTH / 2
        if pixels[place] - half >= free:
            kept[place], free = texts[place], pixels[place] + half + TICK_WIDTH
    return kept


def _stack_figure(results: StudyResults, curves: Curves) -> "Figure":
    from matplotlib.figure import Figure

    stacks = stacks_of(results)
    across = min(3, len(curves.curves))
    down = ceil(len(curves.curves) / across)
    figure = Figure(figsize=(0.62 * WIDTH * across + 1.6, 0.75 * HEIGHT * down))
    panels = figure.subplots(down, across, squeeze=False, sharey=True)
    for panel in panels.flat:
        panel.set_visible(False)
    for panel, curve in zip(panels.flat, curves.curves, strict=False):
        panel.set_visible(True)
        places = range(len(curve.points))
        below = [0.0] * len(places)
        for cause, name in enumerate(stacks.causes):
            found = [stacks.shares[point] if point != NOWHERE else None for point in curve.points]
            shares = [100 * row[cause] / WHOLE if row is not None else 0.0 for row in found]
            colour = REST if name == OTHER else CAUSES[cause % len(CAUSES)]
            panel.bar(places, shares, 0.8, below, color=colour, label=name)
            below = [one + other for one, other in zip(below, shares, strict=True)]
        panel.set_title(curve.label, fontsize=9, loc="left")
        panel.set_ylim(0, 100)
        every = max(1, ceil(len(places) / 8))
        panel.set_xticks([*places][::every], curves.places.texts[::every], fontsize=7)
        panel.set_xlabel(curves.places.label, fontsize=8)
        panel.grid(visible=False)
        panel.yaxis.set_major_formatter(lambda value, _: f"{value:.0f} %")
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.tight_layout()
    figure.legend(
        handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8
    )
    return figure
