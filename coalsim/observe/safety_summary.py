"""What a run's summary says about memory errors found by the debug modes: how many, the first in full."""

from collections.abc import Iterator

from coalsim.guarded import clean
from coalsim.observe import numbers
from coalsim.observe.document import ResultDocument


def safety_summary(document: ResultDocument) -> Iterator[str]:
    """Lines, each ending in a newline."""
    if "debug_modes" in document:
        modes = document["debug_modes"]
        around, back, areas, purges = (
            numbers.count(modes[key])
            for key in ("bytes_around_objects", "held_back", "guarded_areas", "vmalloc_purges")
        )
        yield (
            f"debug modes: {around} bytes around the objects of all slabs, {back} objects held back, "
            f"{areas} guarded areas, {purges} purges of kernel addresses\n"
        )
    if "safety" not in document:
        return
    found = document["safety"]
    if not found:
        yield "debug modes: no memory errors were found\n"
        return
    kinds = dict.fromkeys(sorted(entry["kind"] for entry in found))
    counts = ", ".join(f"{sum(entry['kind'] == kind for entry in found)} {clean(kind)}" for kind in kinds)
    first = "".join(f"  {clean(line)}\n" for line in found[0]["text"].splitlines())
    yield f"MEMORY ERRORS\nfound by the debug modes: {counts}; the first report:\n{first}"
