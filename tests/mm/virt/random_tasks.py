"""Random programs of tasks that know what their memory must hold.

Each task changes mappings of its own, beside those of the other threads of its process,
and keeps a model of them in Python: what each page holds and what may be done with it.
Every load is compared with the model.  A child takes over its parent's model as it was at
the fork.  All threads of a process write to its common pages, each its own byte.

A task decides by its own random stream and by what it sees, never by the engine's mode.
"""

from dataclasses import dataclass, field
from random import Random
from typing import ClassVar

from vm_bench import VmBench

from coalsim.engine.clock import Op
from coalsim.mm.shootdown.base import Shootdown
from coalsim.mm.virt.area import NONE, READ, READ_WRITE, Rights
from coalsim.mm.virt.task import Body, Task
from coalsim.units import NS, PAGE_SHIFT, PAGE_SIZE, US

KERNELS: tuple[tuple[str, dict[str, str]], ...] = (
    ("coal", {}),
    ("coal", {"geometry": "x86-64", "gather_pages": "5", "flush_ceiling": "3"}),
    ("coal", {"geometry": "x86-32", "asid_slots": "1", "merge_areas": "off"}),
    ("coal", {"table_replication": "eager", "zero_page": "off"}),
    ("coal", {"table_replication": "lazy"}),
    ("coal", {"table_replication": "per_cpu", "geometry": "pae"}),
    ("linux-3.5", {}),
    ("linux-4.10", {"geometry": "x86-32"}),
    ("linux-6.0", {}),
    ("linux-6.7", {"table_replication": "lazy"}),
    ("linux-6.18", {}),
    ("sv6", {}),
)
COARSE = {"clock_ghz": "1"}
"""Cycles are whole nanoseconds, as most other costs are: many things happen at one instant."""
SAMPLE = 150 * US
KEPT = 8
"""Bytes of each page that are modelled."""
COMMON_PAGES = 3

LARGEST = 24
"""Pages that a task maps at most."""


@dataclass
class Page:
    """What one page must be."""

    content: bytes = bytes(KEPT)
    rights: Rights = READ_WRITE


@dataclass
class Common:
    """What the threads of one process know of each other; synchronised."""

    threads: int = 0
    owners: dict[int, int] = field(default_factory=dict)  # page: thread
    address: int = 0


