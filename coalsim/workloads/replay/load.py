"""Replay as a load: opens the trace, places its CPUs, starts a thread for each.

Args and their keys (`replay.KEY`, in a study `workload.KEY`) are described at `ReplayPlan`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal, TypeAlias

from coalsim.cpus.cpu import Cpu
from coalsim.guarded import DEFAULT_MAX_INPUT
from coalsim.mm.manager import MemoryManager
from coalsim.units import Time
from coalsim.workloads.base import Host
from coalsim.workloads.replay.census import Census, refuse_pipe, take_census
from coalsim.workloads.replay.feed import Feed, FeedSetup
from coalsim.workloads.replay.placing import Placing, place
from coalsim.workloads.replay.player import (
    OBJECT_ALLOC,
    OBJECT_FREE,
    PAGE_ALLOC_PHASE,
    PAGE_FREE_PHASE,
    Meters,
    Pace,
    Player,
)
from coalsim.workloads.replay.recorded_start import recorded_zones, start_from, zone_finder
from coalsim.workloads.replay.report import trace_part, warnings
from coalsim.workloads.trace.procfs import Zone as RecordedZone
from coalsim.workloads.trace.reader import AUTO, TraceReader, open_trace
from coalsim.workloads.trace.snapshot import read_snapshot

Layer: TypeAlias = Literal["objects", "pages", "both"]
Mode: TypeAlias = Literal["open", "closed"]


@dataclass(frozen=True, kw_only=True)
class ReplayPlan:
    """What to replay, and how.

    Args:
        trace: the recording, plain or gzip.
        format: `auto`, `perf`, `ftrace` or `trace-cmd`.
        mode: `open`: as recorded; `closed`: as fast as the recorded gaps allow.
        layer: `objects` (kmalloc, caches), `pages`, or `both`.
        clone: copies of the recording side by side, each with its own CPUs, pointers and frames.
        placing: which simulated CPUs: see `placing.py`.
        overhead: taken off each gap of the closed loop, for the time of tracing itself.
        snapshots: the state of the recorded machine to start from; "": an empty machine.
        max_input: unpacked bytes that may be read.
    """

    trace: str
    format: str = AUTO
    mode: Mode = "open"
    layer: Layer = "both"
    clone: int = 1
    placing: Placing = "compact"
    overhead: Time = 0
    snapshots: str = ""
    max_input: int = DEFAULT_MAX_INPUT


class Replay:
    """A load that ends with its trace.

    Raises:
        InputError: the trace or the snapshot cannot be read.
    """

    endless = False
    headline = ""  # four kinds of operation, none of which stands for all

    def __init__(self, plan: ReplayPlan) -> None:
        self._plan = plan
        refuse_pipe(Path(plan.trace))
        self._reader: TraceReader = open_trace(plan.trace, plan.format, plan.max_input)
        self._zones: list[RecordedZone] = []
        if plan.snapshots:
            snapshot = read_snapshot(plan.snapshots, plan.max_input)
            self._zones = recorded_zones(snapshot, plan.snapshots)
        self._bytes = 0
        self._players: list[Player] = []

    def start(self, host: Host) -> None:
        """Put a thread on a processor for each CPU of each copy.

        Raises:
            ConfigError: the machine has too few CPUs, or cannot start from the snapshot.
        """
        plan, memory = self._plan, host.memory
        assert isinstance(memory, MemoryManager), "a replay looks into the page allocator"
        census = take_census(Path(plan.trace), plan.max_input)
        self._bytes = census.bytes
        placed = place(host.cpus, len(census.cpus), plan.clone, plan.placing)
        if self._zones:
            start_from(
                memory, self._zones, [*chain(*(zip(seats, census.cpus, strict=True) for seats in placed))]
            )
        self._memory, self._meter = memory, host.meter
        self._feed = self._new_feed(memory, census)
        first = self._feed.read_chunk()
        pace = Pace(is_open=plan.mode == "open", overhead=plan.overhead)
        for copy, seats in enumerate(placed):
            for seat, cpu in enumerate(seats):
                player = Player(memory, cpu, seat, copy, seats, pace, _meters(host, cpu))
                self._players.append(player)
                host.run_thread(cpu.id, f"replay {copy}/{census.cpus[seat]}", player.main(first))

    def _new_feed(self, memory: MemoryManager, census: Census) -> Feed:
        layer = self._plan.layer
        setup = FeedSetup(
            cpus={number: seat for seat, number in enumerate(census.cpus)},
            copies=self._plan.clone,
            objects=layer != "pages",
            pages=layer != "objects",
            cache=memory.cache,
            asks_for=memory.tracking.asks_for if memory.tracking is not None else None,
            zone_of_frame=zone_finder(self._zones) if self._zones else None,
        )
        return Feed(self._reader, setup)

    def share_done(self) -> float:
        """How much of the trace has been read, 0 to 1."""
        return self._reader.bytes_read / self._bytes if self._bytes else 0.0

    def results(self) -> Mapping[str, object]:
        """The `trace` part of the result document, and warnings; after the run."""
        tally = self._reader.tally
        part = trace_part(tally, self._feed, self._players, self._memory, self._meter.count)
        part["clones"] = self._plan.clone
        found = list(warnings(tally, self._feed, self._players))
        return {"trace": part} | ({"warnings": found} if found else {})


def _meters(host: Host, cpu: Cpu) -> Meters:
    return Meters(
        object_alloc=host.meter.cpu(cpu.id, OBJECT_ALLOC),
        object_free=host.meter.cpu(cpu.id, OBJECT_FREE),
        page_alloc=host.meter.cpu(cpu.id, PAGE_ALLOC_PHASE),
        page_free=host.meter.cpu(cpu.id, PAGE_FREE_PHASE),
    )
