"""Draw the figure of `docs/predictions.md` from the sweep's file.

python docs/predictions/plot.py sweep.csv predictions.svg      (needs matplotlib)
"""

import csv
import sys
from collections import defaultdict
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

TITLES = {"milan2-nps4": "Milan, 2 x 48 cores", "icx2": "Ice Lake, 2 x 32 cores, 2 threads each"}
STYLES = {"rwsem": "--", "per_vma": "-"}
COLOURS = {"linux": "#7f7f7f", "concurrent": "#1f77b4", "latr": "#2ca02c", "invlpgb": "#d62728"}


def main() -> None:
    """Four panels: two benchmarks on two machines."""
    source, target = map(Path, sys.argv[1:3])
    curves: dict[tuple[str, str, str, str, str], list[tuple[int, float]]] = defaultdict(list)
    with source.open(newline="") as lines:
        for row in csv.DictReader(lines):
            if row["mib"] != "128":
                key = row["study"], row["machine"], row["mode"], row["lock"], row["policy"]
                curves[key].append((int(row["cpus"]), float(row["ops_per_s"]) / 1e6))
    figure, panels = plt.subplots(2, 2, figsize=(11, 8), sharex="col")
    for across, study in enumerate(("tlb_flush2", "page_fault1")):
        for down, machine in enumerate(TITLES):
            axes = panels[across][down]
            for (which, where, mode, lock, policy), points in sorted(curves.items()):
                if (which, where) != (study, machine):
                    continue
                points.sort()
                label = f"{policy}, {lock}" if mode == "threads" else "processes"
                style = STYLES[lock] if mode == "threads" else ":"
                colour = COLOURS[policy] if mode == "threads" else "black"
                axes.plot(*zip(*points, strict=True), style, marker="o", ms=3, color=colour, label=label)
            axes.set(xscale="log", yscale="log", title=f"{study}, {TITLES[machine]}")
            axes.set_ylabel("million operations per second")
            axes.set_xlabel("CPUs")
            axes.grid(visible=True, which="major", alpha=0.3)
    panels[1][0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(target)


if __name__ == "__main__":
    main()
