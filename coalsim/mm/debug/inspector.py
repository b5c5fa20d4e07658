"""The inspector: fills known bytes around and into objects, looks at them, and reports what it finds.

A finding does not stop the kernel: the bytes are restored, as SLUB does, so that one mistake is told once.

    in use   cc | the caller's bytes, cc behind those asked for | cc | ... 5a
    free     bb | 6b 6b ... a5                                  | bb | ... 5a

Locking: as for slots; the processor that looks has synchronised.  Nothing here waits: what filling and
checking take is charged to the clock of the processor that does it.
Source: Linux mm/slub.c (`init_object`, `check_object`, `restore_bytes`).
"""

from collections.abc import Iterator

from coalsim.cpus.cpu import Cpu
from coalsim.mm.debug import poison
from coalsim.mm.debug.access import chunks
from coalsim.mm.debug.kernel_bytes import KernelBytes
from coalsim.mm.debug.redzone import PADDING, RED_ACTIVE, RED_INACTIVE, SlotLayout, Zone
from coalsim.mm.debug.report import Finding, Kind, dump, head, tracking
from coalsim.mm.debug.slots import Slot
from coalsim.profiles.costs import KernelCosts
from coalsim.profiles.switches import Switches
from coalsim.units import PAGE_SIZE, CpuId, Time

REDZONE = "debug:redzone"
POISON = "debug:poison"

_KINDS: dict[str, Kind] = {
    "Left Redzone": "underflow",
    "Right Redzone": "overflow",
    "kmalloc Redzone": "overflow",
    "Object padding": "overflow",
    "Poison": "use after free",
}


