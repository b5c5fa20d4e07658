"""What `coalsim run` and `coalsim replay` print at the end: the whole answer on one screen.

From top to bottom: what was simulated, how fast it was, the answers to a study's own question, what
the trace held, what virtual
memory did, what the locks cost, what the allocators did, where the time went.  Parts that a run does not
have are left out.  Everything comes from the result document, and nothing that depends
on the host (its speed, its clock) is in it, so two runs with one seed print the same.
"""

from collections.abc import Iterator

from coalsim.guarded import clean
from coalsim.observe import numbers
from coalsim.observe.allocators import magazine_table, page_list_table
from coalsim.observe.answers import answers
from coalsim.observe.batch_summary import batch_lines
from coalsim.observe.document import IntervalEntry, ResultDocument, Throughput, Trace
from coalsim.observe.leaks import leaks_summary
from coalsim.observe.lock_table import lock_table
from coalsim.observe.memory_document import Memory
from coalsim.observe.pressure_summary import pressure_summary
from coalsim.observe.proc import buddyinfo
from coalsim.observe.quantities import Count, Latency
from coalsim.observe.safety_summary import safety_summary
from coalsim.observe.tables import PLAIN, Style, Table, columns, render
from coalsim.observe.vm_summary import vm_summary
from coalsim.observe.where import cause_table, group_table, node_groups
from coalsim.units import NS, format_size

LOCKS_SHOWN = 10
CAUSES_SHOWN = 10
CACHES_SHOWN = 8
ZONES_SHOWN = 6
NODES_SHOWN = 8


def summary(document: ResultDocument, style: Style = PLAIN) -> str:
    """The summary as text, ending in a newline."""
    parts = ["\n".join(_head(document)) + "\n"]
    if "intervals" in document:
        parts.append(render(_interval_table(document["intervals"]), style))
    parts += answers(document, style)
    if "trace" in document:
        parts.append("\n".join(_trace(document["trace"])) + "\n")
    parts += vm_summary(document, style)
    parts += pressure_summary(document, style)
    parts += leaks_summary(document)
    parts += safety_summary(document)
    if any(lock["acquisitions"] for lock in document["locks"]):
        parts.append(render(lock_table(document["locks"], document["time"], LOCKS_SHOWN), style))
    if "memory" in document:
        parts += _memory(document["memory"], style)
    if document["time"]:
        groups = node_groups(document)
        if 1 < len(groups) <= NODES_SHOWN:
            parts.append(render(group_table(document, groups, "time by node, shares in percent"), style))
        parts.append(render(cause_table(document, style, CAUSES_SHOWN), style))
    return style.fit("\n".join(parts))


def _head(document: ResultDocument) -> Iterator[str]:
    """Who, where and how long, then speed, then warnings; one line each."""
    version, study = clean(document["coalsim"]), clean(document["study"])
    machine, profile = clean(document["machine"]), clean(document["profile"])
    runs = document.get("runs", [])
    repeated = f"mean of {len(runs)} runs from " if runs else ""
    yield (
        f"coalsim {version} simulated: {study} on {machine} ({len(document['time'])} CPUs), "
        f"profile {profile}, {repeated}seed {document['seed']}, "
        f"{numbers.span(document['sim_time_ps'] / NS)} of simulated time"
    )
    phases = document.get("phases", {})
    if "latency_ns" in document or document["throughput"]["ops"]:
        latency = document.get("latency_ns")
        if any(latency == phase["latency_ns"] for phase in phases.values()):
            latency = None  # that of one phase, which has a line of its own below
        yield _speed("all operations", document["throughput"], latency)
    for name, phase in phases.items():
        yield _speed(clean(name), phase.get("throughput"), phase["latency_ns"])
    yield from batch_lines(document)
    for warning in document.get("warnings", []):
        yield f"warning: {clean(warning)}"


def _speed(what: str, throughput: Throughput | None, latency: Latency | None) -> str:
    parts = []
    if throughput is not None:
        parts.append(
            f"{numbers.count(throughput['ops'])} ops, {numbers.rate(throughput['ops_per_s'], 'ops')}"
        )
    if latency is not None:
        spans = (
            ("mean", latency["mean"]),
            ("p50", latency["p50"]),
            ("p99", latency["p99"]),
            ("max", latency["max"]),
        )
        parts.append("latency " + ", ".join(f"{name} {numbers.span(time)}" for name, time in spans))
    return f"{what}: " + "; ".join(parts)


def _interval_table(intervals: dict[str, IntervalEntry]) -> Table:
    rows = []
    for key, entry in sorted(intervals.items()):
        half = entry["half_width"]
        width = "-" if half is None else f"{half:.5g}"
        relative = "-" if half is None else numbers.share(half, abs(entry["mean"]))
        rows.append((key, f"{entry['mean']:.6g}", width, relative, str(entry["count"])))
    confidence = max((entry["confidence"] for entry in intervals.values()), default=0.95)
    return Table(
        columns("value mean +/- +/-% runs"),
        tuple(rows),
        title=f"means over replications, {100 * confidence:g} % confidence intervals",
    )


