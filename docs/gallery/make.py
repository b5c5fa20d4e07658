"""Make the gallery: run its studies, draw a figure from each, and keep the numbers beside them.

    python docs/gallery/make.py [--jobs N] [NAME ...]       run what is missing in FOLDER, then draw
    python docs/gallery/make.py --draw                      draw again from the numbers that are kept

A figure is a function of `NAME.json`, which holds what its study measured: no point is typed.  The same
numbers give the same bytes of SVG.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

HERE = Path(__file__).parent
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555", "#000000")
MARKS = "os^Dvx+*"


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Which metric of a study is drawn, and how."""

    metric: str
    label: str
    scale: float = 1.0  # of the values
    log: str = ""  # which directions: "x", "y", "xy"
    names: Mapping[str, str] | None = None  # of curves, where their values say too little


PICTURES: Mapping[str, Picture] = {
    "locks_by_cpus": Picture(
        metric="throughput.ops_per_s", label="million sections per second", scale=1e-6, log="x"
    ),
    "lock_placement": Picture(
        metric="throughput.ops_per_s", label="million sections per second", scale=1e-6, log="x"
    ),
    "pcp_batch_by_cpus": Picture(
        metric="phases.alloc.latency_ns.mean", label="ns per page allocated", log="y"
    ),
    "slab_layers_by_depth": Picture(metric="latency_ns.mean", label="ns per allocation or free", log="x"),
    "remote_free_by_pairs": Picture(
        metric="throughput.ops_per_s", label="million objects per second", scale=1e-6, log="xy"
    ),
    "kmalloc_by_size": Picture(metric="latency_ns.mean", label="ns per pair", log="y"),
    "faults_by_lock": Picture(
        metric="pft.faults_per_s", label="million faults per second", scale=1e-6, log="xy"
    ),
    "policies_by_cpus": Picture(
        metric="latency_ns.mean", label="us per madvise of one page", scale=1e-3, log="xy"
    ),
    "ipi_models_by_targets": Picture(
        metric="shootdown_ns.mean", label="us per shootdown", scale=1e-3, log="xy"
    ),
    "guest_by_share": Picture(
        metric="throughput.ops_per_s",
        label="thousand flushes per second",
        scale=1e-3,
        log="y",
        names={"kvm_pv, False": "kvm_pv", "kvm_pv, True": "kvm_pv with pv_flush", "posted, False": "posted"},
    ),
    "tables_by_placement": Picture(metric="latency_ns.mean", label="ns per random read"),
    "huge_blocks_by_cache": Picture(
        metric="memory.vmstat.nr_free_pages_blocks", label="free pages in huge blocks"
    ),
    "reclaim_by_flush_batch": Picture(
        metric="throughput.ops_per_s", label="million pages per second", scale=1e-6, log="x"
    ),
}


def measured(name: str, jobs: int, folder: Path) -> dict[str, Any]:
    """Run a study and take from its results what its picture needs."""
    from coalsim.sweep.results import load_results

    command = [sys.executable, "-m", "coalsim", "run", name, "--jobs", str(jobs), "--out", str(folder), "-q"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    results = load_results(folder)
    x, picture = results.show.x, PICTURES[name]
    series = [axis for axis in results.axes if x not in axis.keys]
    curves: dict[str, list[list[Any]]] = {}
    for point in results.points:
        settings = dict(point.point.settings)
        curve = ", ".join(str(settings[key]) for axis in series for key in axis.keys)
        values = results.values(point, picture.metric)
        curves.setdefault(curve, []).append([settings[x], *values])
    label = next(axis.label for axis in results.axes if x in axis.keys)
    return {"title": results.title, "x": label or x, "metric": picture.metric, "curves": curves}


def shortened(curves: list[str]) -> list[str]:
    """Names of curves without what does not tell them apart, but for the first word."""
    words = [curve.split(", ") for curve in curves]
    at = 1
    while at < len(words[0]):
        fewer = [line[:at] + line[at + 1 :] for line in words]
        if len({tuple(line) for line in fewer}) == len(words):
            words = fewer
        else:
            at += 1
    return [", ".join(line) for line in words]


def draw(name: str, kept: Mapping[str, Any]) -> None:
    """NAME.svg from what is kept: a mean for each point, with its interval where there are replications."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import NullLocator, ScalarFormatter

    from coalsim.stats.student import interval

    picture = PICTURES[name]
    style = {"svg.hashsalt": name, "svg.fonttype": "none", "font.size": 9, "font.family": "sans-serif"}
    with matplotlib.rc_context(style):
        figure, axes = pyplot.subplots(figsize=(6.4, 3.6), layout="constrained")
        names = shortened(list(kept["curves"]))
        for at, (curve, points) in enumerate(kept["curves"].items()):
            are_numbers = all(isinstance(point[0], int | float) for point in points)
            xs = [point[0] for point in points] if are_numbers else [str(point[0]) for point in points]
            spans = [interval(point[1:]) for point in points]
            axes.errorbar(
                xs,
                [span.mean * picture.scale for span in spans],
                yerr=[(span.half_width or 0.0) * picture.scale for span in spans],
                label=(picture.names or {}).get(curve, names[at]),
                color=COLOURS[at % len(COLOURS)],
                marker=MARKS[at % len(MARKS)],
                linestyle=("-", "--", ":")[at // len(COLOURS) % 3],
                markersize=4,
                linewidth=1.2,
                capsize=2,
            )
        if "x" in picture.log:
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter(ScalarFormatter())
            axes.set_xticks(sorted({point[0] for points in kept["curves"].values() for point in points}))
            axes.xaxis.set_minor_locator(NullLocator())
        if "y" in picture.log:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        axes.set_xlabel(kept["x"])
        axes.set_ylabel(picture.label)
        axes.set_title(kept["title"], loc="left", fontsize=10)
        axes.grid(alpha=0.3, linewidth=0.5)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
        figure.savefig(HERE / f"{name}.svg", metadata={"Date": None, "Creator": None})
        pyplot.close(figure)


def main() -> None:
    """Run and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="studies; all of the gallery")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--draw", action="store_true", help="draw only")
    parser.add_argument("--folder", type=Path, help="keeps the sweeps' folders, to go on with")
    options = parser.parse_args()
    for name in options.names or PICTURES:
        file = HERE / f"{name}.json"
        if not options.draw:
            with TemporaryDirectory() as made:
                kept = measured(name, options.jobs, (options.folder or Path(made)) / f"full-{name}")
            file.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        draw(name, json.loads(file.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
