"""Reclaim of file pages: a file larger than memory, in a steady load."""

import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "virt"))

from vm_bench import MODES, VmBench, at

from coalsim.engine.clock import Op
from coalsim.mm.phys.context import AllocContext
from coalsim.mm.reclaim.file_lru import FileLru
from coalsim.mm.virt.task import Task
from coalsim.units import MS, PAGE_SIZE, NodeId

P = PAGE_SIZE
USER = AllocContext.USER
MEMORY = 2  # MiB
PAGES = 700  # of the file: 2.7 MiB


class Story:
    """A machine of 2 MiB whose tasks go through a file that is larger, and what can be seen of it.

    Args:
        kind: private mapping that is read, shared one that is written now and then.
        tasks: by process, how many threads.
        mode: of the engine.
        changes: of the kernel.
    """

    def __init__(
        self,
        kind: str,
        tasks: tuple[int, ...],
        mode: Mapping[str, bool] | None = None,
        changes: Mapping[str, str] | None = None,
    ) -> None:
        self.bench = bench = VmBench(
            "linux-6.18",
            {"reclaim": "on", **(changes or {})},
            machine="pack:1 numa:1 core:3 pu:1",
            machine_changes={"memory": f"{MEMORY}MiB"},
            mode=mode,
        )
        self.file = bench.kernel.cache.new_file("large", PAGES)
        self.free: list[int] = []  # free pages, now and then
        number = 0
        for threads in tasks:
            process = bench.process(f"process {threads}")
            for _ in range(threads):
                bench.start(process, number % 3, self._program(number, kind))
                number += 1
        bench.finish()
        assert not [task.signal for task in bench.tasks if task.signal]

    def _program(self, number: int, kind: str):  # type: ignore[no-untyped-def]
        def program(task: Task) -> Op[None]:
            zone = self.bench.system.memory.pages.zones[0]
            area = yield from task.mmap(PAGES * P, file=self.file, shared=kind == "shared")
            for step in range(PAGES):
                page = (step * (1, 7)[number % 2]) % PAGES
                yield from task.touch(area + page * P, write=kind == "shared" and step % 5 == number)
                if step > 3 * PAGES // 4 and step % 5 == 0:
                    yield from task.cpu.sync()
                    self.free.append(zone.free.read(task.cpu))

        return program

    def outcome(self) -> dict[str, object]:
        """What may not depend on the mode."""
        bench, now = self.bench, self.bench.system.env.now
        cache, pressure = bench.kernel.cache, bench.system.pressure
        assert pressure is not None
        return {
            "end": now,
            "files": {name: getattr(cache.counts, name) for name in cache.counts.FIELDS},
            "pages": cache.vmstat(NodeId(0), now),
            "device": (cache.device.requests, cache.device.pages_read, cache.device.pages_written),
            "flushes": {name: getattr(bench.flushes, name) for name in bench.flushes.FIELDS},
            "kswapd": ([one.runs for one in pressure.kswapds.values()], cache.stolen_by_kswapd),
            "free": self.free,
            "time": bench.system.time_by_cause(now),
            "locks": [row for lock in bench.system.lock_classes for row in lock.rows()],
        }


@cache
def reading() -> Story:
    """Two processes read the file, privately mapped."""
    return Story("private", (1, 1))


@cache
def writing() -> Story:
    """Two threads of one process use it, shared, and write a fifth of it."""
    return Story("shared", (2,))


@pytest.mark.parametrize("story", [reading, writing])
def test_free_pages_stay_between_the_marks_in_a_steady_load(story) -> None:  # type: ignore[no-untyped-def]
    """kswapd starts below low and stops above high; a round of 32 to 63 pages may be on the way."""
    free, bench = story().free, story().bench
    (zone,) = bench.system.memory.pages.zones
    assert min(free) > zone.marks.min - 32  # a list is refilled by up to 32, the first of which is tested
    assert max(free) <= zone.marks.high + 63
    assert len(free) > 50
    (stolen,) = bench.kernel.cache.stolen_by_kswapd
    assert stolen > PAGES - MEMORY * 256
    assert not bench.system.kernel_log  # nobody was killed


@pytest.mark.parametrize("story", [reading, writing])
def test_every_scanned_page_is_accounted_for(story) -> None:  # type: ignore[no-untyped-def]
    """What was read and is not in memory any more was stolen; what was stolen had been scanned."""
    cache = story().bench.kernel.cache
    counts, device = cache.counts, cache.device
    stolen = counts.pgsteal_kswapd + counts.pgsteal_direct
    assert device.pages_read - stolen == len(cache.by_frame)
    assert stolen <= counts.pgscan_kswapd + counts.pgscan_direct
    assert counts.pgpgin == 4 * device.pages_read
    assert counts.pgpgout == 4 * device.pages_written


def test_written_pages_reach_the_device_before_they_go() -> None:
    """Each page that was written and is clean, or gone, has been given to the device."""
    story = writing()
    assert story.bench.kernel.cache.device.pages_written
    assert story.bench.kernel.cache.nr_dirty[0] == len(story.file.dirty)


KINDS = pytest.mark.parametrize(
    ("kind", "tasks", "quick"), [("private", (1, 1), reading), ("shared", (2,), writing)]
)


