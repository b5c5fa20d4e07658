"""The calls that change an address space, on kernels that lock, copy and flush in different ways."""

import pytest
from vm_bench import VmBench, at, entry_of, maps, vpn_of

from coalsim.engine.clock import Op
from coalsim.mm.paging.entry import USER, WRITABLE
from coalsim.mm.virt.area import NONE, READ, READ_EXECUTE, READ_WRITE
from coalsim.mm.virt.spin_flag import SpinFlag
from coalsim.mm.virt.task import EFAULT, EINVAL, ENOMEM, Task
from coalsim.units import MIB, MS, PAGE_SIZE, US

pytestmark = pytest.mark.fast_one_in(3, in_turn=True)

FIXED = 0x4000_0000
"""An address at which nothing is, on a border of page tables."""


def fill(task: Task, address: int, pages: int) -> Op[None]:
    """Write its own number to each page."""
    for page in range(pages):
        yield from task.store(address + page * PAGE_SIZE + 8, page.to_bytes(4, "little"))


def numbers(task: Task, address: int, pages: int) -> Op[list[int]]:
    """What `fill` wrote, page by page."""
    found = []
    for page in range(pages):
        data = yield from task.load(address + page * PAGE_SIZE + 8, 4)
        found.append(int.from_bytes(data, "little"))
    return found


# -- mmap --------------------------------------------------------------------------------------


def test_mappings_do_not_overlap_and_read_as_zeros(bench: VmBench) -> None:
    """Ten mappings of different sizes: disjoint, zero, and each keeps what is written to it."""

    def program(task: Task) -> Op[None]:
        made = []
        for pages in range(1, 11):
            address = yield from task.mmap(pages * PAGE_SIZE)
            assert address > 0
            assert address % PAGE_SIZE == 0
            made.append((address, pages))
        for address, pages in made:
            assert (yield from numbers(task, address, pages)) == [0] * pages
            yield from fill(task, address, pages)
        for address, pages in made:
            assert (yield from numbers(task, address, pages)) == list(range(pages))

    bench.run(program)


def test_mmap_populate_leaves_nothing_to_fault(bench: VmBench) -> None:
    """MAP_POPULATE: faults are handled in the call, without exceptions; later stores have none."""

    def program(task: Task) -> Op[None]:
        base = yield from task.mmap(20 * PAGE_SIZE, populate=True)
        faults = bench.counts.faults
        for page in range(20):
            yield from task.touch(base + page * PAGE_SIZE)
        assert bench.counts.faults == faults == 20

    bench.run(program)
    assert "fault" not in {
        name for name, kind in bench.kernel.operations.kinds.items() if kind.latencies.count
    }


def test_mmap_populate_of_a_read_only_mapping_reads(bench: VmBench) -> None:
    """Nothing is written, so the kernels that have a page of zeros take no frame."""

    def program(task: Task) -> Op[None]:
        base = yield from task.mmap(4 * PAGE_SIZE, populate=True, rights=READ)
        faults = bench.counts.faults
        assert (yield from task.load(base, 4 * PAGE_SIZE)) == bytes(4 * PAGE_SIZE)
        assert bench.counts.faults == faults

    bench.run(program)
    assert bench.counts.anonymous == (0 if bench.system.switches.zero_page else 4)


def test_a_fixed_mapping_replaces_what_was_there(bench: VmBench) -> None:
    """MAP_FIXED over the middle of a mapping: zeros there, old contents around it, old frames freed."""

    def program(task: Task) -> Op[None]:
        assert (yield from task.mmap(10 * PAGE_SIZE, address=FIXED)) == FIXED
        yield from fill(task, FIXED, 10)
        taken = bench.kernel.frames.taken
        over = FIXED + 3 * PAGE_SIZE
        assert (yield from task.mmap(4 * PAGE_SIZE, address=over, rights=READ)) == over
        yield from task.cpu.sync()
        assert bench.kernel.frames.taken == taken - 4
        assert (yield from numbers(task, FIXED, 10)) == [0, 1, 2, 0, 0, 0, 0, 7, 8, 9]
        assert [rights for _, _, rights in maps(task)] == ["rw-", "r--", "rw-"]

    bench.run(program)


