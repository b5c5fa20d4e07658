r"""Text of `perf script`: what its lines look like.

    '  cc1 13546 [000]  1327.367092568:     kmem:mm_page_free: page=0x145777 pfn=0x145777 order=0'

Before the stamp a column of flags may stand, behind it the period of the sample; `-F pid,tid`
prints `pid/tid`; stamps have six digits, with `--ns` nine.  A thread whose name perf missed is `:-1`
or `:1234`.  With `-g`, stack lines follow, indented, and then an empty line.
Source: tools/perf/builtin-script.c of the Linux kernel.
"""

import re

from coalsim.guarded import clean
from coalsim.workloads.trace.events import perf_name
from coalsim.workloads.trace.scanner import Task
from coalsim.workloads.trace.tally import TraceTally

_TASK = re.compile(r"(?:[0-9]{1,10}/)?(-?[0-9]{1,10})")
_LOST_RECORD = re.compile(r"PERF_RECORD_LOST(?:_SAMPLES)?\s.{0,64}?lost\s{1,4}(\d{1,18})", re.ASCII)
_LOST_CHUNKS = re.compile(r"lost (\d{1,18}) chunks", re.ASCII)
_NOTICES = ("Warning:", "Processed ", "Check IO/CPU overload", "PERF_RECORD_")


class PerfText:
    """The format of `perf script`."""

    columns = re.compile(
        r"\[\s*+(?P<cpu>[0-9]{1,5})\]\s++(?:(?P<flags>\S++)\s++)?"
        r"(?P<seconds>[0-9]{1,12})\.(?P<fraction>\d{6,9}):\s++"
        r"(?:[0-9]{1,20}\s++)?(?P<event>[A-Za-z0-9_-]++:[A-Za-z0-9_-]++):(?=\s|$)"
    )

    def task(self, who: str) -> Task | None:
        """`comm tid` or `comm pid/tid`; the command may hold anything."""
        comm, *number = who.strip().rsplit(None, 1)
        found = _TASK.fullmatch(number[0]) if number else None
        return Task(clean(comm).strip(), int(found[1])) if found else None

    def event_name(self, token: str) -> str:
        """As perf prints it, entry and exit of a system call under one name."""
        return perf_name(token)

    def is_noise(self, line: str, tally: TraceTally) -> bool:
        """Blank lines, comments, stacks, and what perf says of losses."""
        if not line or line.isspace() or line[0] in "\t#":
            return True
        if found := _LOST_RECORD.search(line):
            tally.lost_events += int(found[1])
            return True
        if found := _LOST_CHUNKS.search(line):
            tally.lost_chunks += int(found[1])
            return True
        return any(notice in line for notice in _NOTICES)
