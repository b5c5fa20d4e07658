"""The outcome of a run that used virtual memory: operations, shootdowns and the oracle's findings."""

from typing import cast

from coalsim.boot import System
from coalsim.cpus.oracle import Oracle
from coalsim.errors import BrokenPromise
from coalsim.guarded import clean
from coalsim.mm.shootdown.base import Shootdown
from coalsim.mm.virt.system import VirtualMemory
from coalsim.observe.document import ResultDocument, latency_entry, nanoseconds
from coalsim.observe.histogram import Histogram
from coalsim.observe.vm_document import (
    FindingEntry,
    OperationEntry,
    OracleEntry,
    VirtualMemoryEntry,
)
from coalsim.plugins import names_code
from coalsim.units import PAGE_SHIFT


def vm_parts(system: System) -> dict[str, object]:
    """The parts of the document that only such runs have; at a barrier."""
    if not system.has_vm:
        return {}
    vm = system.vm
    vm.judge_all()
    parts: dict[str, object] = {
        "operations": operations(vm),
        "vm": counts(vm),
    }
    latencies = cast(Histogram, vm.shootdown_latencies)
    if latencies.count:
        parts["shootdown_ns"] = latency_entry(latencies)
    if vm.kernel.oracle is not None:
        parts["oracle"] = findings(vm.kernel.oracle)
    return parts


def operations(vm: VirtualMemory) -> dict[str, OperationEntry]:
    """Every kind of operation that was done, by name."""
    found: dict[str, OperationEntry] = {}
    for name, kind in sorted(vm.kernel.operations.kinds.items()):
        latencies = cast(Histogram, kind.latencies)
        if latencies.count:
            total = sum(kind.by_cause.values())
            assert total == latencies.total, (
                f"{name}: causes add up to {total}, latencies to {latencies.total}"
            )
            found[name] = {
                "latency_ns": latency_entry(latencies),
                "by_cause_ns": {
                    cause: nanoseconds(time) for cause, time in sorted(kind.by_cause.items()) if time
                },
            }
    return found


def counts(vm: VirtualMemory) -> VirtualMemoryEntry:
    """Counts of the whole machine."""
    kernel = vm.kernel
    units = kernel.units
    entry: VirtualMemoryEntry = {
        "policy": policy_name(type(kernel.policy)),
        "faults": {name: getattr(kernel.counts, name) for name in kernel.counts.FIELDS},
        "shootdowns": {name: getattr(vm.flush_counts, name) for name in vm.flush_counts.FIELDS},
        "tlb": {
            "hits_l1": sum(unit.hits_l1 for unit in units),
            "hits_l2": sum(unit.tlb.hits_l2 for unit in units),
            "misses": sum(unit.misses for unit in units),
        },
        "walks": sum(unit.walks for unit in units),
        "table_dram_reads": kernel.lines.dram_reads,
        "context_switches": kernel.switching.switches,
        "switch_flushes": kernel.switching.flushes,
        "frames_in_use": kernel.frames.taken,
    }
    if kernel.cache.files:
        entry["files"] = {name: getattr(kernel.cache.counts, name) for name in kernel.cache.counts.FIELDS}
    if kernel.frames.lru.is_on:
        entry["lru"] = {"moved": kernel.frames.lru.moves, "deleted": kernel.frames.lru.deletions}
    signals = [
        f"{task.name}: {task.signal}" for process in vm.processes for task in process.tasks if task.signal
    ]
    if signals:
        entry["signals"] = signals
    return entry


def policy_name(policy: type[Shootdown]) -> str:
    """Its own name; a user's class that has only inherited one is called by what it is."""
    own: object = vars(policy).get("name")
    return own if isinstance(own, str) and own else policy.__name__


def findings(oracle: Oracle) -> OracleEntry:
    """What the oracle found, the worst first."""
    found: list[FindingEntry] = [
        {
            "time_ns": nanoseconds(finding.time),
            "cpu": int(finding.cpu),
            "kind": finding.kind,
            "space": finding.space,
            "page": finding.vpn << PAGE_SHIFT,
            "frame": int(finding.pfn),
            "write": finding.write,
            "text": finding.describe(),
        }
        for finding in oracle.findings()
    ]
    return {
        "checked": oracle.checked,
        "stale": oracle.stale,
        "broken": oracle.broken,
        "worst_stale_ns": nanoseconds(oracle.worst_stale),
        "findings": found,
    }


def check_promises(result: ResultDocument) -> None:
    """Refuse a result whose oracle found translations in use after their end had been reported.

    Raises:
        BrokenPromise: there are some.
    """
    if "oracle" in result and (broken := result["oracle"]["broken"]):
        policy = f" of {clean(result['vm']['policy'])}" if "vm" in result else ""
        raise BrokenPromise(
            f"{broken:,} broken promises{policy}: translations were used after their end had been reported; "
            f"the oracle's findings say where{_whose(result)}"
        )


def _whose(result: ResultDocument) -> str:
    """The shootdown policy of a result if it is a user's class; else empty."""
    match result.get("config"):
        case {"kernel": {"shootdown": str() as name}} if names_code(name):
            shown = clean(name)
            told = f"its promises are tried one by one by `coalsim plugins check {shown}`"
            return f"\nkernel.shootdown = {shown}: {told}"
    return ""
