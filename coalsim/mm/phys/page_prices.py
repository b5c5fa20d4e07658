"""What a call of the page allocator costs outside the zone's lock, by order.

    alloc   entry, then per zone tried its watermark, and the own list where the order has one,
            then making the frames ready
    free    entry and checks, and the own list where the order has one

Tables, because these sums are charged for every page.  Nothing here waits.
Source of the steps: Linux mm/page_alloc.c; of their costs: the kernel profile.
"""

from coalsim.profiles.costs import KernelCosts
from coalsim.profiles.switches import Switches
from coalsim.units import Time


class PagePrices:
    """Sums of kernel costs; each list is indexed by order.

    Attributes:
        entry: of an allocation, once.
        attempt: of one zone, with a look into the own list where the order has one.
        ready, ready_cold: making the frames ready; cold: their descriptors are in no near cache.
        hit, hit_cold: an allocation that the own list of the first zone serves, in all.
        free: a block given back, without what the zone does.
    """

    def __init__(self, costs: KernelCosts, switches: Switches) -> None:
        orders = range(switches.max_order + 1)
        guard = costs.irq_save + costs.irq_restore if switches.pcp_irqs_off else 0
        guard += costs.pcp_lock if switches.pcp_lock == "spinlock" else 0
        pop = [guard + costs.pcp_pop if order in switches.pcp_orders else 0 for order in orders]
        push = [guard + costs.pcp_push if order in switches.pcp_orders else 0 for order in orders]
        tails = [(1 << order) - 1 for order in orders]
        self.entry: Time = costs.page_alloc_entry
        self.attempt: list[Time] = [costs.watermark_test + pop[order] for order in orders]
        self.ready: list[Time] = [costs.page_prep + tail * costs.page_prep_tail_warm for tail in tails]
        self.ready_cold: list[Time] = [costs.page_prep + tail * costs.page_prep_tail_cold for tail in tails]
        self.hit: list[Time] = [self.entry + self.attempt[order] + self.ready[order] for order in orders]
        self.hit_cold: list[Time] = [
            self.entry + self.attempt[order] + self.ready_cold[order] for order in orders
        ]
        entry, checks = costs.page_free_entry, costs.free_checks
        self.free: list[Time] = [
            entry + push[order] + checks + tails[order] * costs.free_checks_tail for order in orders
        ]
