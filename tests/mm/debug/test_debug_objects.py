"""Red zones, poison and the quarantine, by what they find in a running kernel."""

import pytest
from watched import BOTH, POISON, ZONES, findings, watched

from coalsim.boot import System
from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.errors import DoubleFree, ForeignFree, InteriorFree, KernelPanic
from coalsim.mm.kmem.geometry import NO_ROOM
from coalsim.mm.kmem.slab import SlabStatistics
from coalsim.mm.phys.layout import address_of

KERNELS = [("coal", {}), ("linux-6.0", {}), ("linux-6.18", {}), ("linux-6.18", {"slab": "sheaves"})]


def overflow(system: System, cpu: Cpu) -> Op[None]:
    memory = system.memory
    address = yield from memory.kmalloc(cpu, 50, "owner")
    yield from memory.kernel_store(cpu, address + 50, b"AB", "culprit")
    yield from memory.kfree(cpu, address, "freer")


@pytest.mark.parametrize(("profile", "switches"), KERNELS)
def test_one_byte_behind_what_was_asked_for_is_an_overflow(profile: str, switches: dict[str, str]) -> None:
    """Found at the free, with the owner, both ends of the damage, and a dump; whatever the allocator."""

    def program(system: System, cpu: Cpu) -> Op[None]:
        memory = system.memory
        for size in (50, 64, 200, 2048, 9):
            address = yield from memory.kmalloc(cpu, size, f"owner {size}")
            yield from memory.kernel_store(cpu, address + size, b"!", "culprit")
            yield from memory.kfree(cpu, address, "freer")

    system = watched({**BOTH, **switches}, program, profile=profile)
    found = findings(system)
    assert [finding.kind for finding in found] == ["overflow"] * 5
    assert [finding.allocated.site for finding in found if finding.allocated] == [
        f"owner {size}" for size in (50, 64, 200, 2048, 9)
    ]
    assert all(finding.site == "freer" for finding in found)
    assert all(finding.first == finding.last == finding.object + finding.asked for finding in found)
    for finding in found:
        zone = "Right" if finding.asked == finding.size else "kmalloc"
        assert finding.title == f"{zone} Redzone overwritten"
    system.memory.validate()


def test_the_report_has_the_layout_of_slub() -> None:
    """Head, range, owner, slab, dump and what was restored."""
    text = findings(watched(BOTH, overflow))[0].text.splitlines()
    assert text[1] == "BUG kmalloc-64 (Not tainted): kmalloc Redzone overwritten"
    assert text[4].endswith("First byte 0x41 instead of 0xcc")
    assert text[5].startswith("Allocated in owner age=")
    assert text[5].endswith(" cpu=0")
    names = [line[:9].strip() for line in text[8:-1] if line != "*"]
    assert list(dict.fromkeys(names)) == ["", "Redzone", "Object", "Padding"]
    damaged = next(line for line in text if "41 42" in line)
    assert damaged.startswith("Object   ffff8880")
    assert damaged.endswith(" ZZAB............")
    assert text[-1].startswith("FIX kmalloc-64: Restoring kmalloc Redzone 0xffff8880")
    assert text[-1].endswith("=0xcc")


def test_bytes_before_an_object_are_an_underflow_found_at_the_end_if_it_lives() -> None:
    """Nobody frees it, so only the look at all objects can find it."""

    def program(system: System, cpu: Cpu) -> Op[None]:
        address = yield from system.memory.kmalloc(cpu, 64, "owner")
        yield from system.memory.kernel_store(cpu, address - 3, b"xyz", "culprit")

    system = watched(BOTH, program)
    assert findings(system, at_the_end=False) == []
    (found,) = findings(system)
    assert (found.kind, found.site, found.last) == ("underflow", "the end of the run", found.object - 1)


