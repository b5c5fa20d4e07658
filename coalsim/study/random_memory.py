"""A random program of address spaces, made to catch flushes that come too late.

Every task goes on using pages through its TLB that others may have taken away long ago:
hits are what a shootdown has to prevent, and the oracle judges each of them.  Meanwhile
tasks map, unmap, change rights, discard, move, fork, nap and turn interrupts off, so that
processors are lazy, busy, deaf or elsewhere when a flush reaches them.

A page is faulted in only where nobody is about to unmap it, so tasks hardly ever die of
their own program; hits need no such care.

Where page tables have more than one level of directories, tasks also map a few pages at far
places (`random_regions.py`).  Stacks of directories are freed with one page and made again,
while walkers have pointers to them; copies by the kernel to places where nothing is mapped
leave pointers to directories in walkers that have none to a table below.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import ClassVar

from coalsim.engine.clock import Op
from coalsim.mm.virt.area import READ, READ_WRITE, Rights
from coalsim.mm.virt.system import VirtualMemory
from coalsim.mm.virt.task import Task, TaskKilled
from coalsim.study.random_regions import Common, Region, far_places
from coalsim.units import NS, PAGE_SIZE, US, CpuId, Time

KNOWN = 200
"""Pages that a task remembers to use again."""
SPACING_PAGES = 3 * 512
"""Now and then a mapping ends behind a page table, so that unmapping it frees tables."""


@dataclass
class Program:
    """What all tasks of a run share; synchronised.

    Args:
        vm: where it runs.
        cpus: the processors that it uses.
        seed: of all that is random.
        steps: that each task does.
        forks: that may still be made.
    """

    vm: VirtualMemory
    cpus: list[CpuId]
    seed: int
    steps: int
    forks: int = 6
    asleep: list[Task] = field(default_factory=list)
    awake: int = 0
    far: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.far = far_places(self.vm.kernel.geometry)

    def start(self) -> None:
        """Two processes: one with a task everywhere, one with tasks on some of the same processors."""
        random = Random(f"{self.seed} start")
        for name, share in (("wide", 1.0), ("narrow", 0.4)):
            process, common = self.vm.new_process(name), Common()
            for cpu in self.cpus:
                if random.random() < share or cpu == self.cpus[0]:
                    self.awake += 1
                    self.vm.run_task(process, cpu, f"{name} {cpu}", self.life(common, f"{name} {cpu}"))

    def life(self, common: Common, name: str, steps: int = 0) -> Callable[[Task], Op[None]]:
        """The program of one task."""

        def body(task: Task) -> Op[None]:
            yield from Life(self, common, task, name).run(steps or self.steps)

        return body


class Life:
    """One task.

    Args:
        program: of which it is part.
        common: what it shares with the other tasks of its process.
        task: itself.
        name: which makes its random numbers its own.
    """

    def __init__(self, program: Program, common: Common, task: Task, name: str) -> None:
        self._program = program
        self._common = common
        self._task = task
        self._name = name
        self._random = Random(f"{program.seed} {name}")
        self._known: list[int] = []  # pages that were there once
        kernel = program.vm.kernel
        self._unit = kernel.units[task.cpu.id]

    def run(self, steps: int) -> Op[None]:
        """Something at random, and hits after everything."""
        chances = {**self.OPERATIONS, **(self.FAR_OPERATIONS if self._program.far else {})}
        operations, weights = list(chances), list(chances.values())
        with suppress(TaskKilled):  # then it is synchronised, too
            for _ in range(steps):
                operation = self._random.choices(operations, weights)[0]
                yield from operation(self)
                yield from self._hits()
        yield from self._task.cpu.sync()
        self._program.awake -= 1
        yield from self._wake_all()

    # -- using memory ------------------------------------------------------------------------

    def _hits(self) -> Op[None]:
        """Use pages that the TLB still has, whoever has taken them away since."""
        cpu, random = self._task.cpu, self._random
        if not self._known:
            return
        for _ in range(random.randint(1, 12)):
            if cpu.clock >= cpu.limit:
                yield from cpu.look()
            vpn = random.choice(self._known)
            self._unit.hit(vpn, random.random() < 0.4, "hit", "user")
            cpu.charge(random.randint(1, 400) * NS, "user")

    def _region(self, *, alone: bool = False, far: bool = False) -> Op[Region | None]:
        """A mapping; one that is to be changed, or at a far place, if asked for."""
        yield from self._task.cpu.sync()
        fit = self._common.fitting(alone=alone, far=far)
        return self._random.choice(fit) if fit else None

    def touch(self) -> Op[None]:
        """Fault some pages in."""
        region = yield from self._region()
        if region is None:
            yield from self.map()
        else:
            yield from self._touch(region)

    def touch_far(self) -> Op[None]:
        """The same at a far place."""
        region = yield from self._region(far=True)
        if region is None:
            yield from self.map_far()
        else:
            yield from self._touch(region)

    def _touch(self, region: Region) -> Op[None]:
        """Fault pages of a mapping in; synchronised."""
        region.users += 1
        first = region.address // PAGE_SIZE
        for _ in range(self._random.randint(1, 8)):
            vpn = first + self._random.randrange(region.pages)
            write = region.writable and self._random.random() < 0.6
            yield from self._task.touch(vpn * PAGE_SIZE, write=write)
            self._known.append(vpn)
        del self._known[:-KNOWN]
        yield from self._task.cpu.sync()
        region.users -= 1

    def copy(self) -> Op[None]:
        """The kernel copies to or from far places, whether anything is mapped there or not."""
        random = self._random
        for _ in range(random.randint(1, 4)):
            address = random.choice(self._program.far)
            if random.random() < 0.5:
                left = yield from self._task.copy_to_user(address, b"coal")
            else:
                left, _ = yield from self._task.copy_from_user(address, 4)
            if not left:
                self._known.append(address // PAGE_SIZE)

    # -- changing the address space ---------------------------------------------------------------

    def map(self) -> Op[None]:
        """A new mapping."""
        pages = self._random.choice((1, 1, 2, 5, 20, 40, SPACING_PAGES))
        address = yield from self._task.mmap(pages * PAGE_SIZE)
        if address > 0:
            yield from self._task.cpu.sync()
            self._common.regions.append(Region(address, pages))

    def map_far(self) -> Op[None]:
        """A few pages at a far place that is free."""
        yield from self._task.cpu.sync()
        common = self._common
        free = [place for place in self._program.far if place not in common.taken]
        if not free:
            return
        place, pages = self._random.choice(free), self._random.choice((1, 1, 2, 3))
        common.taken[place] = None
        address = yield from self._task.mmap(pages * PAGE_SIZE, address=place)
        yield from self._task.cpu.sync()
        if address == place:
            common.regions.append(Region(place, pages))
        else:
            del common.taken[place]

    def unmap(self) -> Op[None]:
        """Take a mapping away, or its upper part."""
        region = yield from self._region(alone=True)
        if region is not None:
            yield from self._unmap(region)

    def unmap_far(self) -> Op[None]:
        """The same at a far place; its tables and directories go with the last page that needs them."""
        region = yield from self._region(alone=True, far=True)
        if region is not None:
            yield from self._unmap(region)

    def _unmap(self, region: Region) -> Op[None]:
        """Take a mapping away, or its upper part; synchronised."""
        self._common.regions.remove(region)
        kept = self._random.choice((0, 0, region.pages // 2))
        address = region.address + kept * PAGE_SIZE
        yield from self._task.munmap(address, (region.pages - kept) * PAGE_SIZE)
        if kept:
            yield from self._task.cpu.sync()
            self._common.regions.append(Region(region.address, kept, region.writable))
        elif region.address in self._common.taken:
            yield from self._task.cpu.sync()
            del self._common.taken[region.address]

    def discard(self) -> Op[None]:
        """Give pages back and keep the mapping; others may fault them in meanwhile."""
        region = yield from self._region()
        if region is not None:
            yield from self._task.madvise_dontneed(region.address, region.pages * PAGE_SIZE)

    def protect(self) -> Op[None]:
        """Take the right to write away, or give it back."""
        region = yield from self._region(alone=True)
        if region is None:
            return
        region.users += 1  # nobody else changes it meanwhile
        rights: Rights = READ if region.writable else READ_WRITE
        region.writable = False
        yield from self._task.mprotect(region.address, region.pages * PAGE_SIZE, rights)
        yield from self._task.cpu.sync()
        region.writable = rights.write
        region.users -= 1

    def move(self) -> Op[None]:
        """Move a mapping by making it larger."""
        region = yield from self._region(alone=True)
        if region is None:
            return
        self._common.regions.remove(region)
        grown = region.pages + self._random.randint(1, 9)
        address = yield from self._task.mremap(region.address, region.pages * PAGE_SIZE, grown * PAGE_SIZE)
        yield from self._task.cpu.sync()
        if address > 0:
            self._common.regions.append(Region(address, grown, region.writable))
            if address != region.address:
                self._common.taken.pop(region.address, None)
        else:
            self._common.regions.append(region)

    def heap(self) -> Op[None]:
        """Grow the heap, or shrink it."""
        yield from self._task.brk(self._random.choice((-3, 2, 4)) * PAGE_SIZE)

    def fork(self) -> Op[None]:
        """A child with the same pages, on any processor; it does a little and exits."""
        program, random = self._program, self._random
        yield from self._task.cpu.sync()
        if not program.forks:
            return
        program.forks -= 1
        program.awake += 1
        copied = list(self._common.regions)
        for one in copied:
            one.users += 1  # nobody changes it meanwhile
        common = self._common.inherited()
        name = f"{self._name}/{program.forks}"
        life = program.life(common, name, 1 + program.steps // 3)
        child = yield from self._task.fork(name, life, random.choice(program.cpus))
        yield from self._task.cpu.sync()
        for one in copied:
            one.users -= 1
        if child is None:
            program.awake -= 1

    # -- bad moments ------------------------------------------------------------------------------------

    def deaf(self) -> Op[None]:
        """Interrupts off, for a while."""
        cpu = self._task.cpu
        yield from cpu.irq_off()
        cpu.charge(self._length(20), "interrupts off")
        yield from cpu.irq_on()

    def work(self) -> Op[None]:
        """Compute, in user mode."""
        yield from self._task.compute(self._length(30))

    def nap(self) -> Op[None]:
        """Leave the processor idle, or to another space, unless everybody else has done so."""
        program = self._program
        yield from self._task.cpu.sync()
        if program.awake > 1:
            program.awake -= 1
            program.asleep.append(self._task)
            yield from self._task.sleep_until_woken()

    def wake(self) -> Op[None]:
        """Wake one who naps."""
        program = self._program
        yield from self._task.cpu.sync()
        if program.asleep:
            sleeper = program.asleep.pop(self._random.randrange(len(program.asleep)))
            program.awake += 1
            yield from self._task.wake(sleeper)

    def _wake_all(self) -> Op[None]:
        while self._program.asleep:
            yield from self.wake()
            yield from self._task.cpu.sync()

    def _length(self, most: int) -> Time:
        return self._random.randint(1, most * 1000) * US // 1000

    OPERATIONS: ClassVar[dict[Callable[["Life"], Op[None]], int]] = {
        touch: 10,
        map: 4,
        unmap: 4,
        discard: 4,
        protect: 3,
        move: 2,
        heap: 1,
        fork: 1,
        deaf: 3,
        work: 3,
        nap: 2,
        wake: 3,
    }
    """What a task may do, and how often."""
    FAR_OPERATIONS: ClassVar[dict[Callable[["Life"], Op[None]], int]] = {
        map_far: 12,
        unmap_far: 16,
        touch_far: 4,
        copy: 24,
    }
    """And where there are far places."""
