"""Run the sweep of `docs/predictions.md`: two benchmarks, two machines, locks and flush policies.

    python docs/predictions/sweep.py OUT.csv [--jobs N] [--only tlb_flush2]

A row per point is written as soon as it is there; points that the file has are left out, so a
sweep that was stopped goes on.  `plot.py` draws the figure from the file.
"""

import argparse
import csv
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from coalsim.study.overrides import Setting
from coalsim.study.planning import open_study
from coalsim.study.run import run_study

MACHINES = {"milan2-nps4": (1, 2, 4, 8, 16, 36, 72, 96), "icx2": (1, 4, 16, 64, 128)}
LOCKS = ("rwsem", "per_vma")
POLICIES = ("linux", "concurrent", "latr", "invlpgb")
STUDIES = {
    "tlb_flush2": {"run.warmup": "300us", "run.duration": "1500us", "workload.mode": "threads"},
    "page_fault1": {
        "run.warmup": "2ms",
        "run.duration": "3ms",
        "workload.mode": "threads",
        "workload.mib": "4",
    },
}
COLUMNS = (
    "study",
    "machine",
    "mode",
    "mib",
    "lock",
    "policy",
    "cpus",
    "ops_per_s",
    "latency_mean_ns",
    "shootdown_mean_ns",
    "shootdown_p99_ns",
    "interrupts_per_shootdown",
    "stale",
    "broken",
)


class Point(NamedTuple):
    """One run of the sweep."""

    study: str
    machine: str
    mode: str
    mib: str
    lock: str
    policy: str
    cpus: str


def points() -> Iterator[Point]:
    """All of them; the one with 128 MiB per task last."""
    for study, settings in STUDIES.items():
        mib = settings.get("workload.mib", "1")
        for machine, counts in MACHINES.items():
            for cpus in counts:
                for lock in LOCKS:
                    for policy in POLICIES:
                        yield Point(study, machine, "threads", mib, lock, policy, str(cpus))
                if study == "page_fault1":
                    yield Point(study, machine, "processes", mib, "per_vma", "concurrent", str(cpus))
    for machine in MACHINES:
        yield Point("page_fault1", machine, "processes", "128", "per_vma", "concurrent", "16")


def measure(point: Point) -> dict[str, str]:
    """One point, as a row."""
    values = {
        **STUDIES[point.study],
        "machine": point.machine,
        "kernel.profile": "linux-6.18",
        "kernel.mmap_lock": point.lock,
        "kernel.shootdown": point.policy,
        "workload.cpus": point.cpus,
        "workload.mode": point.mode,
    }
    if point.lock == "rwsem":
        values["kernel.madvise_lock"] = "mmap"
    if point.study == "page_fault1":
        values["workload.mib"] = point.mib
    elif int(point.cpus) >= 36:  # the first mapping of so many threads takes a millisecond
        values["run.warmup"] = "2ms"
    if point.study == "page_fault1" and point.mode == "threads" and int(point.cpus) >= 16:
        values["run.duration"] = (
            "40ms"  # a round of all threads takes up to 27 ms, and its munmap belongs to it
        )
    if point.mib == "128":  # an area takes some 50 ms to fill
        values |= {"run.warmup": "20ms", "run.duration": "90ms"}
    settings = [Setting(key=key, value=value, option="sweep") for key, value in values.items()]
    result = run_study(open_study(point.study, settings))
    flushes = result.get("shootdown_ns", {"mean": 0, "p99": 0})
    counts = result.get("vm", {}).get("shootdowns", {})
    oracle = result.get("oracle", {})
    remote = counts.get("remote", 0)
    return {
        **point._asdict(),
        "ops_per_s": f"{result['throughput']['ops_per_s']:.0f}",
        "latency_mean_ns": f"{result.get('latency_ns', {}).get('mean', 0):.1f}",
        "shootdown_mean_ns": f"{flushes['mean']:.1f}",
        "shootdown_p99_ns": f"{flushes['p99']:.1f}",
        "interrupts_per_shootdown": f"{counts.get('interrupts', 0) / remote:.2f}" if remote else "0",
        "stale": str(oracle.get("stale", 0)),
        "broken": str(oracle.get("broken", 0)),
    }


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    done = set()
    if asked.out.exists():
        with asked.out.open(newline="") as lines:
            done = {tuple(row[name] for name in Point._fields) for row in csv.DictReader(lines)}
    todo = [point for point in points() if tuple(point) not in done and asked.only in ("", point.study)]
    is_new = not asked.out.exists()
    with asked.out.open("a", newline="") as file, ProcessPoolExecutor(asked.jobs) as pool:
        writer = csv.DictWriter(file, COLUMNS)
        if is_new:
            writer.writeheader()
        running = {pool.submit(measure, point): point for point in todo}
        for number, finished in enumerate(as_completed(running), start=1):
            writer.writerow(finished.result())
            file.flush()
            sys.stderr.write(f"{number} of {len(todo)}: {running[finished]}\n")


if __name__ == "__main__":
    main()
