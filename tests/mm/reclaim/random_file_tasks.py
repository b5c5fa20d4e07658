"""Random programs on files, while somebody reclaims: what must hold whatever they do.

Two threads of a process and one of another map, use, change and unmap the same three files, and
fork; each has a file of its own, too, whose bytes it knows.  A fourth task scans the LRU lists.
"""

from collections.abc import Mapping
from random import Random

from vm_bench import VmBench

from coalsim.engine.clock import Op
from coalsim.mm.cache.file import File
from coalsim.mm.phys.context import AllocContext
from coalsim.mm.reclaim.file_lru import FileLru
from coalsim.mm.reclaim.kswapd import KSWAPD
from coalsim.mm.shootdown.base import Shootdown
from coalsim.mm.virt.area import READ, READ_WRITE
from coalsim.mm.virt.task import Body, Task
from coalsim.units import PAGE_SIZE, US, NodeId

P = PAGE_SIZE
MACHINE = "pack:2 numa:1 core:2 pu:1"
VERBS = (
    "mmap mmap anonymous touch touch write write write discard protect unmap move fork read put sync own own"
)
OWN_PAGES = 24


class RandomFiles:
    """One such program.

    Args:
        seed: of it all.
        profile, changes: of the kernel.
        mode: of the engine.
        policy: by which TLBs are flushed; None: the profile's own.
        steps: of each task.
    """

    def __init__(
        self,
        seed: int,
        profile: str,
        changes: Mapping[str, str],
        mode: Mapping[str, bool],
        policy: type[Shootdown] | None = None,
        steps: int = 60,
    ) -> None:
        self.bench = bench = VmBench(
            profile,
            {**changes, "reclaim": "on"},
            machine=MACHINE,
            machine_changes={"memory": "64MiB"},
            mode=mode,
            policy=policy,
        )
        new_file = bench.kernel.cache.new_file
        self.files = [new_file(f"file {pages}", pages, is_sparse=pages == 40) for pages in (40, 100, 600)]
        self.steps = steps
        self.freed: list[tuple[int, int]] = []  # when, and how many
        first, second = bench.process("first"), bench.process("second")
        for cpu, process in enumerate((first, first, second)):
            own = new_file(f"own {cpu}", OWN_PAGES, is_sparse=cpu == 1)
            bench.start(process, cpu, self._program(Random(f"{seed} {cpu}"), own))
        bench.start(bench.process("reclaimer"), 3, self._reclaimer(Random(f"{seed} reclaim")))
        bench.finish()

    # -- programs ----------------------------------------------------------------------------

    def _reclaimer(self, rng: Random) -> Body:
        def body(task: Task) -> Op[None]:
            lru = FileLru(self.bench.kernel)
            for _ in range(self.steps // 2):
                yield from task.compute(rng.randrange(1, 60) * US)
                node, want, priority = (
                    NodeId(rng.randrange(2)),
                    rng.choice((1, 32, 64)),
                    rng.choice((0, 0, 2)),
                )
                site = rng.choice((KSWAPD, "direct"))
                count = yield from lru.shrink(task.cpu, node, want, priority, site, AllocContext.USER)
                yield from task.cpu.sync()
                self.freed.append((task.cpu.clock, count))

        return body

    def _program(self, rng: Random, own: File | None) -> Body:
        def body(task: Task) -> Op[None]:
            mine: list[tuple[int, int]] = []
            known = bytearray(OWN_PAGES * P)
            where = 0
            if own is not None:
                where = yield from task.mmap(OWN_PAGES * P, file=own, shared=True)
            for _ in range(self.steps if own is not None else self.steps // 3):
                verb = rng.choice(VERBS.split())
                if verb == "own" and own is not None:
                    yield from self._use_own(task, rng, own, where, known)
                elif verb in ("mmap", "anonymous") or not mine:
                    mine += yield from self._map(task, rng, verb == "anonymous")
                elif verb == "fork" and own is not None and rng.random() < 0.3:
                    child = self._program(Random(rng.random()), None)
                    yield from task.fork("child", child, rng.randrange(3))
                else:
                    yield from self._use(task, rng, verb, mine)
            if own is not None:
                assert (yield from task.read(own, 0, OWN_PAGES * P)) == known
                yield from task.wait_for_children()

        return body

    def _map(self, task: Task, rng: Random, anonymous: bool) -> Op[list[tuple[int, int]]]:
        file = rng.choice(self.files)
        offset = rng.randrange(file.pages)
        pages = rng.randrange(1, min(80, file.pages - offset) + 1)
        if anonymous:
            area = yield from task.mmap(pages * P)
        else:
            shared, populate = rng.random() < 0.5, rng.random() < 0.1
            area = yield from task.mmap(
                pages * P, file=file, offset=offset * P, shared=shared, populate=populate
            )
        return [(area, pages)] if area > 0 else []

    def _use(self, task: Task, rng: Random, verb: str, mine: list[tuple[int, int]]) -> Op[None]:
        area, pages = rng.choice(mine)
        file, low = rng.choice(self.files), rng.randrange(pages)
        at, length = area + low * P, rng.randrange(1, pages - low + 1) * P
        if verb in ("touch", "write"):
            for address in range(at, at + min(length, rng.choice((1, 3, 20)) * P), P):
                yield from task.cpu.sync()
                found = task.space.areas.find(address // P)
                if found is not None and (found.rights.write if verb == "write" else found.rights.read):
                    yield from task.touch(address, write=verb == "write")
        elif verb == "discard":
            yield from task.madvise_dontneed(at, length)
        elif verb == "protect":
            yield from task.mprotect(at, length, rng.choice((READ, READ_WRITE, READ_WRITE)))
        elif verb == "unmap":
            yield from task.munmap(at, length)
        elif verb == "move":
            moved = yield from task.mremap(at, length, max(P, length + rng.randrange(-3, 9) * P))
            if moved > 0:
                mine.append((moved, 1))
        elif verb == "sync":
            yield from task.fsync(file)
        elif verb == "read":
            yield from task.read(file, rng.randrange(file.pages * P), rng.randrange(1, 5 * P))
        elif verb == "put":
            index = rng.randrange(file.pages - 3)
            yield from task.write(file, index * P + rng.randrange(P), bytes(rng.randrange(1, 2 * P)))

    def _use_own(self, task: Task, rng: Random, own: File, where: int, known: bytearray) -> Op[None]:
        """Write the own file by either way, and look at what it holds by the other."""
        at, text = rng.randrange((OWN_PAGES - 1) * P), rng.randbytes(rng.randrange(1, 200))
        known[at : at + len(text)] = text
        if rng.random() < 0.5:
            yield from task.store(where + at, text)
        else:
            yield from task.write(own, at, text)
        if rng.random() < 0.2:
            yield from task.fsync(own)
        at = rng.randrange((OWN_PAGES - 1) * P)
        if rng.random() < 0.5:
            assert (yield from task.load(where + at, 300)) == known[at : at + 300]
        else:
            assert (yield from task.read(own, at, 300)) == known[at : at + 300]

    # -- what came of it -----------------------------------------------------------------------

    def outcome(self) -> dict[str, object]:
        """What may not depend on the engine's mode."""
        bench, now = self.bench, int(self.bench.system.env.now)
        cache, ram = bench.kernel.cache, bench.kernel.ram
        return {
            "end": now,
            "freed": self.freed,
            "signals": [task.signal for one in bench.vm.processes for task in one.tasks],
            "files": {name: getattr(cache.counts, name) for name in cache.counts.FIELDS},
            "faults": {name: getattr(bench.counts, name) for name in bench.counts.FIELDS},
            "flushes": {name: getattr(bench.flushes, name) for name in bench.flushes.FIELDS},
            "pages": [cache.vmstat(NodeId(node), now) for node in (0, 1)],
            "memory": [ram.read(page.pfn, 0, P) for file in cache.files for page in file.pages_in.values()],
            "device": [file.stored for file in cache.files],
            "time": bench.system.time_by_cause(now),
            "locks": [row for lock in bench.system.lock_classes for row in lock.rows()],
        }
