"""Kernel stacks: every thread has two pages, and the page below stops whoever needs more."""

import pytest
from guarded_kernel import guarded, run_program

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.errors import KernelPanic
from coalsim.mm.paging.layout import region_of
from coalsim.mm.virt.task import Task
from coalsim.units import PAGE_SIZE, CpuId


@pytest.mark.parametrize(("geometry", "name"), [("x86-32", "kernel stacks"), ("x86-64", "vmalloc")])
def test_a_stack_overflow_names_its_thread(geometry: str, name: str) -> None:
    """As deep as it goes is fine; one byte more hits the guard page, in the region of the memory map."""
    system = guarded(geometry)
    memory = system.memory

    def program(cpu: Cpu) -> Op[None]:
        yield from memory.deepen_stack(cpu, 2 * PAGE_SIZE, "deep")
        yield from memory.deepen_stack(cpu, 2 * PAGE_SIZE + 1, "too deep")

    with pytest.raises(KernelPanic) as panic:
        run_program(system, program)
    report = str(panic.value)
    assert report.startswith("BUG: TASK stack guard page was hit at 0x")
    assert "Comm: test 0" in report
    assert "in too deep" in report
    place = region_of(system.vm.kernel.geometry, int(report.split()[8], 16))
    assert place is not None
    assert place.name == name


def test_every_thread_has_its_own_and_gives_it_back() -> None:
    """Kernel threads and tasks alike, with a hole between any two; no frame is kept in the end."""
    system = guarded("x86-64")
    memory, stacks = system.memory, system.memory.stacks
    assert stacks is not None
    depths = []

    def program(cpu: Cpu) -> Op[None]:
        yield from memory.deepen_stack(cpu, 3 * PAGE_SIZE // 2, "deep")
        cpu.charge(10_000_000, "user")
        yield from cpu.sync()
        depths.append(stacks.count)

    def body(task: Task) -> Op[None]:
        yield from program(task.cpu)

    process = system.vm.new_process("child")
    for number in range(2):
        system.vm.run_task(process, CpuId(4 + number), f"task {number}", body)
    before = memory.pages.taken_pages()
    run_program(system, *[program] * 3)
    assert max(depths) == 5
    assert stacks.count == 0
    tables = system.vm.kernel.kernel_space.table
    assert not [vpn for vpn, _ in tables.entries(0xFFFFC90000000, 0xFFFFC90001000)]
    left = memory.pages.taken_pages() - before
    assert left == 2, "the two tables that were missing stay"


def test_a_stack_that_no_memory_is_left_for_stops_the_kernel() -> None:
    """A thread cannot do without."""
    system = guarded("x86-64", memory="16MiB")
    memory, stacks = system.memory, system.memory.stacks
    assert stacks is not None

    def late(cpu: Cpu) -> Op[None]:
        yield from memory.deepen_stack(cpu, 8, "late")

    def hog(cpu: Cpu) -> Op[None]:
        while (yield from memory.alloc_pages(cpu, 0, "hog")) >= 0:
            pass
        yield from stacks.around(cpu, "late", late(cpu))

    with pytest.raises(KernelPanic, match="no memory for the stack of late"):
        run_program(system, hog)


def test_without_guard_pages_there_are_no_stacks() -> None:
    """And nothing is charged for them."""

    def program(cpu: Cpu) -> Op[None]:
        yield from system.memory.deepen_stack(cpu, 1 << 20, "deep")

    system = guarded("x86-64", switches={"debug_guard_pages": "off"})
    run_program(system, program)
    assert system.memory.stacks is None
    assert not system.has_vm
    assert not sum(system.cpus[0].account.values())
