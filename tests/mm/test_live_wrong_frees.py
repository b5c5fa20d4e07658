"""Wrong frees through the live memory manager name the culprit: address, owner, site, CPU."""

from collections.abc import Callable

import pytest
from live_memory import KERNELS, live_system, play

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.errors import BadFree, DoubleFree, ForeignFree, InteriorFree, KernelBug
from coalsim.mm.manager import MemoryManager
from coalsim.mm.phys.layout import pfn_of
from coalsim.units import PAGE_SIZE, Pfn

Act = Callable[[MemoryManager, Cpu, list[int]], Op[None]]
"""Takes something, notes its address, frees it wrongly at the site `culprit`."""


def told(kernel: str, kind: type[KernelBug], act: Act) -> tuple[str, int]:
    """What the error says of an act on CPU 1, and the address that the act noted."""
    system = live_system(kernel, machine="coal")
    noted: list[int] = []

    def idle(cpu: Cpu) -> Op[None]:
        yield from cpu.sync()

    def program(cpu: Cpu) -> Op[None]:
        yield from act(system.memory, cpu, noted)

    with pytest.raises(kind) as caught:
        play(system, idle, program)
    assert type(caught.value) is kind
    return str(caught.value), noted[0]


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_double_kfree_is_named(kernel: str) -> None:
    """With the cache that has the object already."""

    def act(memory: MemoryManager, cpu: Cpu, noted: list[int]) -> Op[None]:
        address = yield from memory.kmalloc(cpu, 60, "taker")
        noted.append(address)
        yield from memory.kfree(cpu, address, "first")
        yield from memory.kfree(cpu, address, "culprit")

    text, address = told(kernel, DoubleFree, act)
    assert text.startswith(f"{address:#x} is free already: freed at culprit on CPU 1; object")
    assert text.endswith("of a slab of cache kmalloc-64 is free already")


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_kfree_without_waiting_leaves_a_wrong_one_to_be_named(kernel: str) -> None:
    """The quick part refuses what nobody holds; it never takes it."""

    def act(memory: MemoryManager, cpu: Cpu, noted: list[int]) -> Op[None]:
        address = yield from memory.kmalloc(cpu, 60, "taker")
        noted.append(address)
        yield from memory.kfree(cpu, address, "first")
        assert not memory.kfree_now(cpu, address)
        assert not memory.kfree_now(cpu, address + 8)
        yield from memory.kfree(cpu, address, "culprit")

    assert "culprit on CPU 1" in told(kernel, DoubleFree, act)[0]


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_kfree_inside_an_object_is_named(kernel: str) -> None:
    """With how far inside, and of which cache."""

    def act(memory: MemoryManager, cpu: Cpu, noted: list[int]) -> Op[None]:
        address = yield from memory.kmalloc(cpu, 200, "taker")
        noted.append(address + 24)
        yield from memory.kfree(cpu, address + 24, "culprit")

    text, address = told(kernel, InteriorFree, act)
    assert text.startswith(f"{address:#x} is not the start of a block: freed at culprit on CPU 1")
    assert "24 bytes into object" in text
    assert "cache kmalloc-256" in text


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_kfree_of_what_was_never_handed_out_is_named(kernel: str) -> None:
    """No slab and no pages are there."""

    def act(memory: MemoryManager, cpu: Cpu, noted: list[int]) -> Op[None]:
        noted.append(0xDEAD_0000)
        yield from memory.kfree(cpu, 0xDEAD_0000, "culprit")

    text, _ = told(kernel, ForeignFree, act)
    assert text.startswith("0xdead0000 does not belong to this allocator: freed at culprit on CPU 1")


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_kfree_inside_whole_pages_names_who_took_them(kernel: str) -> None:
    """Requests above the largest class are blocks of pages, and remember their taker."""

    def act(memory: MemoryManager, cpu: Cpu, noted: list[int]) -> Op[None]:
        address = yield from memory.kmalloc(cpu, 40_000, "taker")
        noted.append(address)
        yield from memory.kfree(cpu, address + 5 * PAGE_SIZE, "culprit")

    text, address = told(kernel, InteriorFree, act)
    assert text.startswith(f"{address + 5 * PAGE_SIZE:#x} ")
    assert text.endswith(f"freed at culprit on CPU 1; it lies in the pages at {address:#x}, taken by CPU 1")


