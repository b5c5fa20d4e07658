"""The allocator report: the sections of `coalsim mem`, in their order.

A section is printed when the run has it; one that was asked for by name and that the
run does not have is a mistake of the caller and named as such.  Without a choice the
overview is printed: not the long ones, which have a line for each counter, sample or block.
"""

from collections.abc import Callable, Sequence

from coalsim.errors import ConfigError, Problem
from coalsim.observe.allocators import (
    allocations_table,
    bytes_table,
    fragmentation_table,
    magazine_table,
    numa_table,
    page_list_table,
    places_table,
    remote_free_table,
)
from coalsim.observe.document import ResultDocument
from coalsim.observe.memory_document import Memory
from coalsim.observe.proc import banner, buddyinfo, extfrag_index, slabinfo, unusable_index
from coalsim.observe.proc_pagetypeinfo import pagetypeinfo
from coalsim.observe.proc_vmstat import meminfo, vmstat
from coalsim.observe.proc_zoneinfo import zoneinfo
from coalsim.observe.series import series_text, with_rates
from coalsim.observe.tables import PLAIN, Style, render


def memory_text(document: ResultDocument, sections: Sequence[str] = (), style: Style = PLAIN) -> str:
    """The wanted sections, or the overview; a blank line between them.

    Raises:
        ConfigError: a wanted section is not in the result.
    """
    memory, version = document.get("memory", Memory()), document["coalsim"]
    texts = {name: make(memory, version, style) for name, make in _SECTIONS.items()}
    texts["allocations"] = _allocations(document, style) if "allocations" in sections else ""
    texts["series"] = _series(document, style) if "series" in sections else ""
    wanted = _present(document, {name: bool(text) for name, text in texts.items()}, sections)
    return "\n".join(texts[name] for name in wanted)


def memory_part(document: ResultDocument, sections: Sequence[str] = ()) -> dict[str, object]:
    """The wanted sections, or the overview, as the document has them; the series with its rates.

    Raises:
        ConfigError: a wanted section is not in the result.
    """
    memory: dict[str, object] = {**document.get("memory", Memory())}
    present = {name: all(key in memory for key in _KEYS.get(name, (name,))) for name in _SECTIONS}
    present |= {"allocations": "allocations" in document, "series": "series" in document}
    if "series" in document:
        memory["series"] = with_rates(document["series"])
    if "allocations" in document:
        memory["allocations"] = document["allocations"]
    wanted = _present(document, present, sections)
    keys = dict.fromkeys(key for name in wanted for key in (*_KEYS.get(name, (name,)), *_ALSO.get(name, ())))
    return {key: memory[key] for key in keys if key in memory}


def _present(document: ResultDocument, present: dict[str, bool], sections: Sequence[str]) -> list[str]:
    """The sections to print, in the order of the report."""
    held = [name for name, is_there in present.items() if is_there]
    remedy = f"it has {', '.join(held)}" if held else "its load uses no allocator; run one that does"
    problems = [
        Problem(
            key=f"--{name.replace('_', '-')}",
            message="not in this result",
            remedy=_remedy(document, name) or remedy,
        )
        for name in sections
        if not present[name]
    ]
    if not held and not problems:
        problems.append(Problem(key="memory", message="nothing about memory in this result", remedy=remedy))
    if problems:
        raise ConfigError(problems)
    return [name for name in held if name in sections or (not sections and name not in _LONG)]


def _remedy(document: ResultDocument, section: str) -> str:
    """How to get a section that a run has only when it is told to."""
    if section not in _TOLD:
        return ""
    if section in document.get("runs", [{}])[0]:
        return "each run has its own: choose one with --run"
    return f"run the study again with --set {_TOLD[section]}"


def _allocations(document: ResultDocument, style: Style) -> str:
    return render(allocations_table(document["allocations"]), style) if "allocations" in document else ""


def _series(document: ResultDocument, style: Style) -> str:
    return series_text(document["series"], style) if "series" in document else ""