@pytest.mark.fast_one_in(2)
@KINDS
def test_the_reference_reclaims_alike(kind: str, tasks: tuple[int, ...], quick: Callable[[], Story]) -> None:
    """Lists, verdicts, flushes and times of the quick mode are those of the reference."""
    assert quick().outcome() == Story(kind, tasks, MODES[0]).outcome()


@pytest.mark.slow
@KINDS
def test_all_modes_reclaim_alike(kind: str, tasks: tuple[int, ...], quick: Callable[[], Story]) -> None:
    """So they are with each short cut by itself."""
    for mode in MODES[1:]:
        assert Story(kind, tasks, mode).outcome() == quick().outcome(), mode


def test_batches_send_fewer_flushes() -> None:
    """32 entries a flush against one each, for about as many entries."""
    one_each = Story("private", (1, 1), changes={"flush_batch": "1"}).bench.kernel.cache.counts
    batched = reading().bench.kernel.cache.counts
    assert one_each.reclaim_flushes == one_each.pages_unmapped
    assert batched.reclaim_flushes < batched.pages_unmapped / 5
    assert 0.5 < batched.pages_unmapped / one_each.pages_unmapped < 2


def small(changes: Mapping[str, str] | None = None) -> VmBench:
    """A machine that is never short; the shrinker is called by hand."""
    return VmBench("linux-6.18", {"reclaim": "on", **(changes or {})}, machine="pack:1 numa:1 core:2 pu:1")


def test_a_page_in_use_gets_a_second_chance_and_then_becomes_active() -> None:
    """Used between two scans it is kept, then activated; unused ones are freed by the second scan."""
    bench = small()
    file = bench.kernel.cache.new_file("data", 64, is_sparse=True)

    def program(task: Task) -> Op[None]:
        lru, cache = FileLru(bench.kernel), bench.kernel.cache
        area = yield from task.mmap(64 * P, file=file)
        for page in range(64):
            yield from task.touch(area + page * P, write=False)
        hot = file.pages_in[7]
        assert (yield from lru.shrink(task.cpu, NodeId(0), 64, 0, "test", USER)) == 0  # all had been used
        bench.kernel.units[task.cpu.id].flush_all()
        yield from task.touch(area + 7 * P, write=False)
        freed = yield from lru.shrink(task.cpu, NodeId(0), 64, 0, "test", USER)
        yield from task.cpu.sync()
        assert freed == 63
        assert list(file.pages_in.values()) == [hot]
        assert cache.counts.pgactivate == 1
        assert cache.vmstat(NodeId(0), task.cpu.clock + 1)["nr_active_file"] == 1
        assert lru.reclaimable(NodeId(0), USER) == 1

    bench.run(program)


def test_a_dirty_page_is_written_first_and_freed_when_the_device_has_it() -> None:
    """Two scans: the first hands it over, the second, later, frees it; its bytes are on the device."""
    bench = small()
    file = bench.kernel.cache.new_file("data", 8, is_sparse=True)

    def program(task: Task) -> Op[None]:
        lru = FileLru(bench.kernel)
        yield from task.write(file, 0, b"keep")
        yield from task.write(file, P, b"too")
        for page in file.pages_in.values():
            page.referenced = False
        assert (yield from lru.shrink(task.cpu, NodeId(0), 2, 0, "test", USER)) == 0
        yield from task.cpu.sync()
        assert not file.dirty
        assert len(file.pages_in) == 2
        yield from at(task, task.cpu.clock + MS)
        assert (yield from lru.shrink(task.cpu, NodeId(0), 2, 0, "test", USER)) == 2
        assert not file.pages_in
        assert (yield from task.read(file, P, 3)) == b"too"

    bench.run(program)


def test_a_pinned_or_locked_page_is_left_alone() -> None:
    """Somebody uses it without an entry."""
    bench = small()
    file = bench.kernel.cache.new_file("data", 8, is_sparse=True)

    def program(task: Task) -> Op[None]:
        lru = FileLru(bench.kernel)
        yield from task.read(file, 0, 4 * P)
        for page in file.pages_in.values():
            page.referenced = False
        yield from task.cpu.sync()
        file.pages_in[0].pins += 1
        yield from file.pages_in[1].lock(task.cpu, 0)
        assert (yield from lru.shrink(task.cpu, NodeId(0), 8, 0, "test", USER)) == 2
        assert sorted(file.pages_in) == [0, 1]
        yield from file.pages_in[1].unlock(task.cpu, 0, 1)
        file.pages_in[0].pins -= 1

    bench.run(program)


def test_a_kernel_without_lists_reclaims_no_files() -> None:
    """There is nothing to scan, and no hope for more memory."""
    bench = small({"lru_lock": "off"})
    file = bench.kernel.cache.new_file("data", 8, is_sparse=True)

    def program(task: Task) -> Op[None]:
        lru = FileLru(bench.kernel)
        yield from task.read(file, 0, 4 * P)
        assert lru.reclaimable(NodeId(0), USER) == 0
        assert (yield from lru.shrink(task.cpu, NodeId(0), 8, 0, "test", USER)) == 0

    bench.run(program)