def test_a_write_after_free_is_found_when_the_object_is_handed_out_again() -> None:
    """Poison tells of it; both sites of the object's life are known, and it is told once."""

    def program(system: System, cpu: Cpu) -> Op[None]:
        memory = system.memory
        address = yield from memory.kmalloc(cpu, 64, "owner")
        yield from memory.kfree(cpu, address, "freer")
        yield from memory.kernel_store(cpu, address + 8, b"late", "culprit")
        assert (yield from memory.kmalloc(cpu, 64, "next owner")) == address
        assert (yield from memory.kernel_load(cpu, address, 64, "test")) == b"\x5a" * 64

    (found,) = findings(watched(BOTH, program))
    assert (found.kind, found.title, found.site) == ("use after free", "Poison overwritten", "next owner")
    assert found.allocated is not None
    assert found.freed is not None
    assert (found.allocated.site, found.freed.site) == ("owner", "freer")
    assert (found.first, found.last) == (found.object + 8, found.object + 11)


def test_a_quarantine_keeps_a_stale_pointer_out_of_the_next_owners_data() -> None:
    """Without it, the write lands in the next owner's object and nobody can tell; with it, poison does."""

    def program(system: System, cpu: Cpu) -> Op[None]:
        memory = system.memory
        address = yield from memory.kmalloc(cpu, 64, "owner")
        yield from memory.kfree(cpu, address, "freer")
        again = yield from memory.kmalloc(cpu, 64, "next owner")
        yield from memory.kernel_store(cpu, address, b"stale", "culprit")
        yield from memory.kfree(cpu, again, "next owner")
        for _ in range(4):
            other = yield from memory.kmalloc(cpu, 64, "others")
            yield from memory.kfree(cpu, other, "others")

    assert findings(watched(BOTH, program)) == []
    (found,) = findings(watched({**BOTH, "debug_quarantine": "3"}, program))
    assert found.kind == "use after free"
    assert found.site == "leaving the quarantine"


def test_what_a_processor_holds_back_is_given_back_when_memory_is_short() -> None:
    """An object in the quarantine is no reason to fail, and draining a processor empties its part."""

    def program(system: System, cpu: Cpu) -> Op[None]:
        memory, debug = system.memory, system.memory.debug
        assert debug is not None
        kept = []
        while address := (yield from memory.kmalloc(cpu, 4096, "filler")):
            kept.append(address)
        for address in kept[:9]:
            yield from memory.kfree(cpu, address, "filler")
        assert debug.held_back == 9
        assert (yield from memory.kmalloc(cpu, 4096, "again"))
        assert debug.held_back == 0
        for address in kept[9:]:
            yield from memory.kfree(cpu, address, "filler")
        yield from memory.drain_cpu(cpu, "drain")
        assert debug.held_back == 0

    system = watched({**POISON, "debug_quarantine": "16"}, program, memory="20MiB")
    assert findings(system) == []
    system.memory.validate()


def wrong_frees(system: System, cpu: Cpu) -> Op[None]:
    memory = system.memory
    first = yield from memory.kmalloc(cpu, 64, "owner of first")
    yield from memory.kfree(cpu, first, "freer")
    yield from memory.kfree(cpu, first, "again")
    mine, other = memory.cache("mine", 120), memory.cache("other", 120)
    second = yield from memory.cache_alloc(cpu, mine, "owner of second")
    yield from memory.cache_free(cpu, other, second, "mixed up")
    third = yield from memory.kmalloc(cpu, 64, "owner of third")
    yield from memory.kfree(cpu, third + 8, "middle")
    yield from memory.kfree(cpu, third, "freer")
    pfn = yield from memory.alloc_pages(cpu, 0, "pages")
    yield from memory.kfree(cpu, address_of(pfn), "stranger")
    large = yield from memory.kmalloc(cpu, 20_000, "owner of large")
    yield from memory.kfree(cpu, large + 4096, "middle of large")
    yield from memory.kfree(cpu, large, "freer")
    yield from memory.kfree(cpu, large, "again large")
    yield from memory.kfree(cpu, 0, "nothing")


@pytest.mark.parametrize(("profile", "switches"), KERNELS)
def test_wrong_frees_are_findings_that_name_who_made_them(profile: str, switches: dict[str, str]) -> None:
    """None of them is done, but the one into the wrong cache, which goes to the right one."""
    system = watched({**BOTH, **switches}, wrong_frees, profile=profile)
    found = findings(system)
    assert [(one.kind, one.site, one.allocated and one.allocated.site) for one in found] == [
        ("double free", "again", "owner of first"),
        ("wrong cache", "mixed up", "owner of second"),
        ("interior free", "middle", "owner of third"),
        ("foreign free", "stranger", None),
        ("interior free", "middle of large", "owner of large"),
        ("double free", "again large", "owner of large"),
    ]
    assert "Wrong slab cache. other but object is from mine" in found[1].text
    assert "Object already free" in found[0].text
    assert system.memory.objects.held_objects == 0
    system.memory.validate()


