"""Guarded allocations: mapped pages with holes between them, in the kernel's own page tables."""

import pytest
from guarded_kernel import guarded, run_program

from coalsim.boot import System
from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.errors import ForeignFree, KernelPanic
from coalsim.mm.paging import layout
from coalsim.mm.paging.layout import region_of
from coalsim.mm.phys.context import AllocContext
from coalsim.mm.virt.vmalloc import Vmalloc, lazy_max_pages
from coalsim.units import PAGE_SIZE, CpuId

GEOMETRIES = ("x86-32", "x86-64")


def vmalloc_of(system: System) -> Vmalloc:
    mapped = system.memory.bytes.mapped
    assert isinstance(mapped, Vmalloc)
    return mapped


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_allocations_are_mapped_in_the_heap_with_a_hole_behind_each(geometry: str) -> None:
    """Their pages show frames of their own, hold what is written, and the page behind shows nothing."""
    system = guarded(geometry)
    memory, addresses = system.memory, []

    def program(cpu: Cpu) -> Op[None]:
        for pages in (3, 3, 5):
            address = yield from memory.kmalloc(cpu, pages * PAGE_SIZE - 100, "owner")
            assert memory.kmalloc_size(address) == pages * PAGE_SIZE
            data = bytes(range(256)) * (pages * 16)
            yield from memory.kernel_store(cpu, address, data, "owner")
            assert (yield from memory.kernel_load(cpu, address, len(data), "owner")) == data
            addresses.append((address, pages))
        mapped = vmalloc_of(system)
        frames = [
            mapped.frame_at(address + page * PAGE_SIZE)
            for address, pages in addresses
            for page in range(pages)
        ]
        assert len(dict.fromkeys(frames)) == 11
        assert min(frames) >= 0
        for address, pages in addresses:
            assert mapped.frame_at(address + pages * PAGE_SIZE) < 0
            assert mapped.frame_at(address - PAGE_SIZE) < 0
            place = region_of(system.vm.kernel.geometry, address)
            assert place is not None
            assert place.name == ("kernel heap" if geometry == "x86-32" else "vmalloc")
        for address, _ in addresses:
            yield from memory.kfree(cpu, address, "owner")
            assert mapped.frame_at(address) < 0

    run_program(system, program)
    assert not vmalloc_of(system).areas
    system.memory.validate()
    system.vm.kernel.kernel_space.table.validate()


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_a_store_over_the_end_is_an_oops_that_names_the_allocation(geometry: str) -> None:
    """What lies before the hole is written; the report says whose end it was."""
    system = guarded(geometry)
    memory = system.memory

    def program(cpu: Cpu) -> Op[None]:
        address = yield from memory.kmalloc(cpu, 3 * PAGE_SIZE, "owner of pages")
        yield from memory.kernel_store(cpu, address + 3 * PAGE_SIZE - 2, b"!!!!", "culprit")

    with pytest.raises(KernelPanic) as panic:
        run_program(system, program)
    report = str(panic.value)
    assert "unable to handle page fault" in report
    assert "in culprit" in report
    assert "12288 bytes from the start of a 12288-byte area" in report
    assert "Allocated in owner of pages cpu=0" in report


def test_a_use_after_the_free_and_an_underflow_fault_too() -> None:
    """The pages are gone at once; the page before an area is the guard of the one before it."""
    for offset, is_freed in ((0, True), (-1, False)):
        system = guarded("x86-64")
        memory = system.memory

        def program(cpu: Cpu, memory=memory, offset: int = offset, is_freed: bool = is_freed) -> Op[None]:  # type: ignore[no-untyped-def]
            address = yield from memory.kmalloc(cpu, 5 * PAGE_SIZE, "owner")
            if is_freed:
                yield from memory.kfree(cpu, address, "freer")
            yield from memory.kernel_store(cpu, address + offset, b"!", "culprit")

        with pytest.raises(KernelPanic, match="in culprit"):
            run_program(system, program)


def test_what_must_not_sleep_gets_pages_in_the_window() -> None:
    """As kvmalloc: an atomic request is served without mapping anything, and freed where it came from."""
    system = guarded("x86-64")
    memory = system.memory

    def program(cpu: Cpu) -> Op[None]:
        address = yield from memory.kmalloc(cpu, 5 * PAGE_SIZE, "interrupt", AllocContext.ATOMIC)
        assert not vmalloc_of(system).covers(address)
        assert memory.kmalloc_size(address) == 8 * PAGE_SIZE
        yield from memory.kfree(cpu, address, "interrupt")
        aligned = yield from memory.kmalloc_aligned(cpu, 20_000, 4 * PAGE_SIZE, "aligned")
        assert aligned % (4 * PAGE_SIZE) == 0
        yield from memory.kfree(cpu, aligned, "aligned")

    run_program(system, program)


