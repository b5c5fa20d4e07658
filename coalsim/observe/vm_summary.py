"""The summary's part about virtual memory: operations, shootdowns, TLBs, faults, the oracle's verdict.

Stale uses within the policy's contract are counted; each broken promise is shown in full,
since it means that the policy is wrong and the run's numbers are worth nothing.
"""

from collections.abc import Iterator
from types import MappingProxyType

from coalsim.guarded import clean
from coalsim.mm.cache.counts import FileCounts
from coalsim.mm.virt.counts import VmCounts
from coalsim.observe import numbers
from coalsim.observe.document import ResultDocument
from coalsim.observe.operations import operations_table
from coalsim.observe.quantities import Count, Latency
from coalsim.observe.tables import PLAIN, Style, Table, columns, render
from coalsim.observe.vm_document import FindingEntry, OracleEntry, VirtualMemoryEntry

FILE_OUTCOMES = MappingProxyType(
    {
        "read_faults": "file read",
        "private_writes": "file copied at its first write",
        "private_copies": "file copied after a read",
        "shared_writes": "file written",
        "made_writable": "file written after a read",
        "bus_errors": "beyond the end of the file",
    }
)
"""In the words of the line of faults."""


def vm_summary(document: ResultDocument, style: Style = PLAIN) -> Iterator[str]:
    """Tables and lines, each ending in a newline."""
    if document.get("operations"):
        yield render(operations_table(document["operations"]), style)
    if "vm" in document:
        counts = document["vm"]
        if counts["shootdowns"].get("flushes"):
            yield render(_shootdown_table(counts, document.get("shootdown_ns")), style)
        yield render(_tlb_table(counts), style)
        yield "\n".join([_faults(counts), *oracle_lines(document.get("oracle"))]) + "\n"


def _shootdown_table(counts: VirtualMemoryEntry, latency: Latency | None) -> Table:
    """One row; columns that not every policy has are there if they are not zero."""
    done = counts["shootdowns"]
    heads, cells = ["policy"], [counts["policy"]]
    always = ("flushes", "local", "remote", "targets", "interrupts", "joined", "ranged", "full", "up_to_date")
    for name in (*always, *(name for name in done if name not in always and name != "pages" and done[name])):
        heads.append(clean(name).replace("_", "-").replace(" ", "-") or "-")
        cells.append(numbers.count(done.get(name, 0)))
    for name, time in _columns_of(latency):
        heads.append(f"{name}-ns")
        cells.append(time)
    return Table(
        columns(" ".join(heads)),
        (tuple(cells),),
        title="shootdowns (local: nobody else had to be asked; joined: into a handler yet to start; "
        "ranged + full + up-to-date = targets + flushes, where handlers flush, nobody has switched away by "
        "then and no flush is put off; latency: until the last answer, of those that reached others)",
    )


def _columns_of(latency: Latency | None) -> tuple[tuple[str, str], ...]:
    if latency is None:
        return (("mean", "-"), ("p50", "-"), ("p99", "-"))
    return (
        ("mean", numbers.ns(latency["mean"])),
        ("p50", numbers.ns(latency["p50"])),
        ("p99", numbers.ns(latency["p99"])),
    )


def _tlb_table(counts: VirtualMemoryEntry) -> Table:
    tlb = counts["tlb"]
    hits, misses = (tlb.get("hits_l1", 0), tlb.get("hits_l2", 0)), tlb.get("misses", 0)
    cells = (*hits, misses)
    rest = (
        counts["walks"],
        counts["table_dram_reads"],
        counts["context_switches"],
        counts["switch_flushes"],
    )
    row = (
        "all CPUs",
        *(numbers.count(number) for number in cells),
        numbers.share(misses, sum(cells)),
        *(numbers.count(number) for number in rest),
    )
    return Table(
        columns("tlb l1-hits l2-hits misses miss% walks dram-reads switches switch-flushes"),
        (row,),
        title="TLBs (dram-reads: of page tables; switch-flushes: all entries of a space had to go, at a "
        "switch or when a CPU that idled with it went on)",
    )


def _faults(counts: VirtualMemoryEntry) -> str:
    """What became of the faults, which adds up; what else was counted; what was done with files."""
    faults, files = counts["faults"], counts.get("files", {})
    done = [(name, faults[name]) for name in VmCounts.OUTCOMES if faults.get(name)]
    done += [(FILE_OUTCOMES[name], files[name]) for name in FileCounts.OUTCOMES if files.get(name)]
    open_ended = faults.get("faults", 0) - sum(number for _, number in done)
    parts = [_named(name, number) for name, number in done]
    if round(open_ended):
        why = "not over, or out of memory" if open_ended > 0 else "begun before the measured time"
        parts.append(f"{why} {_grouped(abs(open_ended))}")
    others = [
        _named(name, number)
        for name, number in faults.items()
        if name != "faults" and name not in VmCounts.OUTCOMES and number
    ]
    lines = [f"page faults: {_grouped(faults.get('faults', 0))}" + (f": {', '.join(parts)}" if parts else "")]
    lines += [f"besides: {', '.join(others)}"] if others else []
    rest = [
        _named(name, number) for name, number in files.items() if name not in FileCounts.OUTCOMES and number
    ]
    return "\n".join(lines + ([f"files: {', '.join(rest)}"] if rest else []))


def _named(name: str, number: Count) -> str:
    return f"{clean(name).replace('_', ' ')} {_grouped(number)}"


def oracle_lines(oracle: OracleEntry | None) -> Iterator[str]:
    """The verdict, then each broken promise in full."""
    if oracle is None:
        yield "oracle: off; nobody checked whether translations were alive when they were used"
        return
    stale, broken = oracle["stale"], oracle["broken"]
    text = f"oracle: checked {_grouped(oracle['checked'])} uses: "
    text += f"{_grouped(stale)} stale within the policy's contract, "
    if stale:
        text = f"{text.removesuffix(', ')} (at most {numbers.span(oracle['worst_stale_ns'])} after the end), "
    yield text + (f"{_grouped(broken)} BROKEN PROMISES" if broken else "none broken")
    listed = [finding for finding in oracle["findings"] if finding["kind"] != "stale"] if broken else []
    for finding in listed:
        yield f"  {_told(finding)}"
    if broken > len(listed):
        yield f"  {_grouped(broken - len(listed))} more are only counted"


def _told(finding: FindingEntry) -> str:
    run = f"run {finding['run']}: " if "run" in finding else ""
    kind = (
        "used after its frame was given out again" if finding["kind"] == "reuse" else "used after the promise"
    )
    return f"{run}{kind}: {clean(finding['text'])}"


def _grouped(number: Count) -> str:
    """A count with its digits in groups, for sentences."""
    return f"{round(number):,}"
