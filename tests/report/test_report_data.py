"""What the figures are drawn from: curves, stacks, lock lines, numbers."""

from dataclasses import replace
from fractions import Fraction
from math import isclose
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coalsim.analysis.stacks import apportioned
from coalsim.observe.where import added, used_cpus
from coalsim.report.curves import NOWHERE, curves_of
from coalsim.report.lock_rows import lock_tables
from coalsim.report.numbers import quantity_text, short
from coalsim.report.stacks import OTHER, WHOLE, stacks_of
from coalsim.report.words import label_of, unit_of
from coalsim.sweep.points import Axis, Point
from coalsim.sweep.results import PointResults, StudyResults


def of_axes(results: StudyResults, axes: tuple[Axis, ...], x: str, series: tuple[str, ...]) -> StudyResults:
    """The same study with other axes, its points without runs."""
    steps: list[tuple[tuple[str, object], ...]] = [()]
    for axis in axes:
        steps = [(*before, *zip(axis.keys, row, strict=True)) for before in steps for row in axis.values]
    points = tuple(
        PointResults(point=Point(number=number, key="", settings=settings), runs=(), failures=(), config={})
        for number, settings in enumerate(steps)
    )
    show = replace(results.show, x=x, series=series)
    return replace(results, axes=axes, points=points, show=show)


def axis(*keys: str, values: tuple[tuple[object, ...], ...]) -> Axis:
    return Axis(keys=keys, values=values, label=", ".join(keys), scale="none")


LOCKS = axis("kernel.lock", values=(("mcs",), ("tas",)))
CPUS = axis("workload.cpus", values=((1,), (4,), (16,)))
HOLDS = axis("workload.hold", values=(("1us",), ("1ms",)))
BOTH = axis("machine", "workload.cpus", values=(("icx2", 4), ("milan2", 4)))


@pytest.mark.parametrize(
    ("axes", "x", "series", "curves", "places"),
    [
        ((LOCKS, CPUS), "workload.cpus", ("kernel.lock",), ["mcs", "tas"], ("1", "4", "16")),
        ((CPUS,), "workload.cpus", (), [""], ("1", "4", "16")),
        ((LOCKS,), "kernel.lock", (), [""], ("mcs", "tas")),
        ((BOTH,), "workload.cpus", (), [""], ("icx2, 4", "milan2, 4")),
        ((HOLDS, CPUS), "workload.hold", ("workload.cpus",), ["1", "4", "16"], ("1us", "1ms")),
        (
            (LOCKS, HOLDS, CPUS),
            "workload.cpus",
            ("kernel.lock",),
            ["mcs, 1us", "mcs, 1ms", "tas, 1us", "tas, 1ms"],
            ("1", "4", "16"),
        ),
        (
            (BOTH, HOLDS),
            "workload.hold",
            ("workload.cpus",),
            ["cpus=4, icx2", "cpus=4, milan2"],
            ("1us", "1ms"),
        ),
    ],
)
def test_every_point_is_on_one_curve(
    results: StudyResults,
    axes: tuple[Axis, ...],
    x: str,
    series: tuple[str, ...],
    curves: list[str],
    places: tuple[str, ...],
) -> None:
    """Also with axes that [show] does not name, and with several keys that change together."""
    made = of_axes(results, axes, x, series)
    found = curves_of(made)
    assert [curve.label for curve in found.curves] == curves
    assert found.places.texts == places
    drawn = sorted(point for curve in found.curves for point in curve.points if point != NOWHERE)
    assert drawn == [*range(len(made.points))]


def test_places_with_units_are_numbers(results: StudyResults) -> None:
    """1us and 1ms are 1,000 apart on a logarithmic axis, and their unit is known."""
    places = curves_of(of_axes(results, (HOLDS,), "workload.hold", ())).places
    assert (places.numbers, places.unit) == ((1e6, 1e9), "ps")


@given(st.lists(st.integers(1, 10**15), min_size=1, max_size=14), st.integers(0, 13))
def test_shares_add_up_whatever_the_times(times: list[int], most: int) -> None:
    """They are rounded so that nothing is left over, and none is off by a thousandth of a percent."""
    whole = sum(times)
    parts = [Fraction(time, whole) for time in times][:most]
    parts.append(1 - sum(parts, Fraction(0)))
    shares = apportioned(parts, WHOLE)
    assert sum(shares) == WHOLE
    for part, share in zip(parts, shares, strict=True):
        assert abs(share - part * WHOLE) < 1


def test_stacks_are_the_times_of_the_documents(results: StudyResults) -> None:
    """Each share is the cause's part of the time of the CPUs that ran something."""
    stacks = stacks_of(results)
    assert OTHER not in stacks.causes
    for point, shares in zip(results.points, stacks.shares, strict=True):
        assert shares is not None
        assert sum(shares) == WHOLE
        total = [added(run["time"], used_cpus(run["time"])) for run in point.runs]
        whole = sum(sum(times.values()) for times in total)
        for cause, share in zip(stacks.causes, shares, strict=True):
            time = sum(times.get(cause, 0) for times in total)
            assert isclose(share / WHOLE, time / whole, abs_tol=2 / WHOLE)


def test_lock_lines_are_the_means_of_the_documents(results: StudyResults) -> None:
    """Totals are means over the runs, averages over all waits, the longest of all."""
    point = results.points[2]
    (line,) = lock_tables(results).points[2]
    entries = [run["locks"][0] for run in point.runs]
    assert line.acquisitions == sum(entry["acquisitions"] for entry in entries) / 2
    assert line.wait_longest == max(entry["waittime_max"] for entry in entries)
    waits = sum(entry["contentions"] for entry in entries)
    assert line.wait_average == sum(entry["waittime_total"] for entry in entries) / waits
    assert [site.site for site in line.sites] == ["lock_loop"]


@pytest.mark.parametrize(
    ("path", "unit", "label"),
    [
        ("throughput.ops_per_s", "1/s", "Throughput"),
        ("latency_ns.count", "", "Latency, count"),
        ("phases.alloc.latency_ns.p99", "ns", "Phase alloc.latency_ns, p99"),
        ("locks.zone.contentions", "", "Lock zone, contentions"),
        ("locks.zone.stolen", "ns", "Lock zone, stolen"),
        ("time.0.idle", "ps", "time.0.idle"),
        ("leaks.bytes", "B", "leaks.bytes"),
    ],
)
def test_paths_have_units_and_names(path: str, unit: str, label: str) -> None:
    """As the document's own rule has them."""
    assert (unit_of(path), label_of(path)) == (unit, label)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0, "ns", "0"),
        (0.25, "ns", "250 ps"),
        (-1500.0, "us", "\N{MINUS SIGN}1.5 ms"),
        (555.2, "1/s", "555.2 /s"),
        (2.0**21, "B", "2 MiB"),
        (12345.6, "", "12346"),
    ],
)
def test_numbers_for_people(value: float, unit: str, text: str) -> None:
    """Four digits and the prefix that suits."""
    assert quantity_text(value, unit) == text


@given(st.floats(-1e12, 1e12))
def test_short_numbers_are_close(value: float) -> None:
    """Six digits are kept."""
    assert isclose(short(value), value, rel_tol=1e-5, abs_tol=1e-300)


def test_a_folder_is_no_part_of_the_data(results: StudyResults) -> None:
    """The stacks and curves of results from elsewhere are the same."""
    assert stacks_of(replace(results, folder=Path("elsewhere"))) == stacks_of(results)
