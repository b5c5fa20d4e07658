"""The part of the result document about memory errors that the debug modes found.

`kind` is what a finding looks like, `title` the kernel's words for it, `text` the whole report.  `first` and
`last` are the wrong bytes, or the address that was freed; `site` is where it was found.
"""

from typing import NotRequired, TypedDict

from coalsim.observe.quantities import Count, Nanoseconds


class TrackEntry(TypedDict):
    """Who allocated, or freed, an object."""

    site: str
    cpu: int
    time_ns: Nanoseconds


class DebugModesEntry(TypedDict):
    """What the debug modes and guard pages take, beside time, at the end of the run."""

    bytes_around_objects: Count  # red zones, tracks, padding, in all slabs
    held_back: Count  # objects in quarantines
    guarded_areas: Count  # allocations of whole pages, and stacks
    vmalloc_purges: Count


class SafetyEntry(TypedDict):
    """One finding."""

    kind: str
    title: str
    cache: str
    object: int
    size: int
    asked: int
    first: int
    last: int
    time_ns: Nanoseconds
    cpu: int
    site: str
    allocated: NotRequired[TrackEntry]
    freed: NotRequired[TrackEntry]
    text: str
    run: NotRequired[int]