@dataclass
class Program:
    """One seed's machine, kernel and tasks."""

    seed: int
    policy: type[Shootdown] | None = None  # instead of the kernel's own
    forks_left: int = 4
    logs: dict[str, list[object]] = field(default_factory=dict)

    def run(self, mode: dict[str, bool]) -> tuple[object, ...]:
        """Run it; everything about the run that can be seen."""
        random = Random(f"shape {self.seed}")
        profile, changes = KERNELS[self.seed % len(KERNELS)]
        cpus, policy = random.choice((1, 2, 2, 3, 4)), self.policy
        if policy is not None and policy.replication:
            changes = {**changes, "table_replication": policy.replication}
        bench = VmBench(
            profile,
            {"hz": "10000", **changes},
            machine=f"pack:2 numa:1 core:{cpus} pu:1",
            machine_changes=COARSE if (self.seed + self.seed // len(KERNELS)) % 2 else {},
            mode=mode,
            policy=policy,
        )
        for number in range(random.randint(1, 3)):
            process, common = bench.process(f"p{number}"), Common()
            for _ in range(random.choice((1, 1, 2, 3))):
                name = f"{number}.{common.threads}"
                body = self.body(name, common, Model(), random.randint(20, 60))
                bench.start(process, random.randrange(2 * cpus), body)
        accounts: list[object] = []
        env = bench.system.env
        env.declare_barrier(SAMPLE, lambda: accounts.append(bench.system.time_by_cause(SAMPLE)))
        bench.finish()
        oracle, kernel = bench.kernel.oracle, bench.kernel
        assert oracle is not None
        return (
            self.logs,
            accounts,
            env.now,
            {name: getattr(kernel.counts, name) for name in kernel.counts.FIELDS},
            {name: getattr(bench.flushes, name) for name in bench.flushes.FIELDS},
            {
                name: (kind.latencies.count, kind.latencies.total, sorted(kind.by_cause.items()))  # type: ignore[attr-defined]
                for name, kind in sorted(kernel.operations.kinds.items())
            },
            [(unit.hits_l1, unit.tlb.hits_l2, unit.misses, unit.walks) for unit in kernel.units],
            (oracle.checked, oracle.stale, oracle.broken, oracle.worst_stale),
            oracle.findings(),
        )

    def body(self, name: str, common: Common, model: "Model", steps: int) -> Body:
        """The program of one task."""
        thread = common.threads
        common.threads += 1
        log = self.logs.setdefault(name, [])

        def program(task: Task) -> Op[None]:
            yield from Life(self, common, thread, task, name, model, log).run(steps)

        return program


@dataclass
class Model:
    """What one task's memory must be."""

    pages: dict[int, Page] = field(default_factory=dict)
    heap: list[int] = field(default_factory=list)  # first page and end, where it is this task's
    own_bytes: dict[int, int] = field(default_factory=dict)  # common page: this task's byte
    common: int = 0  # address of the common pages, in whose space this task or its parent wrote them

    def copy(self) -> "Model":
        """That of a child."""
        pages = {number: Page(page.content, page.rights) for number, page in self.pages.items()}
        return Model(pages, self.heap.copy(), self.own_bytes.copy(), self.common)


class Life:
    """One task's way.

    Args:
        program: of which it is part.
        common: what the threads of its process share.
        thread: its number among them.
        task: itself.
        name: which makes its random numbers its own.
        model: what its memory must be.
        log: what it did and saw.
    """

    def __init__(
        self,
        program: Program,
        common: Common,
        thread: int,
        task: Task,
        name: str,
        model: Model,
        log: list[object],
    ) -> None:
        self._program = program
        self._common = common
        self._thread = thread
        self._task = task
        self._name = name
        self._model = model
        self._log = log
        self._random = Random(f"{program.seed} {name}")
        self._children = 0

    def run(self, steps: int) -> Op[None]:
        """So many steps, and a last look at everything."""
        yield from self._meet()
        names = list(self.OPERATIONS)
        weights = [self.OPERATIONS[name] for name in names]
        for _ in range(steps):
            name = self._random.choices(names, weights)[0]
            yield from getattr(self, name)()
            yield from self._task.cpu.sync()
            self._log.append((name, self._task.cpu.clock))
        for number in list(self._model.pages):
            yield from self._check(number)
        yield from self._task.wait_for_children()
        yield from self._check_common()
        if self._random.random() < 0.1:  # some die: the address is nobody's
            yield from self._task.touch(0x100 * PAGE_SIZE + 7)

    # -- the common pages ---------------------------------------------------------------------

    def _meet(self) -> Op[None]:
        """The first thread of a process maps the common pages; all write their byte to them."""
        task, model = self._task, self._model
        yield from task.cpu.sync()
        if self._common.address or model.common:
            model.common = model.common or self._common.address
            return
        if self._thread == 0:
            address = yield from task.mmap(COMMON_PAGES * PAGE_SIZE)
            yield from task.cpu.sync()
            self._common.address = model.common = address

    def use_common(self) -> Op[None]:
        """Write the own byte of a common page."""
        model = self._model
        yield from self._task.cpu.sync()
        model.common = model.common or self._common.address
        if model.common:
            page, value = self._random.randrange(COMMON_PAGES), self._random.randint(1, 255)
            yield from self._task.store(self._common_byte(page), bytes([value]))
            model.own_bytes[page] = value

    def _check_common(self) -> Op[None]:
        for page, value in self._model.own_bytes.items():
            found = yield from self._task.load(self._common_byte(page), 1)
            assert found == bytes([value]), f"{self._name}: common page {page}: {found!r}, not {value}"

    def _common_byte(self, page: int) -> int:
        return self._model.common + page * PAGE_SIZE + 64 + self._thread

    # -- using memory -----------------------------------------------------------------------------

    def _pick(self) -> int | None:
        return self._random.choice(list(self._model.pages)) if self._model.pages else None

    def _check(self, number: int) -> Op[None]:
        """A page holds what it must, and cannot be read where it may not."""
        page, address = self._model.pages[number], number * PAGE_SIZE
        if page.rights.read:
            found = yield from self._task.load(address, KEPT)
            assert found == page.content, f"{self._name}: page {number:#x}: {found!r}, not {page.content!r}"
        else:
            assert (yield from self._task.copy_from_user(address, KEPT)) == (KEPT, b"")

    def load(self) -> Op[None]:
        """Look at some pages."""
        for _ in range(3):
            if (number := self._pick()) is not None:
                yield from self._check(number)

    def store(self) -> Op[None]:
        """Change some pages, from user code or from the kernel."""
        task = self._task
        for _ in range(self._random.randint(1, 6)):
            number = self._pick()
            if number is None:
                return
            page, content = self._model.pages[number], self._random.randbytes(KEPT)
            if page.rights.write and self._random.random() < 0.7:
                yield from task.store(number * PAGE_SIZE, content)
                page.content = content
            else:
                left = yield from task.copy_to_user(number * PAGE_SIZE, content)
                assert left == (0 if page.rights.write else KEPT)
                page.content = page.content if left else content

    def _usable(self, write: bool) -> list[int]:
        """Own pages that may be used so."""
        pages = self._model.pages.items()
        return [n for n, page in pages if page.rights.write or (page.rights.read and not write)]

    def touch_one_by_one(self) -> Op[None]:
        """Use pages in the quick way that loads use: what waits is called only where it may have to."""
        random, task = self._random, self._task
        for _ in range(random.randint(1, 12)):
            write = random.random() < 0.5
            if fit := self._usable(write):
                address = random.choice(fit) * PAGE_SIZE
                if not task.touch_now(address, write):
                    yield from task.touch(address, write=write)

    def touch(self) -> Op[None]:
        """Use pages without looking at them, in bulk."""
        random = self._random
        write = random.random() < 0.5
        if fit := self._usable(write):
            chosen = [random.choice(fit) for _ in range(random.randint(1, 40))]
            yield from self._task.touch_pages(chosen, write=write, repeat=random.randint(1, 3))

    def compute(self) -> Op[None]:
        """Time passes."""
        yield from self._task.compute(self._random.randrange(20_000) * NS)

    # -- changing the address space -------------------------------------------------------------------

    def _run(self) -> tuple[int, int] | None:
        """A part of a run of own pages: first and how many."""
        first = self._pick()
        if first is None:
            return None
        longest = 1
        while first + longest in self._model.pages:
            longest += 1
        return first, self._random.randint(1, longest)

    def _take(self, first: int, count: int, rights: Rights) -> None:
        """Pages are this task's from now on, and were nobody's."""
        owners, pages = self._common.owners, self._model.pages
        for number in range(first, first + count):
            assert number not in owners, f"{self._name}: page {number:#x} is mapped twice"
            assert number not in pages
            owners[number] = self._thread
            pages[number] = Page(rights=rights)

    def _drop(self, first: int, count: int) -> None:
        """Pages are about to be nobody's."""
        for number in range(first, first + count):
            self._model.pages.pop(number, None)
            self._common.owners.pop(number, None)

    def map(self) -> Op[None]:
        """A new mapping, anywhere or over own pages."""
        random, task = self._random, self._task
        count = random.choice((1, 1, 2, 3, 5, 12))
        if len(self._model.pages) + count > LARGEST:
            return
        rights = random.choice((READ_WRITE, READ_WRITE, READ_WRITE, READ, NONE))
        populate = random.random() < 0.3
        run = self._run()
        if run is not None and random.random() < 0.3:
            first, count = run
            yield from task.cpu.sync()
            if self._is_heap(first, count):
                return
            self._drop(first, count)
            address = yield from task.mmap(
                count * PAGE_SIZE, address=first * PAGE_SIZE, rights=rights, populate=populate
            )
            assert address == first * PAGE_SIZE
        else:
            address = yield from task.mmap(count * PAGE_SIZE, rights=rights, populate=populate)
            assert address > 0
        self._take(address >> PAGE_SHIFT, count, rights)

    def unmap(self) -> Op[None]:
        """A part of the own pages goes."""
        run = self._run()
        if run is not None and not self._is_heap(*run):
            yield from self._task.cpu.sync()
            self._drop(*run)
            assert (yield from self._task.munmap(run[0] * PAGE_SIZE, run[1] * PAGE_SIZE)) == 0

    def protect(self) -> Op[None]:
        """Rights of a part change."""
        run = self._run()
        if run is not None:
            rights = self._random.choice((READ_WRITE, READ_WRITE, READ, NONE))
            assert (yield from self._task.mprotect(run[0] * PAGE_SIZE, run[1] * PAGE_SIZE, rights)) == 0
            for number in range(run[0], run[0] + run[1]):
                self._model.pages[number].rights = rights

    def discard(self) -> Op[None]:
        """A part reads as zeros again."""
        run = self._run()
        if run is not None:
            assert (yield from self._task.madvise_dontneed(run[0] * PAGE_SIZE, run[1] * PAGE_SIZE)) == 0
            for number in range(run[0], run[0] + run[1]):
                self._model.pages[number].content = bytes(KEPT)

    def move(self) -> Op[None]:
        """A part becomes larger or smaller, here or elsewhere; refused if it is no single area."""
        run, task, pages = self._run(), self._task, self._model.pages
        if run is None or self._is_heap(*run):
            return
        first, old = run
        new = self._random.randint(1, old + 3)
        rights = pages[first].rights
        if any(pages[number].rights != rights for number in range(first, first + old)):
            return
        yield from task.cpu.sync()
        moved = [pages[number] for number in range(first, first + old)]
        self._drop(first, old)  # others may get these addresses before the call returns
        found = yield from task.mremap(first * PAGE_SIZE, old * PAGE_SIZE, new * PAGE_SIZE)
        to, count = (first, old) if found < 0 else (found >> PAGE_SHIFT, new)
        assert found > 0 or new >= old
        self._take(to, count, rights)
        for number, page in enumerate(moved[:count]):
            pages[to + number] = page

    def _is_heap(self, first: int, count: int) -> bool:
        heap = self._model.heap
        return bool(heap) and first < heap[1] and heap[0] < first + count

    def move_break(self) -> Op[None]:
        """The first thread of a process has the heap."""
        if self._thread:
            return
        task, heap = self._task, self._model.heap
        if not heap:
            start = (yield from task.brk(0)) >> PAGE_SHIFT
            heap += [start, start]
        pages = self._random.randint(-4, 4)
        if len(self._model.pages) + pages > LARGEST:
            return
        end = max(heap[0], heap[1] + pages)
        yield from task.cpu.sync()
        if pages < 0:
            self._drop(end, heap[1] - end)
        assert (yield from task.brk(pages * PAGE_SIZE)) >> PAGE_SHIFT == end
        if pages > 0:
            self._take(heap[1], pages, READ_WRITE)
        heap[1] = end

    # -- other tasks ----------------------------------------------------------------------------------

    def fork(self) -> Op[None]:
        """A child goes on from here."""
        program, task = self._program, self._task
        yield from task.cpu.sync()
        if not program.forks_left:
            return
        program.forks_left -= 1
        self._children += 1
        model, common, name = self._model.copy(), Common(), f"{self._name}/{self._children}"
        common.threads = self._thread  # so that the child's byte is its parent's
        common.owners = dict.fromkeys(model.pages, self._thread)  # what others map is not in its way
        if self._thread:  # the heap is the first thread's, here and there
            model.heap = []
        body = program.body(name, common, model, self._random.randint(5, 25))
        kernel = task.process.space.kernel
        child = yield from task.fork(name, body, self._random.randrange(len(kernel.cpus)))
        assert child is not None
        if self._random.random() < 0.3:
            yield from task.wait_for_children()

    OPERATIONS: ClassVar[dict[str, int]] = {
        "load": 6,
        "store": 8,
        "touch": 4,
        "touch_one_by_one": 4,
        "compute": 2,
        "use_common": 3,
        "map": 6,
        "unmap": 3,
        "protect": 3,
        "discard": 3,
        "move": 3,
        "move_break": 2,
        "fork": 1,
    }
