"""Interrupts and address translation as text: names, sizes and costs, one subject a line."""

from collections.abc import Iterator

from coalsim.topology.interrupts import GUEST_KEYS, IPI_MODELS, SHARE
from coalsim.topology.machine import Machine
from coalsim.topology.mmu import Mmu

BROADCASTS = {"has_invlpgb": "INVLPGB", "has_tlbi": "TLBI", "has_rar": "remote action requests"}


def interrupt_text(machine: Machine) -> Iterator[str]:
    """How interrupts are sent, and what a hypervisor takes."""
    yield f"Interrupts by {machine.ipi_model}: {IPI_MODELS[machine.ipi_model]}"
    if guest := machine.guest:
        costs = {key: f"{guest[key].value:f} {guest[key].unit}" for key in GUEST_KEYS if key != SHARE}
        resume = costs.pop("resume")
        yield f"  {', '.join(f'{key} {cost}' for key, cost in costs.items())}"
        yield f"  a vCPU is preempted for {guest[SHARE].value:f} of the time, {resume} each time"


def translation_text(machine: Machine) -> Iterator[str]:
    """What a reader asks first; `machines show --json` has every number."""
    yield f"Address translation ({machine.mmu.name})"
    for what, text in _rows(machine.mmu):
        yield f"  {what:<18} {text}"


def _rows(mmu: Mmu) -> Iterator[tuple[str, str]]:
    yield "TLB, 4 KiB pages", f"L1 {_level(mmu, 'l1')}; L2 {_level(mmu, 'l2')}, {_cost(mmu, 'l2_hit')} more"
    too = "in L2 too" if mmu.count("l2_holds_large") else "not in L2"
    yield "TLB, 2 MiB pages", f"L1 {_level(mmu, 'l1_large')}; {too}"
    yield "tags", f"{mmu.count('asids'):,}" if mmu.count("asids") else "none: every switch flushes"
    upper = "/".join(str(mmu.count(key)) for key in ("pde_entries", "pdpte_entries", "pml4e_entries"))
    yield "walk", f"{_cost(mmu, 'walk_fixed')}, and one access per level; {upper} upper entries cached"
    hits = (f"{level.upper()} {_cost(mmu, f'cache_{level}_hit')}" for level in ("l1", "l2", "l3"))
    yield "table line in", ", ".join(hits)
    page, further = _cost(mmu, "invlpg"), _cost(mmu, "invlpg_next")
    yield "flush", f"page {page}, each further {further}"
    yield "", f"tag {_cost(mmu, 'cr3_flush')}, all {_cost(mmu, 'global_flush')}"
    known = [word for key, word in BROADCASTS.items() if mmu.count(key)]
    yield "without interrupts", " and ".join(known) or "not in the hardware"


def _level(mmu: Mmu, level: str) -> str:
    ways = mmu.count(f"{level}_ways")
    return f"{mmu.count(f'{level}_entries'):,} " + (f"{ways}-way" if ways else "fully associative")


def _cost(mmu: Mmu, key: str) -> str:
    return f"{mmu[key].value:f} {mmu[key].unit}"