def _trace(trace: Trace) -> Iterator[str]:
    """What was replayed, and what the recording leaves open; one line each."""
    events = trace.get("events", {})
    kind = f" ({clean(trace['format'])})" if "format" in trace else ""
    span = f" in {trace['span_s']:.6g} s" if "span_s" in trace else ""
    yield f"trace{kind}: {numbers.count(sum(events.values()))} events{span}"
    if events:
        by_count = sorted(events.items(), key=lambda item: (-item[1], item[0]))
        yield "  " + ", ".join(f"{clean(name)} {numbers.count(n)}" for name, n in by_count)
    if "unmatched_frees" in trace:
        yield (
            f"  objects: {numbers.count(trace['unmatched_frees'])} unmatched frees "
            "(allocated before the trace), "
            f"{numbers.count(trace.get('implied_frees', 0))} implied frees (handed out again without one), "
            f"{numbers.count(trace.get('live_objects', 0))} live at the end "
            f"({numbers.count(trace.get('live_bytes', 0))} bytes)"
        )
    if "unmatched_page_frees" in trace:
        yield (
            f"  pages: {numbers.count(trace['unmatched_page_frees'])} unmatched frees, "
            f"{numbers.count(trace.get('implied_page_frees', 0))} implied frees, "
            f"{numbers.count(trace.get('live_pages', 0))} live at the end"
        )
    yield f"  lost by the recording: {numbers.count(trace.get('lost', 0))} events"
    if "operations" in trace:
        yield from _replayed(trace)


def _replayed(trace: Trace) -> Iterator[str]:
    """What the replay did with the trace; one line each."""
    copies = numbers.count(trace.get("clones", 1))
    yield (
        f"  replayed: {numbers.count(trace['operations'])} operations in {copies} "
        f"{'copy' if copies == '1' else 'copies'}, "
        f"{numbers.count(trace.get('late_operations', 0))} began late "
        f"(over all operations {numbers.span(trace.get('late_mean_ns', 0))} on average, "
        f"at most {numbers.span(trace.get('late_max_ns', 0))}); "
        f"{numbers.count(trace.get('dependency_waits', 0))} frees waited for their allocation on another "
        f"CPU; slabs took {numbers.count(trace.get('slab_overlap', 0))} pages of their own accord"
    )
    yield "  think, in the tables of time, is what a recorded CPU did between two of these operations"
    yield (
        f"  per-CPU page lists: {numbers.count(trace.get('recorded_refill_pages', 0))} pages refilled and "
        f"{numbers.count(trace.get('recorded_drain_pages', 0))} drained when recorded, "
        f"{numbers.count(trace.get('simulated_refill_pages', 0))} and "
        f"{numbers.count(trace.get('simulated_drain_pages', 0))} when simulated"
    )


def _memory(memory: Memory, style: Style) -> Iterator[str]:
    """Tables of what was busy, then a line for each of the rest."""
    if memory.get("pagelists"):
        yield render(page_list_table(memory["pagelists"]), style)
    if memory.get("magazines"):
        busiest = sorted(memory["magazines"], key=lambda row: (-row["allocs"] - row["frees"], row["cache"]))
        yield render(magazine_table({**memory, "magazines": busiest[:CACHES_SHOWN]}), style)
    if lines := [*_memory_lines(memory)]:
        yield "\n".join(lines) + "\n"


def _memory_lines(memory: Memory) -> Iterator[str]:
    if memory.get("numa"):
        counters = (
            ("numa_hit", sum(row["numa_hit"] for row in memory["numa"])),
            ("numa_miss", sum(row["numa_miss"] for row in memory["numa"])),
            ("numa_local", sum(row["numa_local"] for row in memory["numa"])),
            ("numa_other", sum(row["numa_other"] for row in memory["numa"])),
            ("numa_interleave", sum(row["numa_interleave"] for row in memory["numa"])),
        )
        yield "pages by placement: " + ", ".join(f"{name} {numbers.count(n)}" for name, n in counters)
    if "remote_frees" in memory:
        frees = memory["remote_frees"]
        yield (
            "frees on another CPU than the one that allocated: "
            f"{_part(frees['objects_remote'], frees['objects'])} objects, "
            f"{_part(frees['pages_remote'], frees['pages'])} pages"
        )
    if memory.get("fragmentation"):
        waste = memory["fragmentation"]
        shares = [
            f"{what} {numbers.share(rounded['allocated'] - rounded['requested'], rounded['allocated'])} %"
            for what, rounded in (("objects", waste.get("objects")), ("pages", waste.get("pages")))
            if rounded is not None
        ]
        yield "internal fragmentation, of the bytes allocated: " + ", ".join(shares)
    if "bytes" in memory:
        free, total = memory["bytes"]["free"], memory["bytes"]["total"]
        share = numbers.share(free, total)
        yield f"free at the end: {format_size(round(free))} of {format_size(total)} ({share} %)"
    if memory.get("buddyinfo"):
        yield "free blocks, from order 0 up (layout of /proc/buddyinfo):"
        yield buddyinfo(memory["buddyinfo"][:ZONES_SHOWN]).rstrip("\n")
        if len(memory["buddyinfo"]) > ZONES_SHOWN:
            yield f"{len(memory['buddyinfo']) - ZONES_SHOWN} more zones; see coalsim mem"


def _part(part: Count, whole: Count) -> str:
    return f"{numbers.count(part)} of {numbers.count(whole)}" + (
        f" ({numbers.share(part, whole)} %)" if whole else ""
    )