class Inspector:
    """Knows what the bytes of objects should be.

    Args:
        memory: the bytes.
        switches, costs: of the kernel.
    """

    def __init__(self, memory: KernelBytes, switches: Switches, costs: KernelCosts) -> None:
        self.findings: list[Finding] = []
        self._memory = memory
        self._zones = switches.debug_redzone
        self._poison = switches.debug_poison
        self._fill: Time = costs.debug_fill_per_64
        self._check: Time = costs.debug_check_per_64

    # -- filling

    def begin_use(self, slot: Slot) -> None:
        """The object is handed out."""
        layout = slot.layout
        if layout is None:
            return
        self._fill_zones(slot, layout, RED_ACTIVE)
        asked = slot.asked if self._zones else layout.size
        if self._poison:
            self._memory.write(slot.address, poison.fresh(asked))
        if self._zones and asked < layout.size:
            self._memory.write(slot.address + asked, bytes([RED_ACTIVE]) * (layout.size - asked))

    def end_use(self, slot: Slot) -> None:
        """The object comes back."""
        layout = slot.layout
        if layout is None:
            return
        self._fill_zones(slot, layout, RED_INACTIVE)
        if self._poison:
            self._memory.write(slot.address, poison.freed(layout.size))

    def use_all(self, slot: Slot) -> None:
        """The caller has asked how much there is: it may use all of it from now on."""
        if slot.layout is not None:
            slot.asked = slot.layout.size

    def _fill_zones(self, slot: Slot, layout: SlotLayout, value: int) -> None:
        if self._zones:
            for zone in (layout.left, layout.right):
                self._put(slot, zone, value)
        if self._poison:
            self._put(slot, layout.padding, PADDING)

    def _put(self, slot: Slot, zone: Zone, value: int) -> None:
        if zone.end > zone.start:
            self._memory.write(slot.address + zone.start, bytes([value]) * (zone.end - zone.start))

    # -- what it costs

    def charge_fill(self, cpu: Cpu, slot: Slot) -> None:
        """Filling what surrounds an object, and the object."""
        self._charge(cpu, slot, self._fill)

    def charge_check(self, cpu: Cpu, slot: Slot, *, contents: bool) -> None:
        """Looking at what surrounds it; with `contents` at its poison too."""
        self._charge(cpu, slot, self._check, contents=contents)

    def _charge(self, cpu: Cpu, slot: Slot, per_64: Time, *, contents: bool = True) -> None:
        if slot.layout is None:
            return
        if self._zones:
            cpu.charge(chunks(slot.layout.zone_bytes) * per_64, REDZONE)
        if self._poison:
            own = chunks(slot.layout.size) if contents else 0
            cpu.charge((own + chunks(slot.layout.padding_bytes)) * per_64, POISON)

    # -- checking

    def check(self, slot: Slot, at: Time, cpu: CpuId, site: str) -> int:
        """Look at everything that is known of an object; how many mistakes were found and repaired."""
        found = len(self.findings)
        if slot.layout is not None:
            for zone, expected in self._expected(slot, slot.layout):
                self._compare(slot, zone, expected, at, cpu, site)
        return len(self.findings) - found

    def _expected(self, slot: Slot, layout: SlotLayout) -> Iterator[tuple[Zone, bytes]]:
        if self._zones:
            red = bytes([RED_ACTIVE if slot.in_use else RED_INACTIVE])
            # what was not asked for and the red zone behind it are one stretch, so one overrun is told once
            right = layout.right._replace(start=slot.asked if slot.in_use else layout.size)
            for zone in (layout.left, right):
                yield zone, red * (zone.end - zone.start)
        if self._poison and not slot.in_use:
            yield Zone("Poison", 0, layout.size), poison.freed(layout.size)
        if self._poison:
            yield layout.padding, bytes([PADDING]) * layout.padding_bytes

    def _compare(self, slot: Slot, zone: Zone, expected: bytes, at: Time, cpu: CpuId, site: str) -> None:
        start = slot.address + zone.start
        wrong = poison.damage(expected, self._memory.read(start, len(expected)))
        if wrong is None:
            return
        first, last = start + wrong.first, start + wrong.last
        if zone.start < slot.size <= zone.end and first < slot.address + slot.size and zone.start > 0:
            zone = zone._replace(name="kmalloc Redzone")
        title = f"{zone.name} overwritten"
        lines = [
            *head(slot.cache, title),
            f"{first:#018x}-{last:#018x} @offset={self._offset(slot, first)}. "
            f"First byte {wrong.found:#x} instead of {wrong.expected:#x}",
            *tracking(at, slot.allocated, slot.freed),
            *self._trailer(slot, slot.layout),
            f"FIX {slot.cache}: Restoring {zone.name} {first:#018x}-{last:#018x}={wrong.expected:#x}",
        ]
        self._memory.write(first, expected[wrong.first : wrong.last + 1])
        self.findings.append(
            Finding(
                kind=_KINDS[zone.name],
                title=title,
                cache=slot.cache,
                object=slot.address,
                size=slot.size,
                asked=slot.asked,
                at=at,
                cpu=cpu,
                site=site,
                first=first,
                last=last,
                allocated=slot.allocated,
                freed=slot.freed,
                text="\n".join(lines),
            )
        )

    # -- wrong frees

    def wrong_free(
        self, cpu: Cpu, kind: Kind, title: str, address: int, slot: Slot | None, site: str, fix: str
    ) -> None:
        """Report a free that is none; synchronised.  `slot` is the object that it hits, if it hits one."""
        now, cache = cpu.clock, "kmalloc" if slot is None else slot.cache
        lines = [*head(cache, title), f"Freeing {address:#018x} in {site} cpu={cpu.id}"]
        if slot is not None:
            lines += [*tracking(now, slot.allocated, slot.freed), *self._trailer(slot, slot.layout)]
        lines.append(f"FIX {cache}: {fix}")
        self.findings.append(
            Finding(
                kind=kind,
                title=title,
                cache=cache,
                object=address if slot is None else slot.address,
                size=0 if slot is None else slot.size,
                asked=0 if slot is None else slot.asked,
                at=now,
                cpu=cpu.id,
                site=site,
                first=address,
                last=address,
                allocated=None if slot is None else slot.allocated,
                freed=None if slot is None else slot.freed,
                text="\n".join(lines),
            )
        )

    # -- the dump

    @staticmethod
    def _offset(slot: Slot, address: int) -> int:
        run = slot.run
        return 0 if run is None else address - (run.base & -PAGE_SIZE)

    def _trailer(self, slot: Slot, layout: SlotLayout | None) -> Iterator[str]:
        """The slab, and the bytes of the object and around it."""
        run, address = slot.run, slot.address
        if layout is None or run is None:
            yield f"Pages {address:#018x} size={slot.size}"
            return
        yield f"Slab {run.base & -PAGE_SIZE:#018x} objects={run.geometry.objects}"
        sizes = f"size={layout.size} asked={slot.asked}"
        yield f"Object {address:#018x} @offset={self._offset(slot, address)} {sizes}"
        yield ""
        if layout.before:
            yield from self._dump("Redzone", slot, layout.left)
        else:
            start = max(address - 16, run.base & -PAGE_SIZE)
            yield from dump("Bytes b4", start, self._memory.read(start, address - start))
        yield from self._dump("Object", slot, Zone("", 0, min(layout.size, PAGE_SIZE)))
        yield from self._dump("Redzone", slot, layout.right)
        yield from self._dump("Padding", slot, layout.padding)

    def _dump(self, name: str, slot: Slot, zone: Zone) -> Iterator[str]:
        start = slot.address + zone.start
        yield from dump(name, start, self._memory.read(start, zone.end - zone.start))
