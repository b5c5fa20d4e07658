"""Page faults, TLB hits and large address spaces."""

import subprocess
import sys
from statistics import median
from time import perf_counter

from plain import TouchCounts, touches
from test_size import warm_environment

from coalsim.boot import System, SystemConfig
from coalsim.engine.clock import Op
from coalsim.locks.qspinlock import QueuedSpinLock
from coalsim.mm.virt.task import Task
from coalsim.observe.histogram import Histogram
from coalsim.profiles.profile import load_profile
from coalsim.study.overrides import Setting
from coalsim.study.planning import open_study
from coalsim.study.run import run_study
from coalsim.topology.presets import load_machine
from coalsim.units import MS, PAGE_SIZE, CpuId, Time

CPUS = 16
PAGES = 32
SWEEPS = 200
WARM = 1 * MS
"""All pages are in all TLBs by then."""
SPARSE = """
import resource
from coalsim.boot import System, SystemConfig
from coalsim.locks.qspinlock import QueuedSpinLock
from coalsim.observe.histogram import Histogram
from coalsim.profiles.profile import load_profile
from coalsim.topology.synthetic import machine_from_synthetic
from coalsim.units import GIB, MIB, CpuId

machine = machine_from_synthetic("pack:8 numa:1(memory=256GiB) core:64 pu:1")
profile = load_profile("linux-6.18").with_overrides({"hz": "0"})
system = System(SystemConfig(machine=machine, profile=profile, lock=QueuedSpinLock, recorder=Histogram))

def body(task):
    first = yield from task.mmap(1 * GIB)
    for address in range(first, first + 1 * GIB, 8 * MIB):
        yield from task.touch(address)

for cpu in range(512):
    system.vm.run_task(system.vm.new_process(f"space {cpu}"), CpuId(cpu), f"task {cpu}", body)
system.boot()
system.run(system.finished)
assert system.vm.kernel.counts.anonymous == 512 * (128 + 2)  # exec touches two pages
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def page_faults(mode: str) -> tuple[float, int]:
    """page_fault1 on 64 CPUs: host seconds and faults."""
    values = {
        "workload.cpus": 64,
        "workload.mode": mode,
        "workload.mib": 1,
        "run.warmup": "0",
        "run.duration": "600us",
    }
    result = run_study(
        open_study("page_fault1", [Setting(key=k, value=v, option=k) for k, v in values.items()])
    )
    return result["host_s"], result["vm"]["faults"]["faults"]


def test_page_fault1_64_cpus(benchmark, versus) -> None:  # type: ignore[no-untyped-def]
    """At least 25,000 simulated faults per second of host time, the oracle on."""
    benchmark.pedantic(lambda: page_faults("processes"), rounds=1)
    for mode, bound in (("processes", ">= 25,000"), ("threads", "quoted")):
        speeds = [faults / host_s for host_s, faults in (page_faults(mode) for _ in range(5))]
        versus.value(f"page_fault1, 64 CPUs, {mode}", median(speeds), "faults/s", bound)


class Hits:
    """Tasks that use pages which their TLBs have.

    Args:
        bulk: all accesses by one call.
    """

    def __init__(self, *, bulk: bool) -> None:
        config = SystemConfig(
            machine=load_machine("icx2"),
            profile=load_profile("linux-6.18").with_overrides({"hz": "0"}),
            lock=QueuedSpinLock,
            recorder=Histogram,
        )
        self.system = System(config)
        self.bulk = bulk
        self.began: list[float] = []
        self.took: list[Time] = []
        process = self.system.vm.new_process("all")
        for cpu in range(CPUS):
            self.system.vm.run_task(process, CpuId(cpu), f"task {cpu}", self.body)
        self.units = self.system.vm.kernel.units[:CPUS]

    def run(self) -> tuple[float, int]:
        """Host seconds and hits, without the faults before."""
        self.system.boot()
        self.system.run(self.system.finished)
        ended = perf_counter()
        return ended - self.began[0], sum(unit.hits_l1 for unit in self.units)

    def body(self, task: Task) -> Op[None]:
        cpu = task.cpu
        first = yield from task.mmap(PAGES * PAGE_SIZE)
        yield from task.sequential(first, PAGES * PAGE_SIZE, write=True)
        yield from cpu.sync()
        yield from cpu.wait_until(WARM, "user")
        self.units[cpu.id].reset()
        self.began.append(perf_counter())
        began = cpu.clock
        if self.bulk:
            pages = [first // PAGE_SIZE + page for page in range(PAGES)] * SWEEPS
            yield from task.touch_pages(pages, write=True)
        else:
            touch_now = task.touch_now
            for _ in range(SWEEPS):
                for address in range(first, first + PAGES * PAGE_SIZE, PAGE_SIZE):
                    touch_now(address) or (yield from task.touch(address))
        self.took.append(cpu.clock - began)
        yield from cpu.sync()


def plain() -> tuple[float, TouchCounts]:
    """The same by a plain SimPy program."""
    hit = Hits(bulk=False).units[0].l1_hit
    began = perf_counter()
    counts = touches(CPUS, PAGES, SWEEPS, hit)
    return perf_counter() - began, counts


def timed_plain() -> tuple[float, int]:
    seconds, counts = plain()
    return seconds, sum(counts.hits.values())


def test_the_programs_give_the_same_answer() -> None:
    """As many hits, in as much time."""
    single, bulk = Hits(bulk=False), Hits(bulk=True)
    _, hits = single.run()
    _, in_bulk = bulk.run()
    _, counts = plain()

    assert hits == in_bulk == sum(counts.hits.values()) == CPUS * PAGES * SWEEPS
    assert single.took == bulk.took == [counts.time[cpu, "user"] for cpu in range(CPUS)]


def test_tlb_hits(benchmark, versus) -> None:  # type: ignore[no-untyped-def]
    """At least 4 times a timeout per access; in batches at least 2 million per second."""
    benchmark.pedantic(lambda: Hits(bulk=False).run(), rounds=2, warmup_rounds=1)
    versus.ratio("TLB hits, one by one, 16 CPUs", lambda: Hits(bulk=False).run(), timed_plain, ">= 4")
    speeds = [hits / host_s for host_s, hits in (Hits(bulk=True).run() for _ in range(5))]
    versus.value("  in batches", median(speeds), "hits/s", ">= 2,000,000")


def test_many_large_spaces(benchmark, versus) -> None:  # type: ignore[no-untyped-def]
    """512 CPUs with 512 address spaces of 1 GiB, a page touched every 8 MiB: under 2 GB."""

    def peak() -> float:
        out = subprocess.run(
            [sys.executable, "-c", SPARSE], capture_output=True, text=True, check=True, env=warm_environment()
        )
        return float(out.stdout)

    megabytes = benchmark.pedantic(peak, rounds=1)
    versus.value("512 spaces of 1 GiB on 512 CPUs: host memory", megabytes, "MB", "< 2,000")
