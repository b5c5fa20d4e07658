"""Conformance kits: does a class of one's own keep the promises of its kind?

    from coalsim.kits import check_lock

    def test_my_lock() -> None:
        check_lock(MyLock)

`check_lock`, `check_allocator`, `check_placement`, `check_shootdown`, `check_victim` and
`check_load` raise `PromiseBroken`, an AssertionError that names every promise that does
not hold and how to see it again.  `coalsim plugins check ./file.py:Class` does the same.
"""

from coalsim.kits.allocator_kit import check_allocator
from coalsim.kits.load_kit import check_load
from coalsim.kits.lock_kit import check_lock
from coalsim.kits.placement_kit import check_placement
from coalsim.kits.shootdown_kit import check_shootdown
from coalsim.kits.verdicts import PromiseBroken, Report, Verdict
from coalsim.kits.victim_kit import check_victim

__all__ = [
    "PromiseBroken",
    "Report",
    "Verdict",
    "check_allocator",
    "check_load",
    "check_lock",
    "check_placement",
    "check_shootdown",
    "check_victim",
]
