"""Axes: grids, ranges, keys that change together, and what the command line and --quick do to them."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coalsim.study.overrides import parse_settings
from coalsim.sweep.points import Show
from coalsim.sweep.ranges import quantity, range_values
from coalsim.sweep.sweep_spec import SweepSpec, open_sweep

STUDY = """\
machine = "icx2"
[workload]
kind = "lock_loop"
[run]
duration = "1ms"
replications = 4
[[axis]]
key = "kernel.lock"
values = ["mcs", "ticket"]
[[axis]]
key = "workload.cpus"
from = 1
to = 8
count = 4
scale = "log"
label = "CPUs"
[quick]
run.duration = "100us"
"run.replications" = 1
[quick.axis."workload.cpus"]
values = [2, 6]
"""


def opened(
    folder: Path, text: str, *settings: str, axes: tuple[str, ...] = (), quick: bool = False
) -> SweepSpec:
    path = folder / "study.toml"
    path.write_text(text, encoding="utf-8")
    return open_sweep(str(path), parse_settings(settings), axes=axes, quick=quick)


def table(sweep: SweepSpec) -> list[tuple[object, ...]]:
    return [tuple(value for _, value in point.settings) for point in sweep.points]


def test_axes_make_a_grid_whose_last_axis_is_the_fastest(tmp_path: Path) -> None:
    """In the order of the file; each point's configuration has its settings."""
    sweep = opened(tmp_path, STUDY)
    assert table(sweep) == [(lock, cpus) for lock in ("mcs", "ticket") for cpus in (1, 2, 4, 8)]
    assert [point.number for point in sweep.points] == [*range(8)]
    assert [(axis.label, axis.scale) for axis in sweep.axes] == [("kernel.lock", "none"), ("CPUs", "log")]
    spec = sweep.plan(sweep.points[6]).spec
    assert (spec.kernel.switches.lock, getattr(spec.workload, "cpus")) == ("ticket", 4)  # noqa: B009
    assert sweep.task_config(sweep.points[6])["workload"] == {
        **spec.workload.model_dump(mode="json"),
        "kind": "lock_loop",
    }
    assert "study" not in sweep.task_config(sweep.points[0])
    assert sweep.base.workload_kind == "lock_loop"


def test_what_is_shown_has_sensible_defaults(tmp_path: Path) -> None:
    """The first numbers run along x, everything else is a curve."""
    metrics = ("throughput.ops_per_s", "latency_ns.mean")
    assert opened(tmp_path, STUDY).show == Show(
        metrics=metrics, x="workload.cpus", series=("kernel.lock",), log=("x",)
    )
    alone = 'machine = "coal"\n[workload]\nkind = "lock_loop"\n[run]\nduration = "1ms"\n'
    assert opened(tmp_path, alone).show == Show(metrics=metrics, x="", series=(), log=())
    assert len(opened(tmp_path, alone).points) == 1


def test_the_command_line_replaces_axes_and_adds_some(tmp_path: Path) -> None:
    """--set takes an axis away, --axis changes it in its place or comes last."""
    assert table(opened(tmp_path, STUDY, "kernel.lock=cna")) == [(1,), (2,), (4,), (8,)]
    assert table(opened(tmp_path, STUDY, "kernel.lock=cna", "workload.cpus=3")) == [()]
    assert opened(tmp_path, STUDY, "kernel.lock=cna", "workload.cpus=3").base.kernel.switches.lock == "cna"
    changed = opened(tmp_path, STUDY, axes=("kernel.lock=tas", "workload.hold=const:1us,exp:1us"))
    assert [axis.keys for axis in changed.axes] == [("kernel.lock",), ("workload.cpus",), ("workload.hold",)]
    assert len(changed.points) == 8
    listed = opened(
        tmp_path, STUDY, "workload.cpus=2", axes=('workload.hold=["exp:1us", "exp:2us"],exp:3us',)
    )
    assert listed.axes[-1].values == ((["exp:1us", "exp:2us"],), ("exp:3us",))


def test_quick_lays_its_keys_over_the_study_and_options_go_over_both(tmp_path: Path) -> None:
    """Axes keep their label and scale with fewer values."""
    quick = opened(tmp_path, STUDY, quick=True)
    assert table(quick) == [(lock, cpus) for lock in ("mcs", "ticket") for cpus in (2, 6)]
    assert (quick.replications, quick.base.run.duration) == (1, 100_000_000)
    assert (quick.axes[1].label, quick.axes[1].scale) == ("CPUs", "log")
    assert opened(tmp_path, STUDY, "run.replications=7", quick=True).replications == 7
    assert opened(tmp_path, STUDY).replications == 4