@pytest.mark.parametrize("kernel", KERNELS)
def test_an_object_freed_into_another_cache_names_both(kernel: str) -> None:
    """The one that was given it and the one that owns it; the object stays with its holder."""

    def act(memory: MemoryManager, cpu: Cpu, noted: list[int]) -> Op[None]:
        dentry, inode = memory.cache("dentry", 192), memory.cache("inode", 600)
        address = yield from memory.cache_alloc(cpu, dentry, "taker")
        noted.append(address)
        assert not memory.cache_free_now(cpu, inode, address)
        yield from memory.cache_free(cpu, inode, address, "culprit")

    text, address = told(kernel, ForeignFree, act)
    assert text.startswith(f"{address:#x} ")
    assert text.endswith("freed into cache inode at culprit on CPU 1, but cache dentry owns it")


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_double_free_into_a_cache_is_named(kernel: str) -> None:
    """As for kfree, with the cache's own name."""

    def act(memory: MemoryManager, cpu: Cpu, noted: list[int]) -> Op[None]:
        dentry = memory.cache("dentry", 192)
        address = yield from memory.cache_alloc(cpu, dentry, "taker")
        noted.append(address)
        yield from memory.cache_free(cpu, dentry, address, "first")
        yield from memory.cache_free(cpu, dentry, address, "culprit")

    text, address = told(kernel, DoubleFree, act)
    assert text.startswith(f"{address:#x} is free already: freed at culprit on CPU 1")
    assert "cache dentry" in text


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("order", [0, 4])
def test_a_double_free_of_pages_says_where_they_are(kernel: str, order: int) -> None:
    """On a per-CPU list, or free in a zone."""

    def act(memory: MemoryManager, cpu: Cpu, noted: list[int]) -> Op[None]:
        pfn = yield from memory.alloc_pages(cpu, order, "taker")
        noted.append(pfn)
        yield from memory.free_pages(cpu, pfn, order, "first")
        assert not memory.free_pages_now(cpu, pfn, order)
        yield from memory.free_pages(cpu, pfn, order, "culprit")

    text, pfn = told(kernel, DoubleFree, act)
    assert text.startswith(f"{pfn:#x} is free already: freed at culprit on CPU 1; the block is ")
    assert text.endswith("on a per-CPU list") if order == 0 else "free in zone" in text


@pytest.mark.parametrize("kernel", ["slub", "sheaves"])
def test_a_double_free_inside_a_block_on_a_list_is_one(kernel: str) -> None:
    """Nobody has the frame any more, though the zone has not got it back either."""

    def act(memory: MemoryManager, cpu: Cpu, noted: list[int]) -> Op[None]:
        pfn = yield from memory.alloc_pages(cpu, 2, "taker")
        noted.append(pfn)
        yield from memory.free_pages(cpu, pfn, 2, "first")
        yield from memory.free_pages(cpu, Pfn(pfn + 3), 0, "culprit")

    text, pfn = told(kernel, DoubleFree, act)
    assert text == f"{pfn + 3:#x} is free already: freed at culprit on CPU 1; the block is on a per-CPU list"


