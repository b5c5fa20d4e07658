"""What a replay has to say beside what every run says: the `trace` part of the result.

The counts of the trace are those of one copy of the recording, whatever was replayed.  What the
replay did is counted over all copies.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from coalsim.mm.manager import MemoryManager
from coalsim.units import NS
from coalsim.workloads.replay.feed import Feed
from coalsim.workloads.replay.player import Player
from coalsim.workloads.trace.tally import TraceTally


def trace_part(
    tally: TraceTally, feed: Feed, players: Sequence[Player], memory: MemoryManager, operations: int
) -> dict[str, object]:
    """The `trace` part; after the run, in which so many operations were done."""
    return {
        "format": tally.format,
        "events": tally.events,
        "span_s": tally.span_s,
        "cpus": len(tally.cpus),
        "lost": tally.lost_events,
        "lost_chunks": tally.lost_chunks,
        "overwritten": tally.overwritten,
        "unparsed_lines": tally.unparsed,
        "unreadable_events": tally.unreadable,
        "failed_allocs": tally.failed_allocs,
        "out_of_order": tally.out_of_order,
        **asdict(feed.lifetimes.statistics()),
        "recorded_refill_pages": feed.recorded_refill_pages,
        "recorded_drain_pages": feed.recorded_drain_pages,
        **_replayed(players, memory, operations),
    }


def _replayed(players: Sequence[Player], memory: MemoryManager, operations: int) -> dict[str, object]:
    counts = [player.counts for player in players]
    own = memory.pages.own
    lists = [mine for pages in own for mine in pages.lists.values()]
    taken = sum(sum(pages.hits) + sum(pages.misses) for pages in own)
    late_total = sum(count.late_total for count in counts)
    return {
        "operations": operations,
        "failed_operations": sum(count.failed for count in counts),
        "dependency_waits": sum(count.dependency_waits for count in counts),
        "late_operations": sum(count.late for count in counts),
        "late_mean_ns": late_total / NS / operations if operations else 0,
        "late_max_ns": max((count.late_max for count in counts), default=0) / NS,
        "slab_overlap": taken - sum(count.pages_taken for count in counts),
        "earlier_pages_freed": sum(count.earlier_pages for count in counts),
        "earlier_blocks_missing": sum(count.earlier_missing for count in counts),
        "simulated_refill_pages": sum(mine.refill_pages for mine in lists),
        "simulated_drain_pages": sum(mine.drain_pages for mine in lists),
    }


def warnings(tally: TraceTally, feed: Feed, players: Sequence[Player]) -> Iterator[str]:
    """What a reader of the result has to know; one sentence each."""
    unread = tally.unparsed + tally.unreadable
    if unread:
        first = tally.examples[0]
        yield f"{unread} lines of the trace could not be read; the first is line {first.line}: {first.text}"
    if tally.lost_events or tally.lost_chunks:
        yield (
            f"the recorder lost {tally.lost_events} events and {tally.lost_chunks} chunks of unknown size: "
            "frees and allocations may be missing"
        )
    if tally.out_of_order:
        yield f"{tally.out_of_order} events have stamps before those of earlier lines"
    reordered = feed.lifetimes.statistics()
    if ties := reordered.reordered_frees + reordered.reordered_page_frees:
        yield f"{ties} frees stand before their allocation at one stamp: they count as unmatched"
    if missing := sum(player.counts.earlier_missing for player in players):
        yield f"{missing} frees of earlier pages were left out: the recorded fill had no such block left"
