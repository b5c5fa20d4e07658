"""A scenario that uses every subsystem, run once for each allocation that can fail.

One program of several processes maps, touches, forks, protects, moves and unmaps memory, maps and
reads files, and uses kernel objects of all sizes, named caches and blocks of pages.  `chances` counts
what it asks for; `run_with` lets the nth request fail and says what is wrong afterwards.
"""

from coalsim.boot import System, SystemConfig
from coalsim.engine.clock import Op
from coalsim.engine.occasions import When
from coalsim.injection import Injection
from coalsim.locks.queued import QueuedLock
from coalsim.mm.cache.file import File
from coalsim.mm.debug.failing import FailRule
from coalsim.mm.virt.area import READ
from coalsim.mm.virt.task import Body, Task
from coalsim.observe.histogram import Histogram
from coalsim.profiles import load_profile
from coalsim.topology.presets import load_machine
from coalsim.units import PAGE_SIZE, CpuId

MACHINE = "pack:2 numa:1 core:2 pu:1"
PAGES = 12
SITE = "sweep"


def system_of(profile: str, rules: list[FailRule]) -> System:
    """A small machine whose kernel refuses as the rules say, with the scenario's threads."""
    machine = load_machine(MACHINE).with_overrides({"memory": "8MiB"})
    kernel = load_profile(profile)
    system = System(
        SystemConfig(
            machine=machine,
            profile=kernel,
            lock=QueuedLock,
            recorder=Histogram,
            injection=lambda: Injection(fail=rules),
        )
    )
    vm = system.vm
    file = vm.kernel.cache.new_file("/data/sweep", 4 * PAGES, is_sparse=False)
    for number in range(2):
        process = vm.new_process(f"program{number}")
        vm.run_task(process, CpuId(number), process.name, program)
        process = vm.new_process(f"reader{number}")
        vm.run_task(process, CpuId(number + 2), process.name, reader(file))
    for number in (2, 3):
        system.run_thread(CpuId(number), f"driver{number}", driver(system, CpuId(number)))
    return system


def program(task: Task) -> Op[None]:
    """What a process does; calls that fail are left at that."""
    length = PAGES * PAGE_SIZE
    area = yield from task.mmap(length)
    if area < 0:
        return
    yield from task.sequential(area, length, write=True)
    populated = yield from task.mmap(length, populate=True)
    child = yield from task.fork("child", copy_on_write(area, length), cpu_id=task.cpu.id)
    yield from task.sequential(area, length, write=True)
    yield from task.spawn(task.cpu.id, "thread", copy_on_write(area, length))
    yield from task.brk(3 * PAGE_SIZE)
    yield from task.mprotect(area, PAGE_SIZE, READ)
    moved = yield from task.mremap(area, length, 2 * length)
    if moved >= 0:
        area = moved
        yield from task.sequential(area + length, length, write=True)
    yield from task.copy_to_user(area + length, b"coal" * 5000)
    yield from task.madvise_dontneed(area, length)
    if child is not None:
        yield from task.wait_for_children()
    yield from task.munmap(area, length)
    if populated >= 0:
        yield from task.munmap(populated, length)


def reader(file: File) -> Body:
    """The program of a process that uses a file, mapped and by calls."""

    def body(task: Task) -> Op[None]:
        length = file.pages * PAGE_SIZE
        yield from task.read(file, 0, length // 2)
        yield from task.write(file, PAGE_SIZE // 2, b"coal" * 3000)
        for shared in (True, False):
            area = yield from task.mmap(length, file=file, shared=shared)
            if area >= 0:
                yield from task.sequential(area, length)
                yield from task.sequential(area, length // 2, write=True)
                yield from task.munmap(area, length)
        yield from task.fsync(file)

    return body


def copy_on_write(area: int, length: int) -> Body:
    """The program of a child, or of a second thread: it writes what the other has."""

    def body(task: Task) -> Op[None]:
        yield from task.sequential(area, PAGE_SIZE, write=True)
        yield from task.compute(1_000_000)
        own = yield from task.mmap(length)
        if own >= 0:
            yield from task.sequential(own, length, write=True)

    return body


def driver(system: System, cpu_id: CpuId) -> Op[None]:
    """Kernel objects of all kinds; what is not there is not used."""
    cpu, memory = system.cpus[cpu_id], system.memory
    handle = memory.cache("sweep_object", 200)
    for _ in range(2):
        held: list[int] = []
        for size in (16, 64, 500, 2000, 6000, 20000):
            for _ in range(3):
                address = memory.kmalloc_now(cpu, size) or (yield from memory.kmalloc(cpu, size, SITE))
                held += [address] if address else []
        objects = []
        for _ in range(30):
            found = memory.cache_alloc_now(cpu, handle) or (yield from memory.cache_alloc(cpu, handle, SITE))
            objects += [found] if found else []
        blocks = []
        for order in (0, 1, 4):
            pfn = yield from memory.alloc_pages(cpu, order, SITE)
            blocks += [(pfn, order)] if pfn >= 0 else []
        for address in held:
            yield from memory.kfree(cpu, address, SITE)
        for found in objects:
            yield from memory.cache_free(cpu, handle, found, SITE)
        for pfn, order in blocks:
            yield from memory.free_pages(cpu, pfn, order, SITE)
    yield from memory.drain_cpu(cpu, SITE)


def chances(profile: str, what: str) -> int:
    """How many requests the scenario makes, if none fails."""
    rule = FailRule(what, "*", "*", -1, -1, When(nth=1 << 30), 0)
    system = finished(system_of(profile, [rule]))
    rules = system.memory.pages.gate if what == "pages" else system.memory.verbs
    return rules.chances  # type: ignore[union-attr]


def finished(system: System) -> System:
    """Run to the end."""
    system.boot()
    system.run(system.finished)
    return system


def run_with(profile: str, what: str, nth: int) -> None:
    """Let the nth request fail; afterwards nothing is lost and every invariant holds."""
    rule = FailRule(what, "*", "*", -1, -1, When(nth=nth), 0)
    system = finished(system_of(profile, [rule]))
    assert sum(rule.refused.values()) == 1, f"{what} {nth}: nothing was refused"
    check(system, f"{profile}: {what} {nth} at {next(iter(rule.refused))}")


def check(system: System, where: str) -> None:
    """All memory has come back but what the kernel keeps, and everything adds up."""
    vm, memory = system.vm, system.memory
    assert all(process.is_over for process in vm.processes), f"{where}: a process lives on"
    cached = sum(vm.kernel.cache.nr_file_pages)
    assert vm.kernel.frames.taken == cached, f"{where}: {vm.kernel.frames.taken - cached} frames leaked"
    assert memory.objects.held_objects == 0, f"{where}: objects leaked"
    memory.validate()
    vm.validate()
    pages = memory.pages
    accounted = pages.taken_pages() + pages.listed_pages() + pages.moving_pages()
    accounted += sum(zone.source.free_frames + zone.source.unheld_frames() for zone in pages.zones)
    assert accounted == sum(zone.frames for zone in pages.zones), f"{where}: frames were lost or made"
    vm.judge_all()
    assert vm.kernel.oracle is not None
    assert not vm.kernel.oracle.broken, f"{where}: a promise was broken"
