"""The tables of `coalsim leaks`: what is held, by call site and by age, and how it grew."""

from collections.abc import Callable, Sequence

from coalsim.errors import ConfigError, Problem
from coalsim.observe.document import ResultDocument
from coalsim.observe.kmemleak import kmemleak_text
from coalsim.observe.leak_document import KmemleakEntry, LeaksEntry
from coalsim.observe.numbers import count, share, span
from coalsim.observe.tables import PLAIN, Style, Table, columns, render

POINTS = 8
"""Times that the growth table shows; --json has all."""
_REMEDY = "run the study with --set kernel.leak_tracking=on"


def leaks_text(
    document: ResultDocument, sections: Sequence[str] = (), entries: int | None = None, style: Style = PLAIN
) -> str:
    """The wanted tables, or all; a blank line between them.

    Raises:
        ConfigError: the run did not track leaks, or the number of rows makes no sense.
    """
    leaks = leaks_of(document)
    _check_rows(entries)
    texts = [
        make(leaks, entries, style) for name, make in _SECTIONS.items() if not sections or name in sections
    ]
    if not leaks["live"]:
        kept = [text for text in texts if text] if leaks["sites"] else []
        texts = [f"nothing is held after {span(leaks['end_ns'])}\n", *kept]
    if not sections and "kmemleak" in leaks:
        texts.append(_scan_line(leaks["kmemleak"]))
    return "\n".join(texts)


def leaks_part(
    document: ResultDocument, sections: Sequence[str] = (), entries: int | None = None
) -> dict[str, object]:
    """The wanted parts, or all, as the document has them.

    Raises:
        ConfigError: as above.
    """
    leaks = leaks_of(document)
    _check_rows(entries)
    kept: dict[str, object] = {
        key: value for key, value in leaks.items() if not sections or key in sections or key not in _SECTIONS
    }
    if "sites" in kept:
        kept["sites"] = leaks["sites"][:entries]
    return kept


def leaks_summary(document: ResultDocument) -> list[str]:
    """Lines for the summary of a run that tracked leaks."""
    if "leaks" not in document:
        return []
    leaks = document["leaks"]
    text = f"held at the end: {count(leaks['live'])} objects and blocks in {count(leaks['bytes'])} bytes\n"
    return [text + (_scan_line(leaks["kmemleak"]) if "kmemleak" in leaks else "")]


def kmemleak_report(document: ResultDocument) -> str:
    """The objects that nothing points to, in the kernel's layout.

    Raises:
        ConfigError: the run did not scan.
    """
    leaks = leaks_of(document)
    if "kmemleak" not in leaks:
        remedy = f"{_REMEDY} --set kernel.kmemleak=on"
        raise ConfigError([Problem(key="--kmemleak", message="no scan in this result", remedy=remedy)])
    return kmemleak_text(leaks["kmemleak"]["unreferenced"])


def leaks_of(document: ResultDocument) -> LeaksEntry:
    """The part of the document.

    Raises:
        ConfigError: the run did not track leaks.
    """
    if "leaks" not in document:
        message = "nothing about leaks in this result"
        raise ConfigError([Problem(key="leaks", message=message, remedy=_REMEDY)])
    return document["leaks"]


def _check_rows(entries: int | None) -> None:
    if entries is not None and entries < 1:
        message, remedy = "no rows to print", "give a number from 1 up"
        raise ConfigError([Problem(key="--entries", value=str(entries), message=message, remedy=remedy)])


def _sites(leaks: LeaksEntry, entries: int | None, style: Style) -> str:
    rows = [
        (
            row["site"],
            row["cache"],
            count(row["live"]),
            count(row["bytes"]),
            share(row["bytes"], leaks["bytes"]),
            count(row["allocated"]),
            count(row["allocs"]),
            count(row["frees"]),
            span(row["oldest_ns"]) if row["live"] else "",
        )
        for row in leaks["sites"][:entries]
    ]
    left = len(leaks["sites"]) - len(rows)
    table = Table(
        columns=columns("site from live bytes % allocated allocs frees oldest", 2),
        rows=tuple(rows),
        title=f"live after {span(leaks['end_ns'])}: {count(leaks['live'])} in {count(leaks['bytes'])} bytes",
        note=f"{left} more call sites" if left > 0 else "",
    )
    return render(table, style)


def _ages(leaks: LeaksEntry, entries: int | None, style: Style) -> str:
    ages = leaks["ages"]
    if not leaks["live"]:
        return ""
    most = max((row["bytes"] for row in ages), default=0)
    rows = [
        (
            span(row["from_ns"]),
            span(ages[at + 1]["from_ns"]) if at + 1 < len(ages) else "",
            count(row["live"]),
            count(row["bytes"]),
            style.bar(row["bytes"] / most) if most else "",
        )
        for at, row in enumerate(ages)
        if row["live"]
    ]
    return render(Table(columns("age_from to live bytes share", 0), tuple(rows)), style)


def _growth(leaks: LeaksEntry, entries: int | None, style: Style) -> str:
    if "growth" not in leaks:
        return "bytes held over time: the runs differ in their times; see one with --run\n"
    growth = leaks["growth"]
    times = growth["times_ns"]
    points = dict.fromkeys((step * len(times) + POINTS - 1) // POINTS - 1 for step in range(1, POINTS + 1))
    shown = [at for at in points if 0 <= at < len(times)]
    heads = " ".join(span(times[at]).replace(" ", "") for at in shown)
    rows = [
        (row["site"], row["cache"], *(count(row["bytes"][at]) for at in shown))
        for row in growth["sites"][:entries]
    ]
    rows.append(("all", "", *(count(growth["bytes"][at]) for at in shown)))
    table = Table(columns(f"site from {heads}", 2), tuple(rows), title="bytes held after", totals=1)
    return render(table, style)


def _scan_line(kmemleak: KmemleakEntry) -> str:
    found = kmemleak["reported"]
    if not kmemleak["has_roots"]:
        return (
            "kmemleak: this load keeps its pointers where no scan looks, so nothing can be said about them\n"
        )
    return (
        f"kmemleak: {count(kmemleak['scans'])} scans, the longest {span(kmemleak['longest_ns'])}; "
        f"{count(found)} objects that nothing points to{', see coalsim leaks --kmemleak' if found else ''}\n"
    )


_SECTIONS: dict[str, Callable[[LeaksEntry, int | None, Style], str]] = {
    "sites": _sites,
    "ages": _ages,
    "growth": _growth,
}
