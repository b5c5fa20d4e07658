"""What a run's summary says about memory pressure: counts, reclaimers, victims, a panic."""

from collections.abc import Iterator

from coalsim.guarded import clean
from coalsim.observe import numbers
from coalsim.observe.document import ResultDocument
from coalsim.observe.pressure_document import PressureEntry
from coalsim.observe.tables import PLAIN, Style, Table, columns, render

KILLS_SHOWN = 8


def pressure_summary(document: ResultDocument, style: Style = PLAIN) -> Iterator[str]:
    """Tables and lines, each ending in a newline."""
    entry = document.get("pressure")
    if entry is not None:
        counts = [(name, count) for name, count in sorted(entry["counts"].items()) if count]
        if counts:
            text = ", ".join(f"{clean(name)} {numbers.count(count)}" for name, count in counts)
            yield f"memory pressure: {text}\n"
        if any(row["runs"] for row in entry["kswapd"]):
            yield render(_kswapd_table(entry), style)
        if "reserve" in entry:
            reserve = entry["reserve"]
            size, taken, lowest = (numbers.count(reserve[key]) for key in ("size", "taken", "lowest"))
            yield f"emergency reserve: {size} frames, {taken} taken, {lowest} left at the least\n"
        if entry["kills"]:
            yield render(_kill_table(entry), style)
    if "panic" in document:
        yield f"the kernel panicked, and the run ended there: {clean(document['panic'].splitlines()[-1])}\n"


def _kswapd_table(entry: PressureEntry) -> Table:
    rows = [
        (
            str(row["node"]),
            numbers.count(row["runs"]),
            numbers.count(row["pgsteal_kswapd"]),
            "yes" if row["hopeless"] else "no",
        )
        for row in entry["kswapd"]
    ]
    return Table(columns("node runs pages-reclaimed gave-up"), tuple(rows), title="kswapd, by node")


def _kill_table(entry: PressureEntry) -> Table:
    kills = entry["kills"]
    rows = [
        (
            numbers.span(kill["time_ns"]),
            str(kill["pid"]),
            clean(kill["name"]),
            str(kill["points"]),
            str(kill["oom_score"]),
            str(kill["runner_up"]),
        )
        for kill in kills[:KILLS_SHOWN]
    ]
    more = f", the first {KILLS_SHOWN}" if len(kills) > KILLS_SHOWN else ""
    return Table(
        columns("at pid name points oom_score next-points"),
        tuple(rows),
        title=f"killed by the OOM killer: {len(kills)} processes{more}",
    )
