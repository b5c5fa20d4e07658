"""The allocators' costs give back the measurements that they were derived from."""

from decimal import Decimal

import pytest

from coalsim.profiles import KernelCosts, load_profile
from coalsim.units import NS, US

# Huang Ying, Linux commit 52166607ecc9, October 2023: Ice Lake, mean us with the zone lock held.
HOLD_OF_REFILL = {63: 2.02, 127: 3.51, 255: 6.17, 511: 11.66, 1023: 20.81, 2047: 39.28}
HOLD_OF_DRAIN = {63: 2.21, 127: 4.09, 255: 7.70, 511: 14.85, 1023: 28.55, 2047: 56.54}
TURBO = Decimal("3.4")

# Wrenger and others, LLFree, USENIX ATC 2023: Linux 6.0 at a fixed 2.2 GHz, one CPU, ns per page.
LLFREE = Decimal("2.2")


def outside_of_alloc(costs: KernelCosts) -> int:
    """What one order-0 allocation from the own list costs in linux-6.0, without the refill."""
    lists = costs.irq_save + costs.pcp_lock + costs.pcp_pop + costs.irq_restore
    return costs.page_alloc_entry + costs.watermark_test + lists + costs.page_prep


def outside_of_free(costs: KernelCosts) -> int:
    """What one order-0 free to the own list costs in linux-6.0, without the drain."""
    lists = costs.irq_save + costs.pcp_lock + costs.pcp_push + costs.irq_restore
    return costs.page_free_entry + costs.free_checks + lists


@pytest.mark.parametrize("pages", HOLD_OF_REFILL)
def test_refill_holds_are_within_eight_percent_of_the_measurement(pages: int) -> None:
    """At the clock they were measured at; the kernel's own batch of 63 within a thousandth."""
    hold = load_profile("linux-6.0").costs(TURBO).refill(pages)
    tolerance = 0.001 if pages == 63 else 0.08
    assert hold == pytest.approx(HOLD_OF_REFILL[pages] * US, rel=tolerance)


@pytest.mark.parametrize("pages", HOLD_OF_DRAIN)
def test_drain_holds_are_within_three_percent_of_the_measurement(pages: int) -> None:
    """At the clock they were measured at; the kernel's own batch of 63 within a thousandth."""
    hold = load_profile("linux-6.0").costs(TURBO).drain(pages)
    tolerance = 0.001 if pages == 63 else 0.03
    assert hold == pytest.approx(HOLD_OF_DRAIN[pages] * US, rel=tolerance)


def test_one_cpu_pays_what_was_measured_for_a_page_in_bulk() -> None:
    """94 ns to allocate, 90.25 ns to free; drains are large there, since their batch doubles."""
    costs = load_profile("linux-6.0").costs(LLFREE)
    assert outside_of_alloc(costs) + costs.refill(63) / 63 == pytest.approx(94 * NS, rel=0.01)
    assert outside_of_free(costs) + costs.drain(1008) / 1008 == pytest.approx(90.25 * NS, rel=0.01)


def test_the_alloc_free_pair_is_predicted() -> None:
    """112.3 ns was measured for a pair that never leaves the list; nothing was fitted to it."""
    costs = load_profile("linux-6.0").costs(LLFREE)
    assert outside_of_alloc(costs) + outside_of_free(costs) == pytest.approx(112.3 * NS, rel=0.05)


def test_fast_paths_of_the_slab_layers_give_back_their_pairs() -> None:
    """SLUB: 47 cycles a pair (Brouer 2015).  Magazines: 356 ns at 333 MHz (Bonwick and Adams 2001)."""
    at_1_ghz = load_profile("linux-6.0").costs(Decimal(1))
    assert at_1_ghz.slub_alloc + at_1_ghz.slub_free == 47 * NS
    ultrasparc = load_profile("coal").costs(Decimal("0.333"))
    pair = 2 * ultrasparc.magazine_lock + ultrasparc.magazine_pop + ultrasparc.magazine_push
    assert pair == pytest.approx(356 * NS, rel=0.005)
    through_slabs = 2 * ultrasparc.magazine_lock + ultrasparc.slab_take + ultrasparc.slab_put
    assert through_slabs == pytest.approx(743 * NS, rel=0.005)
