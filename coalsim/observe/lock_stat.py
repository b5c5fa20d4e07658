"""The lock table as /proc/lock_stat prints it, version 0.4.

One block for each lock class: its row (a lock that is both read and written has two,
marked -W and -R), up to four places that waited, up to four places that were waited
for, and a rule of dots.  Times are us with two decimals.  Where the kernel prints the
address of a call site, `[<simulated>]` stands: our sites have names only.
The first line says that the data is simulated.
Source: kernel/locking/lockdep_proc.c of Linux 6.18, seq_header(), seq_stats(), snprint_time().
"""

from collections.abc import Iterator, Sequence

from coalsim.guarded import clean
from coalsim.observe.document import LockEntry, ResultDocument
from coalsim.observe.quantities import Nanoseconds

POINTS = 4  # LOCKSTAT_POINTS
_WIDTH = 40 + 1 + 12 * (14 + 1)
_HEADINGS = (
    "con-bounces",
    "contentions",
    "waittime-min",
    "waittime-max",
    "waittime-total",
    "waittime-avg",
    "acq-bounces",
    "acquisitions",
    "holdtime-min",
    "holdtime-max",
    "holdtime-total",
    "holdtime-avg",
)


def lock_stat(document: ResultDocument) -> str:
    """The whole file; classes with the most contentions come first, as in the kernel."""
    lines = [
        f"# coalsim {clean(document['coalsim'])} simulated, lock_stat layout",
        "lock_stat version 0.4",
        "-" * _WIDTH,
        f"{'class name':>40} " + " ".join(f"{heading:>14}" for heading in _HEADINGS),
        "-" * _WIDTH,
        "",
    ]
    for entries in _classes(document["locks"]):
        lines += _block(entries)
    return "\n".join(lines) + "\n"


def _classes(locks: Sequence[LockEntry]) -> list[list[LockEntry]]:
    """Rows of one name together, the writing one first."""
    by_name: dict[str, list[LockEntry]] = {}
    for entry in locks:
        if entry["acquisitions"]:
            by_name.setdefault(entry["name"], []).append(entry)
    for entries in by_name.values():
        entries.sort(key=lambda entry: (_is_read(entry), entry["type"]))
    return sorted(
        by_name.values(), key=lambda entries: (-sum(e["contentions"] for e in entries), entries[0]["name"])
    )


def _is_read(entry: LockEntry) -> bool:
    return entry["type"].endswith(":R")


def _block(entries: Sequence[LockEntry]) -> Iterator[str]:
    name = clean(entries[0]["name"])
    reads = any(_is_read(entry) for entry in entries)
    for entry in entries:
        label = f"{name:>38}-{'R' if _is_read(entry) else 'W'}:" if reads else f"{name:>40}:"
        yield label + _columns(entry)
    if not any(entry["contentions"] for entry in entries):
        return
    waiters = [(site["site"], site["contentions"]) for entry in entries for site in entry["waiters"]]
    holders = [(site["site"], site["count"]) for entry in entries for site in entry["holders"]]
    underline = f"{'-' * (len(name) + 2 * reads):>40}"
    for points in (waiters, holders):
        points.sort(key=lambda point: (-point[1], point[0]))
        if points:
            yield underline
        for site, count in points[:POINTS]:
            yield f"{name:>40} {round(count):14} {'[<simulated>]':>29} {clean(site)}"
    yield from ("", "." * _WIDTH, "")


def _columns(entry: LockEntry) -> str:
    waits = (entry["waittime_min"], entry["waittime_max"], entry["waittime_total"], entry["waittime_avg"])
    holds = (entry["holdtime_min"], entry["holdtime_max"], entry["holdtime_total"], entry["holdtime_avg"])
    waited = f"{round(entry['con_bounces']):14} {round(entry['contentions']):14}" + _times(waits)
    held = f"{round(entry['acq_bounces']):14} {round(entry['acquisitions']):14}" + _times(holds)
    return f"{waited} {held}"


def _times(times: Sequence[Nanoseconds]) -> str:
    return "".join(f" {_us(time):>14}" for time in times)


def _us(time: Nanoseconds) -> str:
    """us with two decimals, rounded as the kernel does: 5 ns up, then cut."""
    whole, rest = divmod(int(time) + 5, 1000)
    return f"{whole}.{rest // 10:02}"
