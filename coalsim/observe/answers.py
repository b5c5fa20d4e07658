"""What a run's summary says in answer to the questions of single studies, and of what was injected.

    injected        each rule: how often it hit, of how many chances
    atomic          how far drivers that cannot wait dug into the zones' reserves
    ageing          how long huge blocks could be had
    planted leaks   how many of them scans found, and how soon

Everything is of the whole run, its warm-up included.
"""

from collections.abc import Iterator

from coalsim.guarded import clean
from coalsim.observe import numbers
from coalsim.observe.document import ResultDocument
from coalsim.observe.leak_document import PlantedLeak
from coalsim.observe.load_document import AgeingEntry, AtomicEntry, InjectedEntry
from coalsim.observe.tables import PLAIN, Column, Style, Table, columns, render

SITES_SHOWN = 5


def answers(document: ResultDocument, style: Style = PLAIN) -> Iterator[str]:
    """Tables and lines, each ending in a newline."""
    if "injected" in document:
        yield render(_injected(document["injected"], document.get("config", {})), style)
    if "atomic" in document:
        yield render(_atomic(document["atomic"]), style)
    if "ageing" in document:
        yield _ageing(document["ageing"])
    if document.get("planted_leaks"):
        yield render(_planted(document["planted_leaks"], document), style)


def _injected(entry: InjectedEntry, config: dict[str, object]) -> Table:
    rows = [
        (
            numbers.count(rule["hits"]),
            numbers.count(rule["chances"]) if "chances" in rule else "",
            _words(rule["name"], config),
        )
        for rule in entry.get("rules", [])
    ]
    sites: dict[str, float] = {}
    for refused in entry["refused"].values():
        for site, count in refused.items():
            sites[site] = sites.get(site, 0) + count
    most = sorted(sites.items(), key=lambda item: (-item[1], item[0]))
    told = ", ".join(f"{clean(site)} {numbers.count(count)}" for site, count in most[:SITES_SHOWN])
    more = f", {len(most) - SITES_SHOWN} more call sites" if len(most) > SITES_SHOWN else ""
    return Table(
        (*columns("hits chances", 0), Column("rule", "left")),
        tuple(rows),
        title="injected faults (of the whole run, its warm-up included)",
        note=f"refused at: {told}{more}" if told else "",
    )


def _words(name: str, config: dict[str, object]) -> str:
    """The rule as the study has it, where that is known."""
    key, _, place = name.removeprefix("inject.").removesuffix("]").partition("[")
    section = config.get("inject")
    texts = section.get(key) if isinstance(section, dict) else None
    if isinstance(texts, list) and place.isdigit() and int(place) < len(texts):
        return f"{key} {texts[int(place)]}"
    return name


def _atomic(entry: AtomicEntry) -> Table:
    rows = [
        (
            zone,
            numbers.count(stop),
            numbers.count(entry["atomic_stop"][zone]),
            numbers.count(entry["lowest_free"][zone]),
            numbers.share(max(stop - entry["lowest_free"][zone], 0), stop),
        )
        for zone, stop in sorted(entry["ordinary_stop"].items())
    ]
    bursts, short, dropped = (
        numbers.count(entry["bursts"]),
        numbers.count(entry["bursts_short"]),
        numbers.count(entry["pages_dropped"]),
    )
    return Table(
        columns("zone ordinary-stop atomic-stop lowest-free eaten%"),
        tuple(rows),
        title=f"atomic bursts: {bursts}, of which {short} got less than they asked for; "
        f"{dropped} pages dropped (stop: free pages at "
        "which requests pass a zone over; eaten: of what ordinary ones leave, at the lowest)",
    )


def _ageing(entry: AgeingEntry) -> str:
    asked, had = entry["huge_asked"], entry["huge_had"]
    parts = entry["huge_had_percent"]
    tenths = " ".join(f"{part:g}" for part in parts)
    course = f"; percent, by tenths of the requests: {tenths}" if asked >= len(parts) else ""
    failed = ", ".join(f"{clean(kind)} {numbers.count(count)}" for kind, count in entry["failed"].items())
    return (
        f"huge blocks: asked for {numbers.count(asked)}, to be had {numbers.count(had)} "
        f"({numbers.share(had, asked)} %){course}\n"
        f"requests that failed: {failed or 'none'}\n"
    )


def _planted(planted: list[PlantedLeak], document: ResultDocument) -> Table:
    runs = len(document.get("runs", [])) or 1
    waits = _waits(document)
    rows = []
    for row in planted:
        mine = waits.get(row["site"], [])
        rows.append(
            (
                row["site"],
                numbers.count(row["objects"]),
                numbers.count(row["bytes"]),
                numbers.count(len(mine) / runs),
                numbers.us(sum(mine) / len(mine)) if mine else "",
                numbers.us(max(mine)) if mine else "",
            )
        )
    return Table(
        columns("site lost bytes found wait-mean-us wait-max-us"),
        tuple(rows),
        title="leaks that the load has planted (wait: from the loss until a scan reported it)",
    )


def _waits(document: ResultDocument) -> dict[str, list[float]]:
    """For each site, how long those that scans found had been lost, in ns."""
    leaks = document.get("leaks")
    reports = leaks["kmemleak"]["unreferenced"] if leaks is not None and "kmemleak" in leaks else []
    found = {(report.get("run", 1), report["address"]): report["found_ns"] for report in reports}
    waits: dict[str, list[float]] = {}
    for lost in document.get("planted_objects", []):
        place = (lost.get("run", 1), lost["address"])
        if place in found:
            waits.setdefault(lost["site"], []).append(found[place] - lost["lost_ns"])
    return waits
