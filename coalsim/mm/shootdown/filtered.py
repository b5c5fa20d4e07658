"""What policies share that know more than the mask: who can have the pages of a request.

A processor that cannot have them is not asked, and so misses generations of its space
without having missed anything.  Hence a ranged flush is enough on a target whatever it
missed; but it may claim a generation only if it missed none (`Shootdown.catch_up`), so a
processor that comes back from idling or from another space flushes once more often.

`Walkers` remembers which processors' walks have put a translation into their TLBs.  It
is kept by incarnation: what a page's next incarnation fills counts anew, as if the bits
were read and cleared in one step with the entry.

Shared state: `sync` before use.
"""

from collections.abc import Iterable
from typing import ClassVar

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.translation import Translation
from coalsim.mm.paging.context import Context, Loaded
from coalsim.mm.shootdown.linux import ConcurrentShootdown
from coalsim.mm.shootdown.request import Flush
from coalsim.units import Vpn

EVERYBODY = -1
"""All bits."""


class FilteredShootdown(ConcurrentShootdown):
    """Multicast to those of the mask who can have the pages."""

    name: ClassVar[str] = ""

    def holders(self, request: Flush) -> int:
        """A bit for each processor that can have a page, or a pointer to a table, of a request.

        Asked once for each flush, synchronised.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say who can have a page")

    def candidates(self, cpu: Cpu, request: Flush) -> list[Cpu]:
        """Those of the mask who can have it; everybody, where unmappings overlap.

        Then all of the context is flushed, and what the other one has taken away is not named here.
        """
        if request.full and not request.keeps_frames:
            return super().candidates(cpu, request)
        bits = self.holders(request)
        return [target for target in super().candidates(cpu, request) if bits >> target.id & 1]

    def suffices(self, request: Flush, loaded: Loaded) -> bool:
        """What others flushed and this processor was not asked for did not concern it."""
        return True

    def sharers(self, request: Flush) -> int:
        """A bit for each processor whose place has copies of the tables; all, where they are not tracked."""
        places = request.sharers
        if places < 0 or self.system.switches.table_replication == "per_cpu":
            return places
        return sum(1 << target.id for target in self.system.cpus if places >> target.node & 1)


class Walkers:
    """Who has filled what: a bit for each processor, by translation."""

    def __init__(self) -> None:
        self._bits: dict[Translation, int] = {}

    def note(self, cpu: Cpu, context: Context, vpn: Vpn) -> None:
        """A walk has just filled a processor's TLB."""
        translation = context.translations[vpn]
        self._bits[translation] = self._bits.get(translation, 0) | 1 << cpu.id

    def take(self, dead: Iterable[Translation]) -> list[int]:
        """Bits of translations that have ended, and forget them."""
        return [bits for translation in dead if (bits := self._bits.pop(translation, 0))]
