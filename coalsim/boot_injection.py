"""Boot of what is to go wrong in the allocators: failing allocations, nodes that give nothing for a while.

The other rules go where their faults come from: late interrupts into `boot_vm.py`, held locks and
absent processors into `boot.py`.
"""

from collections.abc import Sequence
from functools import partial

from coalsim.engine.clock import Engine
from coalsim.engine.streams import Streams
from coalsim.injection import Injection
from coalsim.mm.debug.failing import FailingPages
from coalsim.mm.manager import MemoryManager
from coalsim.mm.phys.zone import Zone


def inject(injection: Injection, memory: MemoryManager, env: Engine, streams: Streams) -> None:
    """Let allocations fail, and nodes give nothing for a while."""
    pages = memory.pages
    if injection.fails_pages:
        pages.gate = FailingPages(injection.fail, streams)
    if injection.fails_objects:
        memory.inject_failures(injection.fail, streams)
    for away in injection.nodes_away:
        zones = [zone for zone in pages.zones if zone.node == away.node]
        env.declare_barrier(away.begin, partial(_set_away, zones, True))
        env.declare_barrier(away.end, partial(_set_away, zones, False))


def _set_away(zones: Sequence[Zone], is_away: bool) -> None:
    for zone in zones:
        zone.is_away = is_away