def test_without_debug_modes_a_wrong_free_still_ends_the_run() -> None:
    """As before; and objects have nothing around them."""

    def double(system: System, cpu: Cpu) -> Op[None]:
        address = yield from system.memory.kmalloc(cpu, 64, "owner")
        yield from system.memory.kfree(cpu, address, "freer")
        yield from system.memory.kfree(cpu, address, "again")

    def interior(system: System, cpu: Cpu) -> Op[None]:
        address = yield from system.memory.kmalloc(cpu, 64, "owner")
        yield from system.memory.kfree(cpu, address + 8, "middle")

    def wrong(system: System, cpu: Cpu) -> Op[None]:
        memory = system.memory
        address = yield from memory.cache_alloc(cpu, memory.cache("mine", 120), "owner")
        yield from memory.cache_free(cpu, memory.cache("other", 120), address, "mixed up")

    for program, kind in ((double, DoubleFree), (interior, InteriorFree), (wrong, ForeignFree)):
        with pytest.raises(kind):
            watched({}, program)
    system = watched({}, overflow)
    assert system.memory.debug is None
    assert all(system.memory._geometry(size).room == NO_ROOM for size in (8, 100, 2048))


def test_what_cannot_be_seen_is_not_found() -> None:
    """A jump over the red zone into the middle of a neighbour, a read, and damage that is undone in time."""

    def program(system: System, cpu: Cpu) -> Op[None]:
        memory = system.memory
        first = yield from memory.kmalloc(cpu, 64, "first")
        yield from memory.kmalloc(cpu, 64, "second")
        yield from memory.kernel_load(cpu, first + 60, 40, "reader")
        yield from memory.kernel_store(cpu, first + 256 + 16, b"far", "jumper")
        before = yield from memory.kernel_load(cpu, first + 64, 4, "saver")
        yield from memory.kernel_store(cpu, first + 64, b"oops", "culprit")
        yield from memory.kernel_store(cpu, first + 64, before, "repentant")

    assert findings(watched(BOTH, program)) == []


def test_one_long_overrun_is_told_by_each_zone_that_it_crosses() -> None:
    """The owner's right zone and padding, then the neighbour's left zone, each with its object."""

    def program(system: System, cpu: Cpu) -> Op[None]:
        memory = system.memory
        first = yield from memory.kmalloc(cpu, 64, "owner")
        second = yield from memory.kmalloc(cpu, 64, "owner")
        low = min(first, second)
        assert abs(first - second) == 256
        yield from memory.kernel_store(cpu, low + 64, b"\x01" * (256 - 64), "culprit")

    found = findings(watched(BOTH, program))
    assert sorted(one.title for one in found) == [
        "Left Redzone overwritten",
        "Object padding overwritten",
        "Right Redzone overwritten",
    ]


def test_each_mode_sees_its_own_part() -> None:
    """Red zones see no use after free, poison no overflow; each by itself costs only its own cause."""

    def program(system: System, cpu: Cpu) -> Op[None]:
        memory = system.memory
        address = yield from memory.kmalloc(cpu, 64, "owner")
        yield from memory.kernel_store(cpu, address + 64, b"!", "culprit")
        yield from memory.kfree(cpu, address, "freer")
        yield from memory.kernel_store(cpu, address + 8, b"late", "culprit")

    by_mode = {}
    for name, switches in (("zones", ZONES), ("poison", POISON), ("late", {"debug_quarantine": "2"})):
        system = watched(switches, program)
        by_mode[name] = [one.kind for one in findings(system)]
        spent = {
            cause for cause, time in system.cpus[0].account.items() if cause.startswith("debug:") and time
        }
        own = {"zones": "debug:redzone", "poison": "debug:poison", "late": "debug:quarantine"}[name]
        assert spent == {"debug:track", own}
    assert by_mode == {"zones": ["overflow"], "poison": ["use after free"], "late": []}