def test_keys_that_belong_together_change_together(tmp_path: Path) -> None:
    """A zip; set one of its keys, and the other varies alone."""
    text = STUDY.partition("[[axis]]")[0] + (
        '[[axis]]\nkeys = ["machine", "workload.cpus"]\nvalues = [["icx2", 64], ["coal", 4], ["icx2", 2]]\n'
    )
    sweep = opened(tmp_path, text)
    assert table(sweep) == [("icx2", 64), ("coal", 4), ("icx2", 2)]
    assert [sweep.plan(point).config.machine.name for point in sweep.points] == ["icx2", "coal", "icx2"]
    assert table(opened(tmp_path, text, "workload.cpus=1")) == [("icx2",), ("coal",)]
    assert sweep.show.x == "workload.cpus"


@pytest.mark.parametrize(
    "axis",
    [
        'key = "machine"\nvalues = ["icx2", "pack:2 core:2 pu:1"]',
        'key = "machine.clock_ghz"\nvalues = [2.0, "3.1"]',
        'key = "kernel.profile"\nvalues = ["coal", "linux-6.18"]',
        'key = "kernel.pcp_orders"\nvalues = [[0], [0, 1]]',
        'key = "kernel.cost.lock_uncontended"\nfrom = "1cycles"\nto = "9cycles"\ncount = 3',
        'key = "workload.kind"\nvalues = ["kmalloc_pairs", "page_repeat"]',
        'key = "engine.run_ahead"\nvalues = [true, false]',
        'key = "run.duration"\nfrom = "1ms"\nto = "100ms"\ncount = 3\nscale = "log"',
        'key = "inject.away"\nvalues = [[], "cpu 1 from=1us for=1us"]',
    ],
)
def test_every_kind_of_key_can_vary(tmp_path: Path, axis: str) -> None:
    """Whatever --set reaches; all points differ, so their keys do."""
    text = STUDY.partition("[[axis]]")[0].replace("icx2", "coal")
    sweep = opened(tmp_path, f"{text}[[axis]]\n{axis}\n")
    assert len({point.key for point in sweep.points}) == len(sweep.points) >= 2


def test_ranges_have_their_ends_units_and_whole_numbers() -> None:
    """As people would have written them."""
    assert range_values(1, 128, 8, "log") == [1, 2, 4, 8, 16, 32, 64, 128]
    assert range_values(1, 4, 10, "linear") == [1, 2, 3, 4]
    assert range_values("1us", "1ms", 4, "log") == ["1us", "10us", "100us", "1ms"]
    assert range_values("1us", "1ms", 3, "log") == ["1us", "31.62us", "1ms"]
    assert range_values("4KiB", "64KiB", 3, "log") == ["4KiB", "16KiB", "64KiB"]
    assert range_values("10cycles", "30cycles", 3, "linear") == ["10cycles", "20cycles", "30cycles"]
    assert range_values(0.5, 1.5, 3, "linear") == [0.5, 1.0, 1.5]


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(2, 40), st.sampled_from(["linear", "log"]))
def test_a_range_keeps_its_ends_and_its_order(first: int, last: int, count: int, scale: str) -> None:
    """Whatever the ends: distinct values, never more than asked for."""
    if first == last:
        return
    values = range_values(first, last, count, "log" if scale == "log" else "linear")
    numbers = [quantity(value) for value in values]
    assert (values[0], values[-1]) == (first, last)
    assert 2 <= len(values) <= count
    assert numbers == sorted(set(numbers), reverse=first > last)  # type: ignore[type-var]


def test_a_thousand_points_are_checked_in_seconds(tmp_path: Path) -> None:
    """Machines are read once; the limit leaves room for a busy host."""
    text = STUDY.partition("[[axis]]")[0] + (
        '[[axis]]\nkey = "machine"\nvalues = ["icx2", "ivx8"]\n'
        '[[axis]]\nkey = "workload.cpus"\nfrom = 1\nto = 60\ncount = 60\n'
        '[[axis]]\nkey = "kernel.lock"\nvalues = ["mcs", "ticket", "tas"]\n'
    )
    began = time.process_time()
    assert len(opened(tmp_path, text).points) == 360
    assert time.process_time() - began < 3.6
