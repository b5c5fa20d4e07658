"""Fragmentation ageing: memory after hours of blocks that come and go.

    every CPU: think -> free the blocks whose time is over -> take one, unless its share is full
               -> change some pages of its cache: random ones go, others come
               -> now and then give up half of the cache, ask for one huge block, give it back at once

Sizes are drawn geometrically by order; most blocks live short, some for very long, and those
pin the memory around them.  Nothing moves them: this kernel does not compact.  The cache fills
what the blocks leave, as a page cache does, and is given up page by page in no order: as long as
memory is never full, a buddy allocator keeps its large blocks whole, for it splits the smallest
that fits.

Operations are the blocks taken (phase "block") and the huge blocks that were to be had (phase "huge");
`ageing` in the result has how many of those asked for they are, in each tenth of the run's requests, and
all requests that failed, by kind.  It is of the whole run, its warm-up included.
Source of the mix: long and short lives as in Mansour and others' observation that few unmovable
pages pin most huge blocks (Contiguitas, ISCA 2023); the figures here are assumed.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import pairwise
from random import Random

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.engine.laws import Law
from coalsim.errors import ConfigError, Problem
from coalsim.units import PAGE_SIZE, CpuId, Pfn
from coalsim.workloads.base import CpuMeter, Host
from coalsim.workloads.synthetic.places import Spread, choose_cpus

SITE = "ageing"
HUGE_SITE = "ageing huge"
THINK = "think"
TENTHS = 10


@dataclass(frozen=True, kw_only=True)
class FragmentationAgeing:
    """The load.

    Args:
        cpus: that take part.
        spread: which ones.
        fill: percent of all memory that they hold together at the most.
        cache: percent of all memory that cached pages fill.
        change: cached pages that change with each block.
        orders: the largest order that is drawn; each is half as likely as the one below.
        short, long: laws of the two kinds of lives.
        long_share: percent of the blocks that live long.
        think: law of the time between two blocks of a CPU.
        rounds: blocks that each CPU takes; 0 = for ever.
        huge_order: of the huge blocks.
        huge_every: after so many blocks a CPU asks for one.
    """

    cpus: int
    spread: Spread
    fill: int
    cache: int
    change: int
    orders: int
    short: Law
    long: Law
    long_share: int
    think: Law
    rounds: int
    huge_order: int
    huge_every: int
    asked: list[tuple[int, bool]] = field(default_factory=list, init=False, repr=False, compare=False)
    failed: Counter[str] = field(default_factory=Counter, init=False, repr=False, compare=False)

    headline = "block"

    @property
    def endless(self) -> bool:
        """Unless the rounds are counted."""
        return not self.rounds

    def start(self, host: Host) -> None:
        """One thread per CPU.

        Raises:
            ConfigError: the kernel has no blocks so large.
        """
        largest = host.memory.max_order
        for key, order in (("orders", self.orders), ("huge_order", self.huge_order)):
            if order > largest:
                problem = Problem(
                    key=f"workload.{key}",
                    value=str(order),
                    message=f"the kernel's largest block has order {largest}",
                    remedy=f"use at most {largest}, or raise kernel.max_order",
                )
                raise ConfigError([problem])
        each = host.machine.memory // PAGE_SIZE // self.cpus
        shares = each * self.fill // 100, each * self.cache // 100
        for cpu_id in choose_cpus(host.machine, self.cpus, self.spread):
            host.run_thread(cpu_id, f"ageing{cpu_id}", self._age(host, host.cpus[cpu_id], cpu_id, *shares))

    def _age(self, host: Host, cpu: Cpu, cpu_id: CpuId, share: int, cached: int) -> Op[None]:
        blocks, huge = host.meter.cpu(cpu_id, "block"), host.meter.cpu(cpu_id, "huge")
        stream = host.streams.stream("ageing", cpu_id)
        think = self.think.sampler(host.streams.stream("ageing think", cpu_id))
        lives = [
            law.sampler(host.streams.stream(f"ageing {kind}", cpu_id))
            for kind, law in (("short", self.short), ("long", self.long))
        ]
        held: list[tuple[int, Pfn, int]] = []  # when it goes, first frame, order
        cache: list[Pfn] = []
        pages = taken = 0
        while not self.rounds or taken < self.rounds:
            cpu.charge(think(), THINK)
            yield from cpu.look()
            while held and held[0][0] <= cpu.clock:
                _, pfn, order = heappop(held)
                pages -= 1 << order
                yield from host.memory.free_pages(cpu, pfn, order, SITE)
                yield from cpu.look()
            order = self._order(stream)
            is_long = stream.random() * 100 < self.long_share
            if pages + (1 << order) <= share:
                began = cpu.clock
                pfn = yield from host.memory.alloc_pages(cpu, order, SITE)
                yield from cpu.look()
                if pfn < 0:
                    self._note_failure(blocks, "block")
                else:
                    blocks.done(cpu.clock - began)
                    pages += 1 << order
                    heappush(held, (cpu.clock + lives[is_long](), pfn, order))
            yield from self._change_cache(host, cpu, blocks, cache, cached, stream)
            taken += 1
            if taken % self.huge_every == 0:
                for _ in range(len(cache) // 2):
                    yield from self._give_up_one(host, cpu, cache, stream)
                yield from cpu.look()
                began = cpu.clock
                pfn = yield from host.memory.alloc_pages(cpu, self.huge_order, HUGE_SITE)
                yield from cpu.look()
                self.asked.append((cpu.clock, pfn >= 0))
                if pfn < 0:
                    self._note_failure(huge, "huge")
                else:
                    huge.done(cpu.clock - began)
                    yield from host.memory.free_pages(cpu, pfn, self.huge_order, HUGE_SITE)
        for _, pfn, order in sorted(held):
            yield from host.memory.free_pages(cpu, pfn, order, SITE)
        for pfn in cache:
            yield from host.memory.free_pages(cpu, pfn, 0, SITE)

    def _note_failure(self, meter: CpuMeter, kind: str) -> None:
        meter.failed += 1
        self.failed[kind] += 1

    def _change_cache(
        self, host: Host, cpu: Cpu, meter: CpuMeter, cache: list[Pfn], most: int, stream: Random
    ) -> Op[None]:
        """Random pages go where there are as many as there may be, and others come."""
        for _ in range(self.change if most else 0):
            if len(cache) >= most:
                yield from self._give_up_one(host, cpu, cache, stream)
            pfn = yield from host.memory.alloc_pages(cpu, 0, SITE)
            if pfn >= 0:
                cache.append(pfn)
            else:
                self._note_failure(meter, "cache page")
        yield from cpu.look()

    def _give_up_one(self, host: Host, cpu: Cpu, cache: list[Pfn], stream: Random) -> Op[None]:
        """A random page of the cache goes."""
        at = int(stream.random() * len(cache))
        cache[at], cache[-1] = cache[-1], cache[at]
        yield from host.memory.free_pages(cpu, cache.pop(), 0, SITE)

    def _order(self, stream: Random) -> int:
        """An order; each is half as likely as the one below."""
        order = 0
        while order < self.orders and stream.random() < 0.5:
            order += 1
        return order

    def results(self) -> Mapping[str, object]:
        """How many huge blocks were to be had, tenth by tenth."""
        if not self.asked:
            return {}
        asked = [got for _, got in sorted(self.asked)]
        bounds = [len(asked) * tenth // TENTHS for tenth in range(TENTHS + 1)]
        parts = [asked[low:high] for low, high in pairwise(bounds)]
        return {
            "ageing": {
                "huge_asked": len(asked),
                "huge_had": sum(asked),
                "failed": {kind: self.failed[kind] for kind in sorted(self.failed)},
                "huge_had_percent": [round(100 * sum(part) / len(part), 1) if part else 0 for part in parts],
            }
        }
