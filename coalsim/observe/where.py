"""Where the time went: every CPU's time divided by cause, without remainder.

A cause is a text such as `lock:NAME:wait`, `line:NAME`, `handler` or `idle`; what
stands before its first colon is its group.  The table adds up all CPUs; a second one
shows each node (or each CPU) as shares by group.  `folded` is the same data as folded
stacks, for flame graph tools.

Invariant, checked here and said in the last line of the table: each CPU's times add
up to the simulated time, to the picosecond.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from coalsim.guarded import clean
from coalsim.observe import numbers
from coalsim.observe.document import ResultDocument
from coalsim.observe.quantities import Count
from coalsim.observe.tables import PLAIN, Column, Style, Table, columns, render
from coalsim.units import NS, US

_SHOWN_GROUPS = 8  # columns of the second table; the rest is added up as `other`

Causes = Mapping[str, Count]


class CpuGroup(NamedTuple):
    """Some CPUs whose times are added up."""

    name: str
    cpus: tuple[str, ...]  # keys of the document's `time`


def group_of(cause: str) -> str:
    """The part of a cause before its first colon."""
    return cause.partition(":")[0]


def added(times: Mapping[str, Causes], cpus: Sequence[str]) -> dict[str, Count]:
    """Time of each cause over some CPUs, largest first."""
    total: dict[str, Count] = {}
    for cpu in cpus:
        for cause, time in times[cpu].items():
            total[cause] = total.get(cause, 0) + time
    return largest_first(total)


def grouped(causes: Causes) -> dict[str, Count]:
    """Time of each group of causes, largest first."""
    total: dict[str, Count] = {}
    for cause, time in causes.items():
        total[group_of(cause)] = total.get(group_of(cause), 0) + time
    return largest_first(total)


def largest_first(times: Causes) -> dict[str, Count]:
    """The same times in the order in which tables show them."""
    return dict(sorted(times.items(), key=lambda item: (-item[1], item[0])))


def in_order(cpus: Sequence[str] | Mapping[str, Causes]) -> list[str]:
    """CPU keys by number."""
    return sorted(cpus, key=int)


def node_groups(document: ResultDocument) -> list[CpuGroup]:
    """One group for each node; one of all CPUs where the document does not tell the nodes."""
    cpus = in_order(document["time"])
    nodes = document.get("cpu_nodes")
    if nodes is None:
        return [CpuGroup("all", tuple(cpus))]
    members: dict[int, list[str]] = {}
    for cpu in cpus:
        members.setdefault(nodes[int(cpu)], []).append(cpu)
    return [CpuGroup(f"node{node}", tuple(members[node])) for node in sorted(members)]


def cpu_groups(document: ResultDocument) -> list[CpuGroup]:
    """One group for each CPU."""
    return [CpuGroup(f"cpu{cpu}", (cpu,)) for cpu in in_order(document["time"])]


AT_REST = ("idle", "tick", "handler", "steal")
"""All that a CPU without a thread of its own can spend time on."""


def used_cpus(times: Mapping[str, Causes]) -> list[str]:
    """CPUs that ran something; all of them if none did."""
    used = [cpu for cpu in in_order(times) if any(cause not in AT_REST for cause in times[cpu])]
    return used or in_order(times)


def cause_table(document: ResultDocument, style: Style = PLAIN, causes_shown: int | None = None) -> Table:
    """All CPUs that ran something together: groups, their causes below them, share and bar.

    Args:
        document: the result.
        style: whether bars may be Unicode.
        causes_shown: rows for single causes, the largest of all; None shows all.
    """
    used = used_cpus(document["time"])
    resting = len(document["time"]) - len(used)
    causes = added(document["time"], used)
    whole = sum(causes.values())
    shown = list(causes)[:causes_shown]
    rows = []
    for group, time in grouped(causes).items():
        rows.append(_cause_row(group, time, whole, style))
        parts = [cause for cause in shown if group_of(cause) == group and cause != group]
        rows += [_cause_row(f"  {cause}", causes[cause], whole, style) for cause in parts]
    rows.append(("total", _us(whole), numbers.share(whole, whole), ""))
    return Table(
        (*columns("cause time-us share%"), Column("", "left")),
        tuple(rows),
        title="time by cause, "
        + ("1 CPU" if len(used) == 1 else f"{len(used)} CPUs together")
        + (f" ({resting} more had no work)" if resting else ""),
        note=verdict(document),
        totals=1,
    )


def _cause_row(name: str, time: Count, whole: Count, style: Style) -> tuple[str, ...]:
    return (name, _us(time), numbers.share(time, whole), style.bar(time / whole) if whole else "")


def _us(ps: Count) -> str:
    return f"{ps / US:.3f}"


def group_table(document: ResultDocument, groups: Sequence[CpuGroup], title: str) -> Table:
    """Shares in percent by group of causes, one row for each group of CPUs."""
    total = grouped(added(document["time"], in_order(document["time"])))
    shown, hidden = list(total)[:_SHOWN_GROUPS], list(total)[_SHOWN_GROUPS:]
    heads = ["cpus", "count", "busy%", *(f"{clean(name).replace(' ', '-')}%" for name in shown)]
    rows = []
    for group in (*groups, CpuGroup("total", tuple(document["time"]))):
        times = grouped(added(document["time"], group.cpus))
        whole = sum(times.values())
        cells = [numbers.share(times.get(name, 0), whole) for name in shown]
        if hidden:
            cells.append(numbers.share(sum(times.get(name, 0) for name in hidden), whole))
        busy = numbers.share(whole - times.get("idle", 0), whole)
        rows.append((group.name, str(len(group.cpus)), busy, *cells))
    if hidden:
        heads.append("other%")
    return Table(columns(" ".join(heads)), tuple(rows), title=title, totals=1)


def time_faults(document: ResultDocument) -> list[str]:
    """Each CPU whose times do not add up to the simulated time, in words."""
    expected = document["sim_time_ps"]
    faults = []
    for cpu in in_order(document["time"]):
        found = sum(document["time"][cpu].values())
        if not _same(found, expected):
            faults.append(f"CPU {cpu} adds up to {found} ps, {found - expected:+} ps off")
    return faults


def _same(found: Count, expected: Count) -> bool:
    """Whole numbers agree exactly; means over replications up to the rounding of their sum."""
    if isinstance(found, int) and isinstance(expected, int):
        return found == expected
    return abs(found - expected) <= 1e-9 * max(abs(expected), 1)


def verdict(document: ResultDocument) -> str:
    """The last line of the table: whether the time of each CPU is accounted for."""
    faults = time_faults(document)
    if faults:
        more = f" and {len(faults) - 3} more CPUs" if len(faults) > 3 else ""
        return "NOT ACCOUNTED FOR: " + "; ".join(faults[:3]) + more
    cpus, expected = len(document["time"]), document["sim_time_ps"]
    if all(isinstance(time, int) for causes in document["time"].values() for time in causes.values()):
        return f"each of the {cpus} CPUs adds up to the simulated {expected} ps exactly"
    return f"each of the {cpus} CPUs adds up to the mean of {expected:.0f} simulated ps"


def where_text(document: ResultDocument, style: Style = PLAIN, per_cpu: bool = False) -> str:
    """Both tables: shares by node or by CPU, then all causes of all CPUs together."""
    groups = cpu_groups(document) if per_cpu else node_groups(document)
    title = f"time by {'CPU' if per_cpu else 'node'}, shares in percent"
    return (
        render(group_table(document, groups, title), style)
        + "\n"
        + render(cause_table(document, style), style)
    )


def folded(document: ResultDocument) -> str:
    """Folded stacks, ``cpu0;lock;zone;wait 1234``, in whole ns; causes below half a ns are left out."""
    lines = []
    for cpu in in_order(document["time"]):
        for cause, time in sorted(document["time"][cpu].items()):
            weight = round(time / NS) if isinstance(time, float) else (time + NS // 2) // NS
            if weight:
                lines.append(f"{stack(f'cpu{cpu}', cause)} {weight}\n")
    return "".join(lines)


def stack(root: str, cause: str) -> str:
    """A cause below what it is a part of, with a frame for each of its words between colons."""
    return ";".join((_frame(root), *(_frame(part) for part in cause.split(":") if part)))


def _frame(name: str) -> str:
    """A name without the two marks that folded stacks use themselves."""
    return clean(name).replace(";", ",").replace(" ", "_")