def test_a_free_of_what_was_taken_before_the_start_is_foreign() -> None:
    """Nobody was ever given it, so nobody frees it twice; the free frame beside it is free already."""
    system = live_system("slub", machine="coal")
    zone = system.memory.zones[-1]
    zone.source.shape([1])  # one free frame, all others taken by nobody
    (free,) = (pfn for pfn in range(zone.first, zone.first + zone.frames) if zone.source.is_free(pfn))
    taken = [pfn for pfn in (zone.first, free ^ 1, zone.first + zone.frames - 1) if pfn != free]
    refused: list[BadFree] = []

    def program(cpu: Cpu) -> Op[None]:
        for pfn in (free, *taken):
            try:
                yield from system.memory.free_pages(cpu, Pfn(pfn), 0, "culprit")
            except BadFree as refusal:
                refused.append(refusal)

    play(system, program)
    assert [type(refusal) for refusal in refused] == [DoubleFree] + [ForeignFree] * len(taken)
    assert str(refused[-1]).endswith(
        "freed at culprit on CPU 0; it was taken before the start and never allocated"
    )


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("order", [1, 4])
def test_a_free_inside_a_block_of_pages_names_the_block(kernel: str, order: int) -> None:
    """Its first frame and its order."""

    def act(memory: MemoryManager, cpu: Cpu, noted: list[int]) -> Op[None]:
        pfn = yield from memory.alloc_pages(cpu, order, "taker")
        noted.append(pfn)
        yield from memory.free_pages(cpu, Pfn(pfn + 1), 0, "culprit")

    text, pfn = told(kernel, InteriorFree, act)
    assert text == (
        f"{pfn + 1:#x} is not the start of a block: freed at culprit on CPU 1; "
        f"it lies in the block of order {order} at {pfn:#x}"
    )


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_free_with_another_order_names_both(kernel: str) -> None:
    """The order of the free and that of the allocation."""

    def act(memory: MemoryManager, cpu: Cpu, noted: list[int]) -> Op[None]:
        pfn = yield from memory.alloc_pages(cpu, 3, "taker")
        noted.append(pfn)
        yield from memory.free_pages(cpu, pfn, 2, "culprit")

    text, pfn = told(kernel, BadFree, act)
    assert text == (f"{pfn:#x} cannot be freed: freed at culprit on CPU 1 with order 2, taken with order 3")


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("pfn", [-5, 1 << 40])
def test_a_free_of_frames_that_do_not_exist_is_named(kernel: str, pfn: int) -> None:
    """Below and above the machine's memory."""

    def act(memory: MemoryManager, cpu: Cpu, noted: list[int]) -> Op[None]:
        noted.append(pfn)
        yield from memory.free_pages(cpu, Pfn(pfn), 0, "culprit")

    text, _ = told(kernel, ForeignFree, act)
    assert "freed at culprit on CPU 1; the machine has no such frame" in text


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("size", [100, 20_000])
def test_a_free_of_pages_that_slabs_or_kmalloc_own_is_named(kernel: str, size: int) -> None:
    """Whoever frees the pages of an object instead of the object is told who has them."""

    def act(memory: MemoryManager, cpu: Cpu, noted: list[int]) -> Op[None]:
        address = yield from memory.kmalloc(cpu, size, "taker")
        pfn = next(
            head
            for head in (Pfn(pfn_of(address) & -(1 << order)) for order in range(4))
            if memory.pages.order_of(head) is not None
        )
        noted.append(pfn)
        order = memory.pages.order_of(pfn)
        assert order is not None
        assert not memory.free_pages_now(cpu, pfn, order)
        yield from memory.free_pages(cpu, pfn, order, "culprit")

    text, pfn = told(kernel, ForeignFree, act)
    assert text.startswith(f"{pfn:#x} does not belong to this allocator: freed at culprit on CPU 1")
    assert text.endswith("slabs or kmalloc own the block, taken by CPU 1")


@pytest.mark.parametrize("size", [0, -1])
def test_a_request_for_nothing_is_a_bug_of_the_caller(size: int) -> None:
    """kmalloc of no bytes names site and CPU."""

    def act(memory: MemoryManager, cpu: Cpu, noted: list[int]) -> Op[None]:
        noted.append(0)
        yield from memory.kmalloc(cpu, size, "culprit")

    text, _ = told("magazines", KernelBug, act)
    assert text == f"kmalloc of {size} bytes at culprit on CPU 1"