def test_freed_addresses_wait_for_a_purge_that_interrupts_everybody() -> None:
    """Nobody gets them before all processors have dropped what they may still know of them."""
    system = guarded("x86-32")
    memory, mapped = system.memory, vmalloc_of(system)
    room = layout.region(system.vm.kernel.geometry, "kernel heap")
    pages = (room.end - room.start) // PAGE_SIZE
    assert lazy_max_pages(1) > pages, "so that only a lack of addresses purges"

    def program(cpu: Cpu) -> Op[None]:
        first = yield from memory.kmalloc(cpu, 255 * PAGE_SIZE, "owner")
        yield from memory.kfree(cpu, first, "owner")
        second = yield from memory.kmalloc(cpu, 255 * PAGE_SIZE, "owner")
        assert second > first, "its addresses wait"
        yield from memory.kfree(cpu, second, "owner")
        for _ in range(pages // 256 + 2):
            address = yield from memory.kmalloc(cpu, 255 * PAGE_SIZE, "owner")
            assert address
            yield from memory.kfree(cpu, address, "owner")

    def bystander(cpu: Cpu) -> Op[None]:
        for _ in range(3000):
            yield from cpu.look()
            cpu.charge(1_000_000, "user")

    run_program(system, program, bystander)
    assert mapped.purges == 1
    assert system.cpus[0].account["vmalloc:purge"] > 0
    assert system.cpus[1].time_stolen >= system.costs.vmap_flush


def test_who_finds_no_addresses_while_another_purges_waits_for_them() -> None:
    """The ranges that wait are in the purger's hands: whoever asks meanwhile gets them when it is done."""
    system = guarded("x86-32", memory="1GiB")
    mapped = vmalloc_of(system)
    room = layout.region(system.vm.kernel.geometry, "kernel heap")
    most = (room.end - room.start) // PAGE_SIZE - 2
    first = room.start // PAGE_SIZE + 1
    mapped._free.take(first, first + most - 12)
    seen: list[int] = []

    def program(cpu: Cpu) -> Op[None]:
        address = yield from mapped.vmalloc(cpu, 4 * PAGE_SIZE, "owner", AllocContext.KERNEL)
        other = yield from mapped.vmalloc(cpu, 4 * PAGE_SIZE, "owner", AllocContext.KERNEL)
        yield from mapped.vfree(cpu, address, "owner")
        yield from mapped.vfree(cpu, other, "owner")
        yield from cpu.sync()
        yield from cpu.wait_until(100_000_000, "idle")
        seen.append((yield from mapped.vmalloc(cpu, 4 * PAGE_SIZE, "first", AllocContext.KERNEL)))

    def late(cpu: Cpu) -> Op[None]:
        yield from cpu.sync()
        yield from cpu.wait_until(100_100_000, "idle")
        seen.append((yield from mapped.vmalloc(cpu, 4 * PAGE_SIZE, "second", AllocContext.KERNEL)))

    run_program(system, program, late)
    assert mapped.purges == 1
    assert len(dict.fromkeys(seen)) == 2
    assert all(seen)


def test_a_request_for_more_addresses_than_there_are_fails() -> None:
    """Without losing a frame."""
    system = guarded("x86-32")
    memory = system.memory
    before = memory.pages.taken_pages()

    def program(cpu: Cpu) -> Op[None]:
        assert (yield from memory.kmalloc(cpu, 16 << 20, "greedy")) == 0

    run_program(system, program)
    assert memory.pages.taken_pages() == before
    memory.validate()


def test_a_request_for_more_frames_than_there_are_gives_all_back() -> None:
    """Frames, addresses and their tables: the next request that fits is served."""
    system = guarded("x86-64", memory="16MiB")
    memory = system.memory

    def program(cpu: Cpu) -> Op[None]:
        assert (yield from memory.kmalloc(cpu, 64 << 20, "greedy")) == 0
        address = yield from memory.kmalloc(cpu, 1 << 20, "modest")
        assert address
        yield from memory.kfree(cpu, address, "modest")

    run_program(system, program)
    assert not vmalloc_of(system).areas
    memory.validate()


def test_a_free_of_no_area_is_refused() -> None:
    """In the middle of one, and twice."""
    for offset, twice in ((PAGE_SIZE, False), (0, True)):
        system = guarded("x86-64")
        memory = system.memory

        def program(cpu: Cpu, memory=memory, offset: int = offset, twice: bool = twice) -> Op[None]:  # type: ignore[no-untyped-def]
            address = yield from memory.kmalloc(cpu, 20 * PAGE_SIZE, "owner")
            if twice:
                yield from memory.kfree(cpu, address, "freer")
            yield from memory.kfree(cpu, address + offset, "culprit")

        with pytest.raises(ForeignFree, match="nonexistent vm area at culprit"):
            run_program(system, program)


def test_processors_that_map_at_once_share_tables_and_nothing_else() -> None:
    """Areas do not overlap, no table is made twice, and all modes of the engine agree."""

    def outcome(mode: dict[str, bool]) -> list[tuple[int, int, int]]:
        system = guarded("x86-64", mode=mode)
        memory = system.memory
        seen: list[tuple[int, int, int]] = []

        def program(cpu: Cpu) -> Op[None]:
            held: list[int] = []
            for turn in range(12):
                held.append((yield from memory.kmalloc(cpu, (3 + turn % 4) * PAGE_SIZE, "owner")))
                if turn % 3 == 2:
                    yield from memory.kfree(cpu, held.pop(0), "owner")
                yield from cpu.sync()
                seen.append((cpu.clock, cpu.id, held[-1]))
            for address in held:
                yield from memory.kfree(cpu, address, "owner")

        run_program(system, *[program] * 4)
        memory.validate()
        system.vm.kernel.kernel_space.table.validate()
        return sorted(seen)

    reference = outcome({"run_ahead": False, "fast_paths": False, "tick_events": True})
    assert outcome({}) == reference
    assert outcome({"run_ahead": False}) == reference
    assert len({address for _, _, address in reference}) == 48, "freed addresses are not used again"
    assert CpuId(3) in {cpu for _, cpu, _ in reference}
