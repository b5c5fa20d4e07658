"""An independent reading of trace text: plain regular expressions, no code shared with coalsim."""

import gzip
import re
from collections import Counter
from pathlib import Path

DATA = Path(__file__).parents[2] / "data"
PERF = DATA / "compile_excerpt.perf.txt.gz"
FTRACE = DATA / "compile_excerpt.ftrace.txt.gz"
SNAPSHOTS = DATA / "compile_excerpt.snapshots.txt.gz"

PERF_LINE = re.compile(
    r"^\s*(?P<comm>.*?)\s+(?P<pid>-?\d+)(?:/(?P<tid>-?\d+))?\s+\[\s*(?P<cpu>\d+)\]\s+(?:(?P<flags>\S+)\s+)?"
    r"(?P<s>\d+)\.(?P<frac>\d{6,9}):\s+(?:\d+\s+)?(?P<ev>[\w-]+:[\w-]+):\s?(?P<body>.*)$",
    re.ASCII,
)
FTRACE_LINE = re.compile(
    r"^\s*(?P<comm>.*)-(?P<pid>\d+)\s+\[\s*(?P<cpu>\d+)\]\s+(?:(?P<flags>\S+)\s+)?"
    r"(?P<s>\d+)\.(?P<frac>\d{6,9}):\s+(?P<ev>sys_\w+|[\w-]+)(?::| ->|\()\s?(?P<body>.*)$",
    re.ASCII,
)


def lines_of(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as text:
        return text.read().splitlines()


def bare_counts(lines: list[str], pattern: re.Pattern[str]) -> Counter[str]:
    """Events by name without the group, system calls' entry and exit as one."""
    counts: Counter[str] = Counter()
    for line in lines:
        if found := pattern.match(line):
            counts[re.sub(r"^(?:\w+:)?(sys_)?(?:(?<=sys_)(?:enter|exit)_)?", r"\1", found["ev"])] += 1
    return counts


def objects_and_pages(lines: list[str]) -> dict[str, int]:
    """The bookkeeping of a replay's report, by plain search."""
    live: dict[int, int] = {}
    pages: dict[int, int] = {}
    counts: Counter[str] = Counter()
    for line in lines:
        event = re.search(
            r"\d: +(?:kmem:)?(kmalloc|kmem_cache_alloc|kfree|kmem_cache_free|mm_page_\w+): ", line
        )
        if not event:
            continue
        pointer = re.search(r" ptr=(?:0x)?([0-9a-f]+)", line)
        frame = re.search(r" pfn=0x([0-9a-f]+) order=(\d+)", line)
        if event[1] in ("kmalloc", "kmem_cache_alloc"):
            assert pointer
            counts["implied_frees"] += int(pointer[1], 16) in live
            live[int(pointer[1], 16)] = int(re.findall(r"bytes_req=(\d+)", line)[0])
        elif event[1] in ("kfree", "kmem_cache_free"):
            if pointer and int(pointer[1], 16):
                counts["unmatched_frees"] += live.pop(int(pointer[1], 16), None) is None
        elif event[1] == "mm_page_alloc" and frame:
            counts["implied_page_frees"] += int(frame[1], 16) in pages
            pages[int(frame[1], 16)] = 1 << int(frame[2])
        elif event[1] == "mm_page_free" and frame:
            counts["unmatched_page_frees"] += pages.pop(int(frame[1], 16), None) is None
    sums = {"live_objects": len(live), "live_bytes": sum(live.values()), "live_pages": sum(pages.values())}
    names = ("implied_frees", "unmatched_frees", "implied_page_frees", "unmatched_page_frees")
    return sums | {name: counts[name] for name in names}
