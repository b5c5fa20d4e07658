"""Write `docs/predictions.md`: the words of `words.md` beside this file, with the tables of `sweep.csv`.

    python docs/predictions/page.py [--check]

Every `{{table}}` in the words is replaced; no table is typed.  With `--check` nothing is written:
it fails if the page is not what it would be, or if points of the sweep are missing.
"""

import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from sweep import LOCKS, MACHINES, POLICIES, Point, points

HERE = Path(__file__).parent
PAGE = HERE.parent / "predictions.md"
Rows = Sequence[Mapping[str, str]]


def rows() -> Rows:
    """All points of the sweep."""
    with (HERE / "sweep.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def rates(found: Rows, study: str, machine: str) -> str:
    """Million operations per second over CPUs, by lock and flush."""
    own = {
        (p["mode"], p["lock"], p["policy"], int(p["cpus"])): float(p["ops_per_s"]) / 1e6
        for p in found
        if p["study"] == study and p["machine"] == machine and p["mib"] != "128"
    }
    kinds = [("threads", lock, policy, lock, policy) for lock in LOCKS for policy in POLICIES]
    kinds.append(("processes", "per_vma", "concurrent", "processes", "-"))
    body = [
        [*names, *(f"{own[mode, lock, policy, cpus]:.2f}" for cpus in MACHINES[machine])]
        for mode, lock, policy, *names in kinds
        if (mode, lock, policy, MACHINES[machine][0]) in own
    ]
    return table(["lock", "flush", *map(str, MACHINES[machine])], body)


def shootdowns(found: Rows, machine: str) -> str:
    """Mean microseconds of a shootdown over CPUs, by flush."""
    own = {
        (p["policy"], int(p["cpus"])): float(p["shootdown_mean_ns"]) / 1e3
        for p in found
        if p["study"] == "tlb_flush2" and p["machine"] == machine and p["lock"] == "per_vma"
    }
    counts = [cpus for cpus in MACHINES[machine] if cpus > 1]
    body = [[policy, *(f"{own[policy, cpus]:.2f}" for cpus in counts)] for policy in POLICIES]
    return table(["flush", *map(str, counts)], body)


def large(found: Rows) -> str:
    """The points whose areas are as large as in the original, beside the same with the small ones."""
    key = ("machine", "mode", "lock", "policy", "cpus")
    small = {tuple(p[k] for k in key): p for p in found if p["study"] == "page_fault1" and p["mib"] != "128"}
    body = []
    for point in found:
        if point["mib"] == "128":
            other = small[tuple(point[k] for k in key)]
            figures = [f"{float(p['ops_per_s']) / 1e6:.3f}" for p in (point, other)]
            body.append([point["machine"], point["cpus"], *figures])
    return table(["machine", "processes", "128 MiB each, million faults per second", "4 MiB each"], body)


def page(found: Rows) -> str:
    """The whole page."""
    text = (HERE / "words.md").read_text(encoding="utf-8")
    tables = {
        "points": str(len(found)),
        "broken": str(sum(int(point["broken"]) for point in found)),
        "large": large(found),
    }
    for machine in MACHINES:
        tables[f"shootdowns:{machine}"] = shootdowns(found, machine)
        for study in ("tlb_flush2", "page_fault1"):
            tables[f"{study}:{machine}"] = rates(found, study, machine)
    for name, value in tables.items():
        assert f"{{{{{name}}}}}" in text, f"words.md does not ask for {name}"
        text = text.replace(f"{{{{{name}}}}}", value)
    assert "{{" not in text, "words.md asks for a table that is not made"
    return text


def main() -> None:
    """Write the page, or check it."""
    found = rows()
    kept = {tuple(row[name] for name in Point._fields) for row in found}
    missing = [point for point in points() if point not in kept]
    if "--check" not in sys.argv:
        PAGE.write_text(page(found), encoding="utf-8")
    elif missing:
        sys.exit(f"sweep.csv lacks {missing[0]}")
    elif PAGE.read_text(encoding="utf-8") != page(found):
        sys.exit(f"{PAGE.name} is not what page.py writes")


if __name__ == "__main__":
    main()