def _bytes(memory: Memory, version: str, style: Style) -> str:
    tables = [bytes_table(memory["bytes"])] if "bytes" in memory else []
    if len(memory.get("zone_bytes", [])) > 1:
        tables.append(places_table(memory["zone_bytes"], memory.get("node_bytes", [])))
    return "\n".join(render(table, style) for table in tables)


def _pagelists(memory: Memory, version: str, style: Style) -> str:
    return render(page_list_table(memory["pagelists"]), style) if memory.get("pagelists") else ""


def _magazines(memory: Memory, version: str, style: Style) -> str:
    return render(magazine_table(memory), style) if memory.get("magazines") else ""


def _numa(memory: Memory, version: str, style: Style) -> str:
    return render(numa_table(memory["numa"]), style) if memory.get("numa") else ""


def _remote_frees(memory: Memory, version: str, style: Style) -> str:
    return render(remote_free_table(memory["remote_frees"]), style) if "remote_frees" in memory else ""


def _fragmentation(memory: Memory, version: str, style: Style) -> str:
    parts = []
    if memory.get("fragmentation"):
        parts.append(render(fragmentation_table(memory["fragmentation"]), style))
    if memory.get("buddyinfo"):
        rows = memory["buddyinfo"]
        parts.append(f"{banner(version, 'extfrag/unusable_index')}\n{unusable_index(rows)}")
        parts.append(f"{banner(version, 'extfrag/extfrag_index')}\n{extfrag_index(rows)}")
    return "\n".join(parts)


def _buddyinfo(memory: Memory, version: str, style: Style) -> str:
    rows = memory.get("buddyinfo")
    return f"{banner(version, 'buddyinfo')}\n{buddyinfo(rows)}" if rows else ""


def _slabinfo(memory: Memory, version: str, style: Style) -> str:
    rows = memory.get("slabinfo")
    return f"{banner(version, 'slabinfo')}\n{slabinfo(rows)}" if rows else ""


def _meminfo(memory: Memory, version: str, style: Style) -> str:
    is_there = all(key in memory for key in _KEYS["meminfo"])
    return f"{banner(version, 'meminfo')}\n{meminfo(memory)}" if is_there else ""


def _vmstat(memory: Memory, version: str, style: Style) -> str:
    counters = memory.get("vmstat")
    return f"{banner(version, 'vmstat')}\n{vmstat(counters)}" if counters else ""


def _zoneinfo(memory: Memory, version: str, style: Style) -> str:
    rows = memory.get("zoneinfo")
    if not rows:
        return ""
    return f"{banner(version, 'zoneinfo')}\n{zoneinfo(rows, memory.get('node_counters', []))}"


def _pagetypeinfo(memory: Memory, version: str, style: Style) -> str:
    if not all(key in memory for key in _KEYS["pagetypeinfo"]):
        return ""
    text = pagetypeinfo(memory["buddyinfo"], memory["zoneinfo"])
    return f"{banner(version, 'pagetypeinfo-like')}\n{text}"


_LONG = ("meminfo", "vmstat", "zoneinfo", "pagetypeinfo", "allocations", "series")
"""Sections that are printed when they are asked for."""
_TOLD = {"series": "run.samples=1ms", "allocations": "run.allocations=on"}
"""Sections that a run has when it is told to."""
_KEYS = {
    "meminfo": ("bytes", "vmstat", "zoneinfo"),
    "pagetypeinfo": ("buddyinfo", "zoneinfo"),
}
"""What a section is made of, where that is not a part of its name."""
_ALSO = {"bytes": ("node_bytes", "zone_bytes"), "zoneinfo": ("node_counters",)}
"""What more a section says where it is there."""

_SECTIONS: dict[str, Callable[[Memory, str, Style], str]] = {
    "bytes": _bytes,
    "pagelists": _pagelists,
    "magazines": _magazines,
    "numa": _numa,
    "remote_frees": _remote_frees,
    "fragmentation": _fragmentation,
    "buddyinfo": _buddyinfo,
    "slabinfo": _slabinfo,
    "meminfo": _meminfo,
    "vmstat": _vmstat,
    "zoneinfo": _zoneinfo,
    "pagetypeinfo": _pagetypeinfo,
}
