"""Injected failures of objects: a rule's cache is the one that would have served the request."""

from collections.abc import Sequence

from leaking import play, system_with

from coalsim.boot import System
from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.engine.occasions import When
from coalsim.mm.debug.failing import FailRule

ALIGNED = ((100, 8), (100, 128), (100, 1024), (3000, 4096), (100, 8192), (65, 1))
"""Sizes and alignments."""


def refused(cache: str) -> Sequence[bool]:
    """Which of the requests a rule for that cache refuses."""
    when = When(nth=0, every=0, share=0.0, times=0)
    rule = FailRule("objects", site="*", cache=cache, order=-1, cpu=-1, when=when, number=0)
    system = system_with({})
    system.memory.inject_failures([rule], system.streams)
    found: list[bool] = []

    def program(system: System, cpu: Cpu) -> Op[None]:
        memory = system.memory
        for size, align in ALIGNED:
            address = yield from memory.kmalloc_aligned(cpu, size, align, "aligned")
            found.append(not address)
            if address:
                yield from memory.kfree(cpu, address, "aligned")

    play(system, program)
    assert sum(rule.refused.values()) == sum(found)
    return found


def test_an_aligned_request_belongs_to_the_cache_whose_objects_lie_so() -> None:
    """100 bytes at multiples of 1024 come from kmalloc-1k, at multiples of two pages from whole pages."""
    served = {cache: refused(f"kmalloc-{cache}") for cache in ("96", "104", "128", "1024", "4096", "large")}
    assert served["128"] == [True, True, False, False, False, False]
    assert served["1024"] == [False, False, True, False, False, False]
    assert served["4096"] == [False, False, False, True, False, False]
    assert served["large"] == [False, False, False, False, True, False]
    assert served["96"] == [False, False, False, False, False, True]
    assert not any(served["104"])
