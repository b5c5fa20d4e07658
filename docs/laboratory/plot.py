"""Draw the figure of `docs/laboratory.md` from the sweep's files.

python docs/laboratory/plot.py laboratory.svg      (needs matplotlib)
"""

import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from questions import QUESTIONS
from sweep import command, kept

mpl.rcParams["svg.hashsalt"] = "coalsim"  # the same file from the same numbers

PANELS = (
    ("shootdown_cost", "call", "one page from N CPUs", "CPUs", "us per call", ("log", "log")),
    (
        "next_bottleneck",
        "rate",
        "map, write, unmap by threads",
        "CPUs",
        "million rounds per second",
        ("log", "log"),
    ),
    ("fault_locks", "rate", "faults by threads", "CPUs", "million faults per second", ("log", "linear")),
    (
        "guest_flush",
        "rate",
        "flushes of a guest with 8 vCPUs",
        "share of the time that a vCPU is away",
        "thousand rounds per second",
        ("linear", "log"),
    ),
)
MARKS = "os^vD<>pP*Xh"


def draw(axes: Axes, study: str, name: str) -> None:
    """The curves of one table: a row each."""
    (question,) = (question for question in QUESTIONS if question.study == study)
    table = question.tables[name]
    rows = kept(question)
    for mark, (label, row) in zip(MARKS, table.rows.items(), strict=False):
        points = [
            (float(at), float(table.cell(rows[command(study, {**table.base, **row, **column})])))
            for at, column in table.columns.items()
        ]
        axes.plot(*zip(*points, strict=True), marker=mark, ms=4, lw=1, label=label)


def main() -> None:
    """Four panels."""
    figure, grid = plt.subplots(2, 2, figsize=(11, 8.5))
    for axes, (study, name, title, across, up, (x, y)) in zip(grid.flat, PANELS, strict=True):
        axes.set_prop_cycle(color=plt.get_cmap("tab20").colors[::2] + plt.get_cmap("tab20").colors[1::2])
        draw(axes, study, name)
        axes.set(xscale=x, yscale=y, title=f"{title} ({study})", xlabel=across, ylabel=up)
        if study == "shootdown_cost":
            axes.set_ylim(0.3, 5_000)  # room for twelve names
        if x == "log":
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter("{x:.0f}")
        axes.grid(visible=True, which="major", alpha=0.3)
        axes.legend(fontsize=7, ncols=3 if study == "shootdown_cost" else 1)
    figure.tight_layout()
    figure.savefig(Path(sys.argv[1]), metadata={"Date": None})


if __name__ == "__main__":
    main()
