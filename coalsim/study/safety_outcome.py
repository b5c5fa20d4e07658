"""The outcome of a run with debug modes: what they found."""

from collections.abc import Iterator, Sequence

from coalsim.boot import System
from coalsim.errors import MemoryErrorsFound
from coalsim.guarded import clean
from coalsim.mm.debug.report import Finding, Track
from coalsim.observe.document import ResultDocument, nanoseconds
from coalsim.observe.safety_document import DebugModesEntry, SafetyEntry, TrackEntry

TOLD = 5
"""Findings that have a warning of their own; the others are counted."""


def safety_parts(system: System) -> dict[str, object]:
    """The part of the document that only such runs have; at a barrier, after a look at every object."""
    debug = system.memory.debug
    if debug is None and system.memory.guard is None:
        return {}
    parts: dict[str, object] = {"debug_modes": _debug_modes(system)}
    if debug is not None:
        debug.validate_at_the_end(system.env._now)
        parts["safety"] = [_entry(finding) for finding in debug.findings]
    return parts


def _debug_modes(system: System) -> DebugModesEntry:
    memory = system.memory
    around = 0
    for cache in memory.objects.caches:
        line = cache.statistics()
        around += line.num_objs * (line.objsize - cache.size)
    mapped = memory.guard.mapper if memory.guard is not None else None
    return {
        "bytes_around_objects": around,
        "held_back": memory.debug.held_back if memory.debug is not None else 0,
        "guarded_areas": mapped.count if mapped is not None else 0,
        "vmalloc_purges": mapped.purges if mapped is not None else 0,
    }


def _entry(finding: Finding) -> SafetyEntry:
    entry: SafetyEntry = {
        "kind": finding.kind,
        "title": finding.title,
        "cache": finding.cache,
        "object": finding.object,
        "size": finding.size,
        "asked": finding.asked,
        "first": finding.first,
        "last": finding.last,
        "time_ns": nanoseconds(finding.at),
        "cpu": int(finding.cpu),
        "site": finding.site,
        "text": finding.text,
    }
    if finding.allocated is not None:
        entry["allocated"] = _track(finding.allocated)
    if finding.freed is not None:
        entry["freed"] = _track(finding.freed)
    return entry


def _track(track: Track) -> TrackEntry:
    return {"site": track.site, "cpu": int(track.cpu), "time_ns": nanoseconds(track.at)}


def safety_warnings(found: Sequence[SafetyEntry]) -> Iterator[str]:
    """One sentence for each of the first findings."""
    for entry in found[:TOLD]:
        who = f", allocated at {entry['allocated']['site']}" if "allocated" in entry else ""
        yield f"{entry['kind']} of {entry['cache']} at {entry['object']:#x}{who}, found at {entry['site']}"
    if len(found) > TOLD:
        yield f"the debug modes found {len(found) - TOLD} more memory errors; the result has them all"


def check_safety(result: ResultDocument) -> None:
    """Refuse a result whose kernel damaged its own memory, after it has been written.

    Raises:
        MemoryErrorsFound: the debug modes found that.
    """
    found = [entry for run in result.get("runs", [result]) for entry in run.get("safety", [])]
    if found:
        kinds = dict.fromkeys(sorted(entry["kind"] for entry in found))
        counts = ", ".join(f"{sum(entry['kind'] == kind for entry in found)} {kind}" for kind in kinds)
        first = clean(found[0]["title"])
        raise MemoryErrorsFound(f"{len(found):,} memory errors ({counts}); the first: {first}")