def test_the_memory_that_it_takes_shows_in_slabinfo_and_not_in_what_callers_get() -> None:
    """Objects are listed with all that is around them; their size and alignment are the caller's."""

    def program(system: System, cpu: Cpu) -> Op[None]:
        memory = system.memory
        for size in (16, 64, 256, 2048):
            for _ in range(5):
                address = yield from memory.kmalloc(cpu, size, "owner")
                assert memory.kmalloc_size(address) == size
                assert address % (size & -size) == 0
        for align in (16, 64, 512):
            address = yield from memory.kmalloc_aligned(cpu, 100, align, "owner")
            assert address % align == 0

    for profile in ("coal", "linux-6.18"):
        lines = {line.name: line for line in _slabinfo(watched(BOTH, program, profile=profile))}
        plain = {line.name: line for line in _slabinfo(watched({}, program, profile=profile))}
        assert plain["kmalloc-64"].objsize == 64
        assert lines["kmalloc-64"].objsize == 256
        assert (
            lines["kmalloc-64"].objperslab < plain["kmalloc-64"].objperslab * lines["kmalloc-64"].pagesperslab
        )


def _slabinfo(system: System) -> list[SlabStatistics]:
    return [cache.statistics() for cache in system.memory.objects.caches]


def test_a_caller_who_asks_for_the_size_may_use_all_of_it() -> None:
    """kmalloc_size gives the whole object away: what was not asked for is no red zone any more."""

    def program(system: System, cpu: Cpu) -> Op[None]:
        memory = system.memory
        address = yield from memory.kmalloc(cpu, 50, "owner")
        assert memory.kmalloc_size(address) == 64
        yield from memory.kernel_store(cpu, address + 50, b"!" * 14, "owner")
        yield from memory.kfree(cpu, address, "freer")

    assert findings(watched(BOTH, program)) == []


def test_all_objects_can_be_looked_at_in_the_middle_of_a_run() -> None:
    """On demand: it finds what there is, and takes time."""

    def program(system: System, cpu: Cpu) -> Op[None]:
        memory, debug = system.memory, system.memory.debug
        assert debug is not None
        address = yield from memory.kmalloc(cpu, 64, "owner")
        yield from cpu.sync()
        began = cpu.clock
        assert (yield from debug.validate_slabs(cpu)) == 0
        yield from cpu.sync()
        assert cpu.clock > began
        yield from memory.kernel_store(cpu, address + 64, b"!", "culprit")
        assert (yield from debug.validate_slabs(cpu)) == 1
        assert (yield from debug.validate_slabs(cpu)) == 0, "what was found has been restored"

    assert [one.site for one in findings(watched(BOTH, program))] == ["slab_validate"]


def test_a_store_to_no_memory_stops_the_kernel() -> None:
    """A null pointer, and an address behind the last frame."""
    for address, text in (
        (8, "NULL pointer dereference"),
        (address_of(1 << 30), "unable to handle page fault"),
    ):

        def program(system: System, cpu: Cpu, address: int = address) -> Op[None]:
            yield from system.memory.kernel_store(cpu, address, b"!", "culprit")

        with pytest.raises(KernelPanic, match=text):
            watched(BOTH, program)


def test_without_red_zones_a_report_shows_the_bytes_before_the_object() -> None:
    """Sixteen of them, under SLUB's name, unless the object begins its slab."""

    def program(system: System, cpu: Cpu) -> Op[None]:
        memory = system.memory
        first = yield from memory.kmalloc(cpu, 64, "owner")
        second = yield from memory.kmalloc(cpu, 64, "owner")
        address = max(first, second)
        yield from memory.kfree(cpu, address, "freer")
        yield from memory.kernel_store(cpu, address + 20, b"late", "culprit")

    (found,) = findings(watched(POISON, program))
    before = [line for line in found.text.splitlines() if line.startswith("Bytes b4 ")]
    assert len(before) == 1
    assert int(before[0].split()[2].rstrip(":"), 16) == found.object - 16
    assert "Redzone" not in found.text