def test_a_fixed_mapping_over_two_and_a_hole(bench: VmBench) -> None:
    """It takes the end of one mapping, a hole and the beginning of another."""

    def program(task: Task) -> Op[None]:
        yield from task.mmap(4 * PAGE_SIZE, address=FIXED, name="low")
        yield from task.mmap(4 * PAGE_SIZE, address=FIXED + 6 * PAGE_SIZE, name="high")
        yield from fill(task, FIXED, 4)
        yield from fill(task, FIXED + 6 * PAGE_SIZE, 4)
        assert (yield from task.mmap(6 * PAGE_SIZE, address=FIXED + 2 * PAGE_SIZE)) > 0
        assert (yield from numbers(task, FIXED, 10)) == [0, 1, 0, 0, 0, 0, 0, 0, 2, 3]
        assert [pages for _, pages, _ in maps(task)] == [2, 6, 2]

    bench.run(program)


def test_mmap_without_room_fails_and_changes_nothing(bench: VmBench) -> None:
    """ENOMEM: for more than there is, and for more than any hole has."""

    def program(task: Task) -> Op[None]:
        half = bench.kernel.geometry.user_pages // 2
        assert (yield from task.mmap(2 * half * PAGE_SIZE)) == ENOMEM
        middle = yield from task.mmap(PAGE_SIZE, address=half * PAGE_SIZE)
        assert middle > 0
        assert (yield from task.mmap((half + 1) * PAGE_SIZE)) == ENOMEM
        assert len(maps(task)) == 1
        assert (yield from task.mmap(half // 2 * PAGE_SIZE)) > 0

    bench.run(program)


def test_impossible_arguments_are_refused(bench: VmBench) -> None:
    """EINVAL: no length, a crooked address, a range on the kernel's side; nothing happens."""

    def program(task: Task) -> Op[None]:
        base = yield from task.mmap(4 * PAGE_SIZE)
        kernel = bench.kernel.geometry.kernel_first * PAGE_SIZE
        assert (yield from task.mmap(0)) == EINVAL
        assert (yield from task.mmap(PAGE_SIZE, address=0)) == EINVAL
        assert (yield from task.mmap(PAGE_SIZE, address=kernel)) == EINVAL
        assert (yield from task.mmap(2 * PAGE_SIZE, address=kernel - PAGE_SIZE)) == EINVAL
        for address, length in ((base + 1, PAGE_SIZE), (base, 0), (kernel, PAGE_SIZE), (base, -PAGE_SIZE)):
            assert (yield from task.munmap(address, length)) == EINVAL
            assert (yield from task.mprotect(address, length, READ)) == EINVAL
            assert (yield from task.madvise_dontneed(address, length)) == EINVAL
            assert (yield from task.mremap(address, length, 2 * PAGE_SIZE)) == EINVAL
        assert maps(task) == [(vpn_of(base), 4, "rw-")]

    bench.run(program)


def test_a_fixed_address_has_to_be_that_of_a_page() -> None:
    """EINVAL, not a mapping somewhere near."""
    bench = VmBench()

    def program(task: Task) -> Op[None]:
        assert (yield from task.mmap(PAGE_SIZE, address=FIXED + 1)) == EINVAL
        assert not maps(task)

    bench.run(program)


def test_lengths_are_rounded_up_to_pages(bench: VmBench) -> None:
    """One byte more than two pages is three pages, for every call."""

    def program(task: Task) -> Op[None]:
        base = yield from task.mmap(2 * PAGE_SIZE + 1)
        assert [pages for _, pages, _ in maps(task)] == [3]
        yield from task.mprotect(base, PAGE_SIZE + 1, READ)
        assert [(pages, rights) for _, pages, rights in maps(task)] == [(2, "r--"), (1, "rw-")]
        yield from task.munmap(base + PAGE_SIZE, PAGE_SIZE + 1)
        assert [pages for _, pages, _ in maps(task)] == [1]

    bench.run(program)


def test_neighbours_that_are_alike_become_one_area() -> None:
    """Three mappings in a row are one area, but not for names, rights or kernels that do not merge."""
    for changes, rights, name, areas in (
        ({}, READ_WRITE, "", 1),
        ({}, READ, "", 3),
        ({}, READ_WRITE, "other", 3),
        ({"merge_areas": "off"}, READ_WRITE, "", 3),
    ):
        bench = VmBench("linux-6.18", changes)

        def program(task: Task, rights: object = rights, name: str = name, areas: int = areas) -> Op[None]:
            for number in (0, 2, 1):
                middle = number == 1
                yield from task.mmap(
                    PAGE_SIZE,
                    address=FIXED + number * PAGE_SIZE,
                    rights=rights if middle else READ_WRITE,  # type: ignore[arg-type]
                    name=name if middle else "",
                )
            assert len(maps(task)) == areas

        bench.run(program)


def test_populating_takes_the_lock_once(bench: VmBench) -> None:
    """For reading, over all pages; no fault of it takes an area's lock or leaves a page out."""
    taken = []

    def reads() -> int:
        stat = bench.tasks[0].process.space.mmap_lock.lock_class.read_stat
        return 0 if stat is None else stat.row().acquisitions

    def program(task: Task) -> Op[None]:
        base = yield from task.mmap(16 * PAGE_SIZE, populate=True)
        yield from task.cpu.sync()
        taken.append(reads())
        areas = task.process.space.areas
        area = areas.find(vpn_of(base))
        assert area is not None
        assert area.lock is None or task.process.space.lock_of(area).line.owner < 0
        assert bench.counts.faults == bench.counts.anonymous == 16

    bench.run(program)
    assert taken == [0 if bench.system.switches.mmap_lock == "range" else 1]


# -- munmap ------------------------------------------------------------------------------------


def test_unmapping_the_middle_leaves_both_ends(bench: VmBench) -> None:
    """A split: two areas, whose contents stay; the frames between come back."""

    def program(task: Task) -> Op[None]:
        base = yield from task.mmap(9 * PAGE_SIZE)
        yield from fill(task, base, 9)
        taken = bench.kernel.frames.taken
        assert (yield from task.munmap(base + 3 * PAGE_SIZE, 3 * PAGE_SIZE)) == 0
        yield from task.cpu.sync()
        assert bench.kernel.frames.taken == taken - 3
        assert maps(task) == [(vpn_of(base), 3, "rw-"), (vpn_of(base) + 6, 3, "rw-")]
        assert (yield from numbers(task, base, 3)) == [0, 1, 2]
        assert (yield from numbers(task, base + 6 * PAGE_SIZE, 3)) == [6, 7, 8]
        yield from task.touch(base + 3 * PAGE_SIZE)

    bench.run(program)
    assert "SEGV_MAPERR" in bench.tasks[0].signal


def test_unmapping_one_range_over_many_areas(bench: VmBench) -> None:
    """Parts of the outer ones stay; holes do not matter; nothing mapped is no mistake."""

    def program(task: Task) -> Op[None]:
        for number in range(5):
            yield from task.mmap(3 * PAGE_SIZE, address=FIXED + 4 * number * PAGE_SIZE, name=str(number))
            yield from fill(task, FIXED + 4 * number * PAGE_SIZE, 3)
        assert (yield from task.munmap(FIXED + PAGE_SIZE, 16 * PAGE_SIZE)) == 0
        first = vpn_of(FIXED)
        assert maps(task) == [(first, 1, "rw-"), (first + 17, 2, "rw-")]
        assert (yield from numbers(task, FIXED + 17 * PAGE_SIZE, 2)) == [1, 2]
        assert (yield from task.munmap(FIXED + PAGE_SIZE, 16 * PAGE_SIZE)) == 0

    bench.run(program)


def test_addresses_can_be_used_again_at_once(bench: VmBench) -> None:
    """Map, write, unmap, in the same place many times: always zeros at first."""

    def program(task: Task) -> Op[None]:
        for number in range(12):
            base = yield from task.mmap(2 * PAGE_SIZE, address=FIXED)
            assert (yield from numbers(task, base, 2)) == [0, 0]
            yield from task.store(base, bytes([number + 1]) * 100)
            assert (yield from task.munmap(base, 2 * PAGE_SIZE)) == 0

    bench.run(program)


def test_page_tables_are_freed_with_the_last_area_that_needs_them(bench: VmBench) -> None:
    """Two areas share a table: it stays with the first unmapping and goes with the second, mostly."""

    def program(task: Task) -> Op[None]:
        tables = task.process.space.tables
        before = len(list(tables.frames()))
        for offset in (0, 8):
            base = yield from task.mmap(PAGE_SIZE, address=FIXED + offset * PAGE_SIZE)
            yield from task.touch(base)
        assert len(list(tables.frames())) > before
        yield from task.munmap(FIXED, PAGE_SIZE)
        assert not tables.lacks(tables.place_of(task.cpu), vpn_of(FIXED))
        yield from task.munmap(FIXED + 8 * PAGE_SIZE, PAGE_SIZE)
        if bench.system.switches.munmap_frees_tables:
            assert tables.lacks(tables.place_of(task.cpu), vpn_of(FIXED))
            assert len(list(tables.frames())) == before

    bench.run(program)


@pytest.mark.parametrize(("gather", "flushes"), [(100, 10), (600, 2), (1000, 1)])
@pytest.mark.parametrize("geometry", ["x86-32", "x86-64"])
def test_an_unmapping_flushes_once_per_gather(geometry: str, gather: int, flushes: int) -> None:
    """1,000 pages, in one page table or in two: a full gather is flushed and freed, wherever it ends."""
    bench = VmBench("coal", {"gather_pages": str(gather), "geometry": geometry})

    def program(task: Task) -> Op[None]:
        yield from task.mmap(1024 * PAGE_SIZE, address=FIXED, populate=True)
        done = bench.flushes.flushes
        yield from task.madvise_dontneed(FIXED, 1000 * PAGE_SIZE)
        assert bench.flushes.flushes - done == flushes

    bench.run(program)


def test_unmapping_what_nobody_touched_flushes_nothing(bench: VmBench) -> None:
    """No entry, no flush."""

    def program(task: Task) -> Op[None]:
        base = yield from task.mmap(100 * PAGE_SIZE)
        yield from task.munmap(base, 100 * PAGE_SIZE)
        assert bench.flushes.flushes == 0

    bench.run(program)


# -- mprotect ----------------------------------------------------------------------------------


def test_rights_of_a_part_change(bench: VmBench) -> None:
    """Read-only in the middle: stores work around it, contents stay, and the entries say so."""

    def program(task: Task) -> Op[None]:
        base = yield from task.mmap(9 * PAGE_SIZE)
        yield from fill(task, base, 9)
        assert (yield from task.mprotect(base + 3 * PAGE_SIZE, 3 * PAGE_SIZE, READ)) == 0
        assert [(pages, rights) for _, pages, rights in maps(task)] == [(3, "rw-"), (3, "r--"), (3, "rw-")]
        for page in range(9):
            assert bool(entry_of(task, base + page * PAGE_SIZE) & WRITABLE) == (page not in (3, 4, 5))
        yield from task.store(base + 2 * PAGE_SIZE, b"x")
        yield from task.store(base + 6 * PAGE_SIZE, b"x")
        assert (yield from numbers(task, base, 9)) == list(range(9))
        yield from task.store(base + 5 * PAGE_SIZE, b"x")

    bench.run(program)
    assert "SEGV_ACCERR" in bench.tasks[0].signal


def test_rights_come_back_and_areas_join_again(bench: VmBench) -> None:
    """To nothing and back: contents stay, and the kernels that merge have one area again."""

    def program(task: Task) -> Op[None]:
        base = yield from task.mmap(6 * PAGE_SIZE)
        yield from fill(task, base, 6)
        yield from task.mprotect(base + PAGE_SIZE, 2 * PAGE_SIZE, NONE)
        assert not entry_of(task, base + PAGE_SIZE) & USER
        yield from task.mprotect(base + PAGE_SIZE, 2 * PAGE_SIZE, READ_EXECUTE)
        assert (yield from numbers(task, base, 6)) == list(range(6))
        yield from task.mprotect(base + PAGE_SIZE, 2 * PAGE_SIZE, READ_WRITE)
        faults = bench.counts.faults
        yield from fill(task, base, 6)
        late = 0 if bench.system.switches.mprotect_makes_writable else 2  # the first write to each page
        assert bench.counts.faults == faults + late
        assert len(maps(task)) == (1 if bench.system.switches.merge_areas else 3)

    bench.run(program)


def test_rights_of_pages_that_nobody_has_touched(bench: VmBench) -> None:
    """They count from the first fault on, and nothing is flushed for them."""

    def program(task: Task) -> Op[None]:
        base = yield from task.mmap(2 * PAGE_SIZE)
        yield from task.mprotect(base, 2 * PAGE_SIZE, READ)
        assert bench.flushes.flushes == 0
        assert (yield from task.load(base, 4)) == bytes(4)
        yield from task.mprotect(base, 2 * PAGE_SIZE, READ_WRITE)
        yield from fill(task, base, 2)
        assert (yield from numbers(task, base, 2)) == [0, 1]

    bench.run(program)


def test_rights_of_unmapped_pages_cannot_change(bench: VmBench) -> None:
    """ENOMEM where the range has a hole."""

    def program(task: Task) -> Op[None]:
        yield from task.mmap(PAGE_SIZE, address=FIXED)
        yield from task.mmap(PAGE_SIZE, address=FIXED + 2 * PAGE_SIZE)
        assert (yield from task.mprotect(FIXED, 3 * PAGE_SIZE, READ)) == ENOMEM

    bench.run(program)


@pytest.mark.parametrize(("upgrades", "flushes"), [("off", 1), ("on", 2)])
def test_gaining_rights_flushes_only_on_old_kernels(upgrades: str, flushes: int) -> None:
    """mprotect_upgrade_flushes: a loss always flushes, a gain only with it."""
    bench = VmBench("coal", {"mprotect_upgrade_flushes": upgrades})

    def program(task: Task) -> Op[None]:
        base = yield from task.mmap(4 * PAGE_SIZE, populate=True)
        yield from task.mprotect(base, 4 * PAGE_SIZE, READ)
        yield from task.mprotect(base, 4 * PAGE_SIZE, READ_WRITE)
        assert bench.flushes.flushes == flushes

    bench.run(program)


@pytest.mark.parametrize(("at_once", "reuses"), [("on", 0), ("off", 3)])
def test_pages_that_get_the_right_to_write_back_may_have_to_fault(at_once: str, reuses: int) -> None:
    """mprotect_makes_writable: off, the first write to each takes its frame over, without a flush."""
    bench = VmBench("coal", {"mprotect_makes_writable": at_once})

    def program(task: Task) -> Op[None]:
        base = yield from task.mmap(4 * PAGE_SIZE, populate=True)
        yield from fill(task, base, 4)
        yield from task.mprotect(base, 4 * PAGE_SIZE, READ)
        yield from task.mprotect(base, 4 * PAGE_SIZE, READ_WRITE)
        assert all(
            bool(entry_of(task, base + page * PAGE_SIZE) & WRITABLE) is not bool(reuses) for page in range(4)
        )
        flushes = bench.flushes.flushes
        yield from fill(task, base, 3)
        assert (yield from numbers(task, base, 4)) == [0, 1, 2, 3]
        assert bench.flushes.flushes == flushes
        assert bench.counts.cow_reuses == reuses

    bench.run(program)


def test_a_shared_mapping_gets_the_right_to_write_back_at_once() -> None:
    """It has no copying on write, so nothing waits for a fault in any kernel."""
    bench = VmBench("coal", {"mprotect_makes_writable": "off"})

    def program(task: Task) -> Op[None]:
        base = yield from task.mmap(PAGE_SIZE, populate=True, shared=True)
        yield from task.mprotect(base, PAGE_SIZE, READ)
        yield from task.mprotect(base, PAGE_SIZE, READ_WRITE)
        assert entry_of(task, base) & WRITABLE

    bench.run(program)


def test_another_thread_loses_the_right_too(bench: VmBench) -> None:
    """A store through another processor's TLB faults as soon as mprotect has returned."""
    flag, base = SpinFlag(), []

    def first(task: Task) -> Op[None]:
        base.append((yield from task.mmap(PAGE_SIZE)))
        yield from flag.set(task.cpu)
        yield from at(task, 1 * MS)
        yield from task.mprotect(base[0], PAGE_SIZE, READ)
        yield from at(task, 3 * MS)

    def second(task: Task) -> Op[None]:
        yield from task.spin(flag)
        yield from task.store(base[0], b"data")
        while task.touch_now(base[0], True):
            yield from task.compute(1 * US)
            yield from task.cpu.look()
        assert (yield from task.load(base[0], 4)) == b"data"
        yield from at(task, 2 * MS)
        yield from task.touch(base[0], write=True)

    bench.run(first, second)
    assert "SEGV_ACCERR" in bench.tasks[1].signal


# -- madvise -----------------------------------------------------------------------------------


def test_discarded_pages_read_as_zeros_again(bench: VmBench) -> None:
    """The area and its other pages stay; frames come back."""

    def program(task: Task) -> Op[None]:
        base = yield from task.mmap(8 * PAGE_SIZE)
        yield from fill(task, base, 8)
        taken = bench.kernel.frames.taken
        assert (yield from task.madvise_dontneed(base + 2 * PAGE_SIZE, 3 * PAGE_SIZE)) == 0
        yield from task.cpu.sync()
        assert bench.kernel.frames.taken == taken - 3
        assert len(maps(task)) == 1
        assert (yield from numbers(task, base, 8)) == [0, 1, 0, 0, 0, 5, 6, 7]
        yield from fill(task, base, 8)
        assert (yield from numbers(task, base, 8)) == list(range(8))

    bench.run(program)


def test_discarding_what_is_not_mapped_is_an_error_after_the_rest(bench: VmBench) -> None:
    """ENOMEM where the range has a hole; what is mapped on both sides of it is given back."""

    def program(task: Task) -> Op[None]:
        for page in (0, 2):
            yield from task.mmap(PAGE_SIZE, address=FIXED + page * PAGE_SIZE)
            yield from task.touch(FIXED + page * PAGE_SIZE)
        assert (yield from task.madvise_dontneed(FIXED, 3 * PAGE_SIZE)) == ENOMEM
        assert bench.counts.pages_zapped == 2
        assert (yield from task.madvise_dontneed(FIXED + PAGE_SIZE, PAGE_SIZE)) == ENOMEM
        assert (yield from task.madvise_dontneed(FIXED, PAGE_SIZE)) == 0

    bench.run(program)


def test_discarding_keeps_the_rights_of_each_area(bench: VmBench) -> None:
    """A range over two areas: what comes back may be used as each of them says."""

    def program(task: Task) -> Op[None]:
        base = yield from task.mmap(4 * PAGE_SIZE)
        yield from fill(task, base, 4)
        yield from task.mprotect(base, 2 * PAGE_SIZE, READ)
        yield from task.madvise_dontneed(base, 4 * PAGE_SIZE)
        assert (yield from numbers(task, base, 4)) == [0] * 4
        yield from task.store(base + 3 * PAGE_SIZE, b"x")
        yield from task.store(base + PAGE_SIZE, b"x")

    bench.run(program)
    assert "SEGV_ACCERR" in bench.tasks[0].signal


# -- mremap ------------------------------------------------------------------------------------


def test_a_mapping_grows_in_place_where_there_is_room(bench: VmBench) -> None:
    """Same address, old contents, zeros behind."""

    def program(task: Task) -> Op[None]:
        yield from task.mmap(3 * PAGE_SIZE, address=FIXED)
        yield from fill(task, FIXED, 3)
        assert (yield from task.mremap(FIXED, 3 * PAGE_SIZE, 6 * PAGE_SIZE)) == FIXED
        assert [pages for _, pages, _ in maps(task)] == [6]
        assert (yield from numbers(task, FIXED, 6)) == [0, 1, 2, 0, 0, 0]

    bench.run(program)
    assert bench.flushes.flushes <= 1  # that of exit


def test_a_mapping_moves_where_there_is_none(bench: VmBench) -> None:
    """Contents move with it, also over borders of page tables; the old place is empty."""

    def program(task: Task) -> Op[None]:
        base = FIXED - 2 * PAGE_SIZE
        yield from task.mmap(5 * PAGE_SIZE, address=base)
        yield from task.mmap(PAGE_SIZE, address=base + 5 * PAGE_SIZE, name="wall")
        yield from fill(task, base, 4)  # the last page is not there
        new = yield from task.mremap(base, 5 * PAGE_SIZE, 9 * PAGE_SIZE)
        assert new not in (base, ENOMEM)
        assert (yield from numbers(task, new, 9)) == [0, 1, 2, 3, 0, 0, 0, 0, 0]
        yield from fill(task, new, 9)
        yield from task.touch(base)

    bench.run(program)
    assert "SEGV_MAPERR" in bench.tasks[0].signal


def test_the_middle_of_a_mapping_moves_out(bench: VmBench) -> None:
    """Both ends stay where they are."""

    def program(task: Task) -> Op[None]:
        yield from task.mmap(9 * PAGE_SIZE, address=FIXED)
        yield from fill(task, FIXED, 9)
        new = yield from task.mremap(FIXED + 3 * PAGE_SIZE, 3 * PAGE_SIZE, 4 * PAGE_SIZE)
        assert (yield from numbers(task, new, 4)) == [3, 4, 5, 0]
        assert (yield from numbers(task, FIXED, 3)) == [0, 1, 2]
        assert (yield from numbers(task, FIXED + 6 * PAGE_SIZE, 3)) == [6, 7, 8]
        assert sum(pages for _, pages, _ in maps(task)) == 10

    bench.run(program)


def test_moving_takes_the_locks_of_both_tables(bench: VmBench) -> None:
    """The old one for the entries to go and be flushed, then the new one for them to come."""
    counted = []
    span = PAGE_SIZE << bench.kernel.geometry.leaf_bits

    def program(task: Task) -> Op[None]:
        yield from task.mmap(span, address=FIXED)
        yield from task.mmap(PAGE_SIZE, address=FIXED + span)  # in the way
        yield from fill(task, FIXED, 2)
        yield from task.cpu.sync()
        locks = next(one for one in bench.system.lock_classes if one.name == "ptlock")
        before, flushes = locks.stat.row().acquisitions, bench.flushes.flushes
        new = yield from task.mremap(FIXED, span, 2 * span)
        yield from task.cpu.sync()
        bits = bench.kernel.geometry.leaf_bits
        tables = {vpn_of(new + page * PAGE_SIZE) >> bits for page in (0, 1)}
        acquired = locks.stat.row().acquisitions - before
        counted.append((len(tables), acquired, bench.flushes.flushes - flushes))
        assert (yield from numbers(task, new, 2)) == [0, 1]

    bench.run(program)
    tables, acquired, flushed = counted[0]
    assert acquired == 2 * tables
    assert flushed >= tables


def test_a_mapping_shrinks(bench: VmBench) -> None:
    """The end goes; the same size changes nothing."""

    def program(task: Task) -> Op[None]:
        base = yield from task.mmap(8 * PAGE_SIZE)
        yield from fill(task, base, 8)
        taken = bench.kernel.frames.taken
        assert (yield from task.mremap(base, 8 * PAGE_SIZE, 8 * PAGE_SIZE)) == base
        assert (yield from task.mremap(base, 8 * PAGE_SIZE, 3 * PAGE_SIZE)) == base
        yield from task.cpu.sync()
        assert bench.kernel.frames.taken == taken - 5
        assert (yield from numbers(task, base, 3)) == [0, 1, 2]
        yield from task.touch(base + 3 * PAGE_SIZE)

    bench.run(program)
    assert "SEGV_MAPERR" in bench.tasks[0].signal


def test_what_cannot_be_moved(bench: VmBench) -> None:
    """An error, and everything as before: no mapping there, one that ends too early, no room."""

    def program(task: Task) -> Op[None]:
        yield from task.mmap(4 * PAGE_SIZE, address=FIXED)
        yield from fill(task, FIXED, 4)
        assert (yield from task.mremap(FIXED + 8 * PAGE_SIZE, PAGE_SIZE, 2 * PAGE_SIZE)) == EFAULT
        assert (yield from task.mremap(FIXED + 8 * PAGE_SIZE, 2 * PAGE_SIZE, PAGE_SIZE)) == EFAULT
        assert (yield from task.mremap(FIXED, 6 * PAGE_SIZE, 8 * PAGE_SIZE)) == EFAULT
        huge = bench.kernel.geometry.user_pages * PAGE_SIZE
        assert (yield from task.mremap(FIXED, 4 * PAGE_SIZE, huge)) == ENOMEM
        assert (yield from numbers(task, FIXED, 4)) == [0, 1, 2, 3]
        assert maps(task) == [(vpn_of(FIXED), 4, "rw-")]

    bench.run(program)


def test_a_moved_page_that_may_not_be_written_stays_so(bench: VmBench) -> None:
    """Rights and what is to be copied on write move along."""

    def program(task: Task) -> Op[None]:
        yield from task.mmap(2 * PAGE_SIZE, address=FIXED)
        yield from task.mmap(PAGE_SIZE, address=FIXED + 2 * PAGE_SIZE, name="wall")
        yield from fill(task, FIXED, 2)

        def child(other: Task) -> Op[None]:
            yield from at(other, 5 * MS)
            assert (yield from numbers(other, FIXED, 2)) == [0, 1]

        yield from task.fork("child", child, 1)
        new = yield from task.mremap(FIXED, 2 * PAGE_SIZE, 3 * PAGE_SIZE)
        yield from task.store(new + 8, b"\xff\xff")
        yield from task.wait_for_children()
        yield from task.mprotect(new, PAGE_SIZE, READ)
        newer = yield from task.mremap(new, PAGE_SIZE, 4 * PAGE_SIZE)
        assert newer != new
        yield from task.touch(newer)

    bench.run(program)
    assert "SEGV_ACCERR" in bench.tasks[0].signal


# -- brk ---------------------------------------------------------------------------------------


def test_the_heap_grows_and_shrinks(bench: VmBench) -> None:
    """One area; what is given back reads as zeros when it comes again; below the start there is nothing."""

    def program(task: Task) -> Op[None]:
        start = yield from task.brk(0)
        assert (yield from task.brk(4 * PAGE_SIZE)) == start + 4 * PAGE_SIZE
        yield from fill(task, start, 4)
        assert (yield from task.brk(2 * PAGE_SIZE)) == start + 6 * PAGE_SIZE
        assert len(maps(task)) == (1 if bench.system.switches.merge_areas else len(maps(task)))
        assert (yield from task.brk(-4 * PAGE_SIZE)) == start + 2 * PAGE_SIZE
        assert (yield from task.brk(4 * PAGE_SIZE)) == start + 6 * PAGE_SIZE
        assert (yield from numbers(task, start, 6)) == [0, 1, 0, 0, 0, 0]
        assert (yield from task.brk(-100 * PAGE_SIZE)) == start
        assert not maps(task)
        yield from task.touch(start)

    bench.run(program)
    assert "SEGV_MAPERR" in bench.tasks[0].signal


def test_the_heap_stops_at_another_mapping(bench: VmBench) -> None:
    """brk returns the old end where it cannot grow."""

    def program(task: Task) -> Op[None]:
        start = yield from task.brk(PAGE_SIZE)
        yield from task.mmap(PAGE_SIZE, address=start + 2 * PAGE_SIZE)
        assert (yield from task.brk(4 * PAGE_SIZE)) == start
        assert (yield from task.brk(2 * PAGE_SIZE)) == start + 2 * PAGE_SIZE

    bench.run(program)


def test_the_break_is_kept_in_bytes(bench: VmBench) -> None:
    """Parts of a page add up; a page goes when the break leaves it."""

    def program(task: Task) -> Op[None]:
        start = yield from task.brk(0)
        assert (yield from task.brk(100)) == start + 100
        assert [pages for _, pages, _ in maps(task)] == [1]
        assert (yield from task.brk(PAGE_SIZE - 100)) == start + PAGE_SIZE
        assert (yield from task.brk(1)) == start + PAGE_SIZE + 1
        yield from task.store(start + PAGE_SIZE, b"x")
        assert (yield from task.brk(-1)) == start + PAGE_SIZE
        assert bench.counts.pages_zapped == 1
        assert (yield from task.brk(-1)) == start + PAGE_SIZE - 1
        yield from task.store(start, b"x")
        assert (yield from task.brk(-5 * PAGE_SIZE)) == start
        assert not maps(task)

    bench.run(program)


# -- what all of them cost -----------------------------------------------------------------------


def test_every_call_is_one_operation_whose_parts_add_up(bench: VmBench) -> None:
    """Counts by name; the check at the end of every run adds up the causes."""

    def program(task: Task) -> Op[None]:
        base = yield from task.mmap(4 * PAGE_SIZE, address=FIXED)
        yield from task.touch(base)
        yield from task.mprotect(base, PAGE_SIZE, READ)
        yield from task.madvise_dontneed(base, PAGE_SIZE)
        yield from task.mremap(base, 4 * PAGE_SIZE, 5 * PAGE_SIZE)
        yield from task.brk(PAGE_SIZE)
        yield from task.munmap(base, 5 * PAGE_SIZE)

    bench.run(program)
    names = ("mmap", "mprotect", "madvise", "mremap", "brk", "munmap", "fault", "exit")
    kinds = bench.kernel.operations.kinds
    assert {name: kinds[name].latencies.count for name in names} == dict.fromkeys(names, 1)
    assert all(kinds[name].latencies.total > 0 for name in names)


def test_the_time_of_every_processor_is_accounted_for(bench: VmBench) -> None:
    """At barriers in the middle of everything the causes add up to the time."""
    samples = [US * step for step in (1, 3, 10, 31, 100, 250)]
    seen: list[int] = []

    def look(time: int) -> None:
        for spent in bench.system.time_by_cause(time):
            assert sum(spent.values()) == time
        seen.append(time)

    def program(task: Task) -> Op[None]:
        for _ in range(10):
            base = yield from task.mmap(20 * PAGE_SIZE)
            yield from fill(task, base, 20)
            yield from task.munmap(base, 20 * PAGE_SIZE)

    for sample in samples:
        bench.system.env.declare_barrier(sample, lambda sample=sample: look(sample))
    bench.run(program, program, program)
    assert seen == samples


def test_large_spans_are_no_slower_to_simulate(bench: VmBench) -> None:
    """Two pages at the ends of a gigabyte: unmapping them flushes, frees both tables, and ends."""

    def program(task: Task) -> Op[None]:
        base = yield from task.mmap(1024 * MIB)
        yield from task.touch(base)
        yield from task.touch(base + 1024 * MIB - PAGE_SIZE)
        yield from task.munmap(base, 1024 * MIB)

    bench.run(program)


def test_flushed_pages_are_counted_and_not_the_span() -> None:
    """Two of a thousand were touched: taking rights away counts them, so does unmapping; none is left."""
    seen: list[int] = []

    def program(task: Task) -> Op[None]:
        base = yield from task.mmap(1000 * PAGE_SIZE)
        for page in (3, 900):
            yield from task.touch(base + page * PAGE_SIZE)
        counts = task.process.space.kernel.policy.system.counts
        for call in (
            task.mprotect(base, 1000 * PAGE_SIZE, READ),
            task.madvise_dontneed(base, 1000 * PAGE_SIZE),
            task.munmap(base, 1000 * PAGE_SIZE),
        ):
            before = counts.pages
            yield from call
            yield from task.cpu.sync()
            seen.append(counts.pages - before)

    VmBench("linux-6.18").run(program)
    assert seen == [2, 2, 0]
