"""The allocator report: the sections of `coalsim mem`, in their order.

A section is printed when the run has it; one that was asked for by name and that the
run does not have is a mistake of the caller and named as such.
"""

from collections.abc import Callable, Sequence

from coalsim.errors import ConfigError, Problem
from coalsim.observe.allocators import (
    bytes_table,
    fragmentation_table,
    magazine_table,
    numa_table,
    page_list_table,
    remote_free_table,
)
from coalsim.observe.document import ResultDocument
from coalsim.observe.memory_document import Memory
from coalsim.observe.proc import banner, buddyinfo, extfrag_index, slabinfo, unusable_index
from coalsim.observe.tables import PLAIN, Style, render


def memory_text(document: ResultDocument, sections: Sequence[str] = (), style: Style = PLAIN) -> str:
    """The wanted sections, or all; a blank line between them.

    Raises:
        ConfigError: a wanted section is not in the result.
    """
    memory, version = document.get("memory", Memory()), document["coalsim"]
    texts = {name: make(memory, version, style) for name, make in _SECTIONS.items()}
    wanted = _present({name: bool(text) for name, text in texts.items()}, sections)
    return "\n".join(texts[name] for name in wanted)


def memory_part(document: ResultDocument, sections: Sequence[str] = ()) -> dict[str, object]:
    """The wanted sections, or all, as the document has them.

    Raises:
        ConfigError: a wanted section is not in the result.
    """
    memory: dict[str, object] = {**document.get("memory", Memory())}
    wanted = _present({name: name in memory for name in _SECTIONS}, sections)
    return {name: memory[name] for name in wanted}


def _present(present: dict[str, bool], sections: Sequence[str]) -> list[str]:
    """The sections to print, in the order of the report."""
    held = [name for name, is_there in present.items() if is_there]
    remedy = f"it has {', '.join(held)}" if held else "its load uses no allocator; run one that does"
    problems = [
        Problem(key=f"--{name.replace('_', '-')}", message="not in this result", remedy=remedy)
        for name in sections
        if not present[name]
    ]
    if not held and not problems:
        problems.append(Problem(key="memory", message="nothing about memory in this result", remedy=remedy))
    if problems:
        raise ConfigError(problems)
    return [name for name in held if name in sections or not sections]


def _bytes(memory: Memory, version: str, style: Style) -> str:
    return render(bytes_table(memory["bytes"]), style) if "bytes" in memory else ""


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


_SECTIONS: dict[str, Callable[[Memory, str, Style], str]] = {
    "bytes": _bytes,
    "pagelists": _pagelists,
    "magazines": _magazines,
    "numa": _numa,
    "remote_frees": _remote_frees,
    "fragmentation": _fragmentation,
    "buddyinfo": _buddyinfo,
    "slabinfo": _slabinfo,
}
