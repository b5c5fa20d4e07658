"""Replaying in tests: texts of traces made by hand, systems in every mode, an independent count."""

import gzip
import json
import re
from collections import Counter
from pathlib import Path

from coalsim.boot import System, SystemConfig
from coalsim.locks.queued import QueuedLock
from coalsim.observe.document import ResultDocument
from coalsim.observe.histogram import Histogram
from coalsim.profiles.profile import load_profile
from coalsim.study.measuring import measure
from coalsim.topology.machine import Machine
from coalsim.topology.presets import load_machine
from coalsim.workloads.replay.load import Replay, ReplayPlan

DATA = Path(__file__).parents[2] / "data"
PERF = DATA / "compile_excerpt.perf.txt.gz"
FTRACE = DATA / "compile_excerpt.ftrace.txt.gz"
SNAPSHOTS = DATA / "compile_excerpt.snapshots.txt.gz"

MODES = [  # run_ahead, fast_paths, tick_events; the first is the reference
    (False, False, True),
    (False, False, False),
    (False, True, False),
    (True, False, False),
    (True, True, False),
    (True, True, True),
]
FASTEST = (True, True, False)


def new_system(
    machine: Machine | str = "coal", profile: str = "linux-6.18", mode: tuple[bool, bool, bool] = FASTEST
) -> System:
    """A system that nothing runs on yet."""
    run_ahead, fast_paths, tick_events = mode
    config = SystemConfig(
        machine=load_machine(machine) if isinstance(machine, str) else machine,
        profile=load_profile(profile),
        lock=QueuedLock,
        recorder=Histogram,
        run_ahead=run_ahead,
        fast_paths=fast_paths,
        tick_events=tick_events,
    )
    return System(config)


class Run:
    """A finished replay."""

    def __init__(
        self,
        plan: ReplayPlan,
        machine: Machine | str = "coal",
        profile: str = "linux-6.18",
        mode: tuple[bool, bool, bool] = FASTEST,
    ) -> None:
        self.system = new_system(machine, profile, mode)
        self.load = Replay(plan)
        self.load.start(self.system)
        self.system.boot()
        self.document: ResultDocument = measure(self.system, self.load, "replay", 0, 0)
        self.system.memory.validate()
        self.trace: dict[str, object] = dict(self.document["trace"])

    def comparable(self) -> str:
        """Everything in the document that may not depend on the mode."""
        kept = {key: value for key, value in self.document.items() if key not in ("host_s", "events")}
        return json.dumps(kept, sort_keys=True)


def line(time_ns: int, cpu: int, event: str, body: str) -> str:
    """One line of perf script text."""
    return f"  task {100 + cpu} [{cpu:03}] {time_ns // 10**9}.{time_ns % 10**9:09}: kmem:{event}: {body}\n"


def kmalloc(time_ns: int, cpu: int, pointer: int, size: int = 64) -> str:
    body = f"call_site=maker+0x1 ptr={pointer:#x} bytes_req={size} bytes_alloc={size}"
    return line(time_ns, cpu, "kmalloc", body + " gfp_flags=GFP_KERNEL node=-1")


def cache_alloc(time_ns: int, cpu: int, pointer: int, name: str = "things", size: int = 200) -> str:
    body = f"call_site=maker+0x2 ptr={pointer:#x} name={name} bytes_req={size} bytes_alloc={size}"
    return line(time_ns, cpu, "kmem_cache_alloc", body + " gfp_flags=GFP_KERNEL node=-1 accounted=false")


def kfree(time_ns: int, cpu: int, pointer: int) -> str:
    text = f"{pointer:#x}" if pointer else "(nil)"
    return line(time_ns, cpu, "kfree", f"call_site=breaker+0x1 ptr={text}")


def cache_free(time_ns: int, cpu: int, pointer: int, name: str = "things") -> str:
    return line(time_ns, cpu, "kmem_cache_free", f"call_site=breaker+0x2 ptr={pointer:#x} name={name}")


def page_alloc(time_ns: int, cpu: int, frame: int, order: int = 0) -> str:
    body = f"page={frame:#x} pfn={frame:#x} order={order} migratetype=1 gfp_flags=GFP_KERNEL"
    return line(time_ns, cpu, "mm_page_alloc", body)


def page_free(time_ns: int, cpu: int, frame: int, order: int = 0) -> str:
    return line(time_ns, cpu, "mm_page_free", f"page={frame:#x} pfn={frame:#x} order={order}")


def written(folder: Path, *lines: str) -> str:
    """The path of a trace file."""
    path = folder / "trace.txt"
    path.write_text("".join(lines), encoding="utf-8")
    return str(path)


def plain_count(path: Path) -> dict[str, int]:
    """The bookkeeping of a report, by plain search in the text; no code shared with coalsim."""
    with gzip.open(path, "rt", encoding="utf-8") as text:
        lines = text.read().splitlines()
    objects: dict[str, int] = {}
    pages: dict[str, int] = {}
    counts: Counter[str] = Counter()
    for text_line in lines:
        found = re.search(
            r"\d: +(?:kmem:)?(kmalloc|kmem_cache_alloc|kfree|kmem_cache_free|mm_page_\w+): ", text_line
        )
        if not found:
            continue
        event = found[1]
        pointer = re.search(r" ptr=(?:0x)?([0-9a-f]+)", text_line)
        frame = re.search(r" pfn=0x([0-9a-f]+) order=(\d+)", text_line)
        if event in ("kmalloc", "kmem_cache_alloc"):
            assert pointer
            counts["implied_frees"] += pointer[1] in objects
            objects[pointer[1]] = int(re.findall(r"bytes_req=(\d+)", text_line)[0])
            counts["object_allocs"] += 1
        elif event in ("kfree", "kmem_cache_free") and pointer and int(pointer[1], 16):
            known = objects.pop(pointer[1], None) is not None
            counts["unmatched_frees"] += not known
            counts["matched_frees"] += known
        elif event == "mm_page_alloc" and frame:
            counts["implied_page_frees"] += frame[1] in pages
            pages[frame[1]] = 1 << int(frame[2])
            counts["page_allocs"] += 1
        elif event == "mm_page_free" and frame:
            known = pages.pop(frame[1], None) is not None
            counts["unmatched_page_frees"] += not known
            counts["matched_page_frees"] += known
    names = ("implied_frees", "unmatched_frees", "implied_page_frees", "unmatched_page_frees")
    names += ("object_allocs", "matched_frees", "page_allocs", "matched_page_frees")
    return {name: counts[name] for name in names} | {
        "live_objects": len(objects),
        "live_bytes": sum(objects.values()),
        "live_pages": sum(pages.values()),
    }
