"""DebugObjects: the layer that looks for damaged objects and wrong frees.

    kmalloc   inner kmalloc -> check the free pattern -> fill -> the caller has it
    kfree     is it an object, in use? -> check -> fill -> [held back ->] inner kfree

A mistake is a finding and the kernel goes on: damaged bytes are restored, a wrong free is not done (one
into the wrong cache goes to the right one).  What is looked at is only what a kernel can see: bytes that
were changed by the time it looks, and its own record of who took and freed an object.

Invariant: an object that was handed out and not freed is in use; its red zones are right unless somebody
has run over them.
Locking: the bytes change and are looked at when the processor has synchronised; the inner layer's locks
order who has an object.
Costs: filling and checking per 64 bytes, `debug_track` per call, under `debug:redzone`, `debug:poison`,
`debug:track` and `debug:quarantine`.
Source: Linux mm/slub.c (`alloc_debug_processing`, `free_debug_processing`, `validate_slab_cache`).
"""

from collections.abc import Callable
from functools import partial

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.mm.debug.inspector import Inspector
from coalsim.mm.debug.kernel_bytes import KernelBytes
from coalsim.mm.debug.quarantine import Quarantine
from coalsim.mm.debug.report import Finding, Kind, Track
from coalsim.mm.debug.slots import Slot, Slots
from coalsim.mm.kmem.slab import SlabDirectory
from coalsim.mm.kmem.verbs import ObjectVerbs
from coalsim.mm.phys.context import AllocContext
from coalsim.profiles.costs import KernelCosts
from coalsim.profiles.switches import Switches
from coalsim.units import CpuId, Time

TRACK = "debug:track"
QUARANTINE = "debug:quarantine"
AT_THE_END = "the end of the run"
ON_DEMAND = "slab_validate"

Freed = tuple[Slot, int, str]
"""A slot on its way back: the cache that its caller named (-1: kfree), and the call site."""


