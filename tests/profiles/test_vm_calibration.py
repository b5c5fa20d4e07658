"""The costs of virtual memory give back the measurements that they were derived from."""

import pytest
from vm_paths import HASWELL, ICE_LAKE, MITOSIS, SV6, WESTMERE, Ground

from coalsim.profiles import load_profile


def sum_of_sv6(path: str) -> float:
    """What sv6 does inside a call, entry and exit apart, as its own counters timed it."""
    slots, entry = SV6.rwsem, SV6.spin
    gather = SV6.gather_begin + SV6.gather_end  # no counter of the space
    flush = SV6.flush - SV6.line - SV6.mask  # and no generation, no mask
    match path:
        case "mmap":
            return SV6.mmap - SV6.syscall - SV6.gap_search  # at a fixed address
        case "fault":
            page = SV6.alloc + SV6.refill_share + SV6.zero_page
            return slots + SV6.area_find + SV6.fault_fixed + page + entry + SV6.pte_set
        case "fill":
            return slots + SV6.area_find + entry + SV6.pte_set + SV6.radix_fill
        case _:
            cleared = entry + SV6.zap_page + flush + SV6.page_release
            return slots + SV6.area_find + SV6.area_remove + gather + cleared


@pytest.mark.parametrize(
    ("sum_of_steps", "measured"),
    [
        (MITOSIS.populate, 2522),
        (MITOSIS.populated_of_many, (3_153_672 - 2522) / 2047),
        (MITOSIS.munmap, 2134),
        (MITOSIS.released_of_many, (636_638 - 2134) / 2047),
        (MITOSIS.mprotect, 939),
        (MITOSIS.pte_protect, (123_479 - 939) / 2047),
    ],
)
def test_the_calls_of_one_thread_on_four_sockets_come_out(sum_of_steps: float, measured: float) -> None:
    """Mitosis, ASPLOS 2020, table 5: one page, and the average of 2,048, within a quarter of a percent."""
    assert sum_of_steps == pytest.approx(measured, rel=0.0025)


def test_a_fault_on_ice_lake_comes_out() -> None:
    """898,782 faults per second on one thread are 3,227 cycles at 2.9 GHz; 3,200 were aimed at."""
    fault = ICE_LAKE.fault(ICE_LAKE.populated_of_many)
    assert fault == pytest.approx(3200, abs=2)
    assert fault == pytest.approx(2.9e9 / 898_781.8, rel=0.01)


def test_a_flush_of_one_page_comes_out() -> None:
    """424 cycles for flush_tlb_range, hot, on a newer Intel (Molnar, 2015), of which 64 CPUs are assumed."""
    assert HASWELL.flush == pytest.approx(424)


@pytest.mark.parametrize(
    ("path", "measured"), [("mmap", 1199), ("fault", 3613), ("munmap", 1814), ("fill", 969)]
)
def test_the_calls_of_sv6_come_out(path: str, measured: float) -> None:
    """RadixVM, EuroSys 2013, local on one core: cycles inside each call."""
    assert sum_of_sv6(path) == pytest.approx(measured, abs=2)


def test_an_iteration_of_sv6_comes_out() -> None:
    """8,625 cycles: the three calls, two entries by syscall and one by exception."""
    inside = sum(sum_of_sv6(path) for path in ("mmap", "fault", "munmap"))
    entries = 2 * SV6.syscall + SV6.exception_entry + SV6.exception_exit
    assert inside + entries == pytest.approx(8625, abs=5)


def test_an_iteration_of_linux_3_5_comes_out() -> None:
    """7,879 cycles for mmap, touch and munmap of a page with a page table of its own (RadixVM)."""
    touch = WESTMERE.fault(WESTMERE.populated_alone) + WESTMERE.table
    assert WESTMERE.mmap + touch + WESTMERE.munmap == pytest.approx(7879, abs=3)


@pytest.mark.parametrize(("ground", "flush", "measured"), [(WESTMERE, 358, 390_000), (SV6, 320, 760_000)])
def test_fork_exit_and_wait_come_out_for_the_assumed_process(
    ground: Ground, flush: float, measured: float
) -> None:
    """20 areas, 200 pages, 6 page tables and 40 pages copied on write, as docs/calibration.md assumes."""
    broken = ground.fault(ground.populated_alone) - ground.zero_page_warm + ground.copy_page + flush
    areas = 20 * (ground.area_new + ground.area_remove)
    pages = 200 * (ground.copy_pte + ground.zap_page + ground.page_release)
    counted = 2 * ground.line if ground.switches.rss_batch > 0 else 0  # when it is copied, and when cleared
    tables = 6 * (ground.table + ground.table_free + ground.free + counted)
    switches = 2 * (ground.context_switch + ground.wake_up)
    fixed = ground.fork_fixed + ground.mm_create + ground.exit_fixed
    assert fixed + areas + pages + tables + switches + 40 * broken == pytest.approx(measured, rel=0.002)


def test_a_madvise_loop_on_haswell_is_predicted_too_slow() -> None:
    """661 ns were measured; nothing was fitted to it.  At 2.4 GHz it is 72 % too slow, at 3.6 GHz 15 %.

    The measurement's clock is unknown, and 2.4 GHz is hardly it: what mprotect of a page was measured to
    need on a Haswell server leaves too little for a fault.
    """
    fault = HASWELL.fault(HASWELL.populated_alone)
    cycles = HASWELL.madvise + fault
    assert cycles / 2.4 == pytest.approx(661 * 1.72, rel=0.01)
    assert cycles / 3.6 == pytest.approx(661 * 1.15, rel=0.01)
    assert 661 * 2.4 - MITOSIS.mprotect < fault / 2


def test_shares_are_assumed_and_what_closes_a_sum_is_derived() -> None:
    """One derived cost for each sum that a measurement fixes."""
    table = load_profile("linux-6.0").costs_table
    closing = ("area_new", "area_remove", "zap_page", "zero_page", "gather_end", "pte_protect", "flush_fixed")
    assert {table[name].status for name in (*closing, "exception_exit")} == {"derived"}
    shares = ("syscall", "area_find", "table_new", "lru_move_page", "exception_entry", "memcg_charge")
    assert {table[name].status for name in shares} == {"assumed"}
