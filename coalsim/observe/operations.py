"""Where the latency of operations went: a munmap, a fault, an mprotect, by cause.

The time of an operation is what its thread's CPU spent between its begin and its end, so
its causes add up to its latency; `asleep` is the time that the thread was off its CPU.
An operation inside another one (a fault while the kernel copies to user memory) counts
in both.

Invariant, checked here and said below the table: the causes of an operation add up to
its number times its mean.
"""

from coalsim.observe import numbers
from coalsim.observe.quantities import Nanoseconds
from coalsim.observe.tables import PLAIN, Column, Style, Table, columns, render
from coalsim.observe.vm_document import OperationEntry
from coalsim.observe.where import group_of, grouped, largest_first, stack

_TOLERANCE = 1e-9  # sums of rounded nanoseconds against a rounded mean


def operations_table(operations: dict[str, OperationEntry]) -> Table:
    """All operations, the one that took longest in all first."""
    rows = []
    for name, entry in sorted(operations.items(), key=lambda item: (-_total(item[1]), item[0])):
        latency, total = entry["latency_ns"], _total(entry)
        cause = next(iter(largest_first(entry["by_cause_ns"])), "")
        share = numbers.share(entry["by_cause_ns"][cause], total) if cause else "-"
        cells = (latency["mean"], latency["p50"], latency["p99"], latency["max"])
        rows.append(
            (
                name,
                numbers.count(latency["count"]),
                numbers.us(total),
                *(numbers.ns(time) for time in cells),
                share,
                cause,
            )
        )
    heads = columns("operation count total-us mean-ns p50-ns p99-ns max-ns share%")
    return Table(
        (*heads, Column("biggest-cause", "left")),
        tuple(rows),
        title="operations, most time first (coalsim where --op NAME shows all causes of one)",
    )


def operation_text(name: str, entry: OperationEntry, style: Style = PLAIN) -> str:
    """One operation by cause: groups, their causes below them, share, time per operation, bar."""
    return render(operation_table(name, entry, style), style)


def operation_table(name: str, entry: OperationEntry, style: Style = PLAIN) -> Table:
    """Times are sums over all operations of that name."""
    latency, causes = entry["latency_ns"], largest_first(entry["by_cause_ns"])
    whole, count = _total(entry), latency["count"]

    def row(label: str, time: Nanoseconds) -> tuple[str, ...]:
        each = numbers.ns(time / count) if count else "-"
        bar = style.bar(time / whole) if whole else ""
        return (label, numbers.us(time), numbers.share(time, whole), each, bar)

    rows = []
    for group, time in grouped(causes).items():
        rows.append(row(group, time))
        rows += [
            row(f"  {cause}", causes[cause])
            for cause in causes
            if group_of(cause) == group and cause != group
        ]
    rows.append((*row("total", whole)[:-1], ""))
    spans = (
        ("mean", latency["mean"]),
        ("p50", latency["p50"]),
        ("p99", latency["p99"]),
        ("max", latency["max"]),
    )
    return Table(
        (*columns("cause total-us share% per-op-ns"), Column("", "left")),
        tuple(rows),
        title=f"{name}: {numbers.count(count)} operations; latency "
        + ", ".join(f"{word} {numbers.span(time)}" for word, time in spans),
        note=_verdict(entry),
        totals=1,
    )


def _total(entry: OperationEntry) -> Nanoseconds:
    return sum(entry["by_cause_ns"].values())


def _verdict(entry: OperationEntry) -> str:
    """Whether the whole latency is accounted for."""
    found, latency = _total(entry), entry["latency_ns"]
    expected = latency["count"] * latency["mean"]
    if abs(found - expected) > _TOLERANCE * max(abs(expected), 1):
        return f"NOT ACCOUNTED FOR: the causes add up to {found} ns, the latencies to {expected} ns"
    return "the causes add up to the latencies of all operations"


def folded_operation(name: str, entry: OperationEntry) -> str:
    """Folded stacks, ``munmap;lock;mmap_lock;wait 1234``, in whole ns over all operations."""
    lines = [
        f"{stack(name, cause)} {weight}\n"
        for cause, time in sorted(entry["by_cause_ns"].items())
        if (weight := round(time))
    ]
    return "".join(lines)
