r"""Text of ftrace's `trace` file and of `trace-cmd report`: what their lines look like.

    '   cc1-13546   [000] ...2.  1327.367092: mm_page_free: page=ffffea000515ddc0 pfn=0x145777 order=0'
    '   cc1-13546   [000]  1327.367092: mm_page_free:    page=0xffffea000515ddc0 pfn=0x145777 order=0'

The command name may hold dashes: its number is what follows the last one.  Unknown names are `<...>`,
the idle task is `<idle>`.  System calls print as `sys_mmap(addr: 0, ...)` and `sys_mmap -> 0x7f..`.
Source: kernel/trace/trace_output.c of the Linux kernel.
"""

import re

from coalsim.guarded import clean
from coalsim.workloads.trace.events import ftrace_name
from coalsim.workloads.trace.scanner import Task
from coalsim.workloads.trace.tally import TraceTally

_TASK = re.compile(r"(?P<comm>.*)-(?P<tid>[0-9]{1,10})(?:\s++\(\s*+[0-9-]{1,10}\))?", re.DOTALL)
_LOST = re.compile(r"CPU:\d{1,5} \[(?:LOST (\d{1,18}) EVENTS|LOST EVENTS|EVENTS DROPPED)\]", re.ASCII)
_IN_BUFFER = re.compile(r"# entries-in-buffer/entries-written: (\d{1,18})/(\d{1,18})", re.ASCII)
_TRACE_CMD_NOTICE = re.compile(r"cpus=\d|CPU \d+ is empty|version = |trace-cmd|##### CPU ", re.ASCII)


class FtraceText:
    """The format of ftrace and trace-cmd."""

    columns = re.compile(
        r"\[\s*+(?P<cpu>[0-9]{1,5})\]\s++(?:(?P<flags>\S++)\s++)?"
        r"(?P<seconds>[0-9]{1,12})\.(?P<fraction>\d{6,9}):\s++"
        r"(?:(?P<event>sys_[a-z0-9_]++(?=\(|\s->)|[A-Za-z0-9_-]++(?=:\s|:$)):?)"
    )

    def task(self, who: str) -> Task | None:
        """`comm-tid`, with the process in brackets behind it if the recorder was asked to."""
        found = _TASK.fullmatch(who.strip())
        return Task(clean(found["comm"]).strip(), int(found["tid"])) if found else None

    def event_name(self, token: str) -> str:
        """As perf would name it."""
        return ftrace_name(token)

    def is_noise(self, line: str, tally: TraceTally) -> bool:
        """Blank lines, the header, stacks, and what the ring buffer says of losses."""
        if not line or line.isspace() or line.startswith((" => ", "\t", "<stack trace>")):
            return True
        if found := _LOST.match(line):
            tally.lost_events += int(found[1] or 0)
            tally.lost_chunks += found[1] is None
            return True
        if found := _IN_BUFFER.match(line):
            tally.overwritten += max(0, int(found[2]) - int(found[1]))
        return line[0] == "#" or _TRACE_CMD_NOTICE.match(line) is not None