class DebugObjects:
    """Red zones, poison and delayed reuse around the objects of whoever is inside.

    Args:
        inner: who has the objects.
        directory: frame to slab.
        memory: the objects' bytes.
        switches, costs: of the kernel.
        num_cpus: of the machine.
    """

    def __init__(
        self,
        inner: ObjectVerbs,
        directory: SlabDirectory,
        memory: KernelBytes,
        switches: Switches,
        costs: KernelCosts,
        num_cpus: int,
    ) -> None:
        self._inner = inner
        self._slots = Slots(directory, switches)
        self._inspector = Inspector(memory, switches, costs)
        self._quarantine: Quarantine[Freed] = Quarantine(num_cpus, switches.debug_quarantine)
        self._names: dict[int, str] = {}  # of caches by handle
        self._track: Time = costs.debug_track
        self._delay: Time = costs.debug_quarantine_push

    # -- the verbs that never wait: this layer always has something to look at

    def kmalloc_now(self, cpu: Cpu, size: int) -> int:
        """Refuses: call `kmalloc`."""
        return 0

    def kfree_now(self, cpu: Cpu, address: int) -> bool:
        """Refuses: call `kfree`."""
        return False

    def take_object_now(self, cpu: Cpu, cache: int) -> int:
        """Refuses: call `take_object`."""
        return 0

    def give_object_now(self, cpu: Cpu, cache: int, address: int) -> bool:
        """Refuses: call `give_object`."""
        return False

    # -- handing out

    def cache(self, name: str, size: int) -> int:
        """The handle of the cache of that name."""
        handle = self._inner.cache(name, size)
        self._names[handle] = name
        return handle

    def kmalloc(self, cpu: Cpu, size: int, site: str, context: AllocContext = AllocContext.KERNEL) -> Op[int]:
        """The address of `size` bytes, or 0."""
        ask = partial(self._inner.kmalloc, cpu, size, site, context)
        return (yield from self._take(cpu, ask, size, site))

    def kmalloc_aligned(
        self, cpu: Cpu, size: int, align: int, site: str, context: AllocContext = AllocContext.KERNEL
    ) -> Op[int]:
        """The address of `size` bytes at a multiple of `align`, or 0."""
        ask = partial(self._inner.kmalloc_aligned, cpu, size, align, site, context)
        return (yield from self._take(cpu, ask, size, site))

    def take_object(
        self, cpu: Cpu, cache: int, site: str, context: AllocContext = AllocContext.KERNEL
    ) -> Op[int]:
        """The address of an object of a cache, or 0."""
        ask = partial(self._inner.take_object, cpu, cache, site, context)
        return (yield from self._take(cpu, ask, 0, site))

    def kmalloc_size(self, address: int) -> int:
        """Bytes usable at an address that a caller holds, who may use all of them from now on."""
        slot = self._slots.at(address)
        if slot is not None and slot.in_use:
            self._inspector.use_all(slot)
        return self._inner.kmalloc_size(address)

    def _take(self, cpu: Cpu, ask: Callable[[], Op[int]], asked: int, site: str) -> Op[int]:
        """Ask the inner layer, once more if that fails and the processor holds objects back.

        `asked` is 0 for all that an object has.
        """
        address = yield from ask()
        if not address and (yield from self.drain_cpu(cpu)):
            address = yield from ask()
        if address:
            asked = asked or self._inner.kmalloc_size(address)
            yield from cpu.sync()
            self._hand_out(cpu, address, asked, site)
        return address

    def _hand_out(self, cpu: Cpu, address: int, asked: int, site: str) -> None:
        """The caller has the object from now on; synchronised."""
        slot = self._slots.at(address)
        if slot is None:
            slot = self._slots.make(address, asked)
        else:
            self._inspector.check(slot, cpu.clock, cpu.id, site)
            self._inspector.charge_check(cpu, slot, contents=True)
        slot.in_use, slot.asked = True, asked
        slot.allocated = Track(site, cpu.id, cpu.clock)
        self._inspector.begin_use(slot)
        self._inspector.charge_fill(cpu, slot)
        cpu.charge(self._track, TRACK)

    # -- coming back

    def kfree(self, cpu: Cpu, address: int, site: str) -> Op[None]:
        """Give memory back; address 0 is legal and free."""
        if address:
            yield from self._free(cpu, address, -1, site)

    def give_object(self, cpu: Cpu, cache: int, address: int, site: str) -> Op[None]:
        """Give an object back to its cache."""
        yield from self._free(cpu, address, cache, site)

    def _free(self, cpu: Cpu, address: int, cache: int, site: str) -> Op[None]:
        yield from cpu.sync()
        slot = self._slots.at(address)
        if slot is None or not slot.in_use:
            self._refuse(cpu, address, slot, site)
            return
        if cache >= 0 and self._names.get(cache) != slot.cache:
            title = f"Wrong slab cache. {self._names.get(cache)} but object is from {slot.cache}"
            self._report(cpu, "wrong cache", title, address, slot, site, f"Freed into {slot.cache}")
            cache = -1
        self._inspector.check(slot, cpu.clock, cpu.id, site)
        self._inspector.charge_check(cpu, slot, contents=False)
        slot.in_use = False
        slot.freed = Track(site, cpu.id, cpu.clock)
        self._inspector.end_use(slot)
        self._inspector.charge_fill(cpu, slot)
        cpu.charge(self._track, TRACK)
        freed: Freed | None = (slot, cache, site)
        if slot.run is not None and self._quarantine.most:
            cpu.charge(self._delay, QUARANTINE)
            freed = self._quarantine.push(cpu.id, (slot, cache, site))
        if freed is not None:
            yield from self._release(cpu, freed)

    def _release(self, cpu: Cpu, freed: Freed) -> Op[None]:
        """The inner layer gets it; what was held back is looked at first."""
        slot, cache, site = freed
        if self._quarantine.most and slot.run is not None:
            yield from cpu.sync()
            self._inspector.check(slot, cpu.clock, cpu.id, "leaving the quarantine")
            self._inspector.charge_check(cpu, slot, contents=True)
        if cache < 0:
            yield from self._inner.kfree(cpu, slot.address, site)
        else:
            yield from self._inner.give_object(cpu, cache, slot.address, site)

    def _refuse(self, cpu: Cpu, address: int, slot: Slot | None, site: str) -> None:
        """Say what is wrong with a free; the object stays as it is."""
        fix = f"Object at {address:#018x} not freed"
        if slot is not None:
            self._report(cpu, "double free", "Object already free", address, slot, site, fix)
            return
        start = self._slots.start_around(address)
        title = f"Invalid object pointer {address:#018x}"
        if start is None:
            title = f"Attempt to free object({address:#018x}) outside of slab"
            self._report(cpu, "foreign free", title, address, None, site, fix)
        elif start == address:
            self._report(cpu, "double free", "Object already free", address, None, site, fix)
        else:
            self._report(cpu, "interior free", title, address, self._slots.at(start), site, fix)

    def _report(
        self, cpu: Cpu, kind: Kind, title: str, address: int, slot: Slot | None, site: str, fix: str
    ) -> None:
        self._inspector.wrong_free(cpu, kind, title, address, slot, site, fix)

    # -- looking at all of them

    @property
    def findings(self) -> list[Finding]:
        """All mistakes found so far, in the order of time, then of processors."""
        return sorted(self._inspector.findings, key=lambda finding: (finding.at, finding.cpu))

    @property
    def held_back(self) -> int:
        """Objects that were freed and may not be used again yet."""
        return self._quarantine.held

    def validate_slabs(self, cpu: Cpu) -> Op[int]:
        """Look at every object now, in simulated time; how many mistakes were found."""
        yield from cpu.sync()
        found, now = 0, cpu.clock
        for slot in self._slots.current():
            found += self._inspector.check(slot, now, cpu.id, ON_DEMAND)
            self._inspector.charge_check(cpu, slot, contents=not slot.in_use)
        return found

    def validate_at_the_end(self, now: Time) -> None:
        """Look at every object at a barrier, in no time."""
        for slot in self._slots.current():
            self._inspector.check(slot, now, CpuId(0), AT_THE_END)

    def drain_cpu(self, cpu: Cpu) -> Op[int]:
        """Give back what the processor holds back; how many objects."""
        count = 0
        while self._quarantine.most:
            if cpu.clock >= cpu.limit:
                yield from cpu.look()
            freed = self._quarantine.drain(cpu.id)
            if freed is None:
                break
            count += 1
            yield from self._release(cpu, freed)
        return count
