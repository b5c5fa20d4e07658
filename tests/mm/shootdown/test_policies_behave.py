"""What sets each policy apart, in one flush whose circumstances are known."""

import pytest
from flush_bench import keep_interrupts_off, leave, one_flush

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.mm.shootdown.latr import LatrShootdown
from coalsim.mm.shootdown.registry import SHOOTDOWNS
from coalsim.mm.shootdown.request import Flush
from coalsim.units import US

pytestmark = pytest.mark.fast_one_in(3, in_turn=True)

BY_INTERRUPTS = ("serial", "broadcast", "linux", "concurrent", "early_ack", "abis", "radixvm", "numapte")
AT_ONCE = [name for name in SHOOTDOWNS if name != "latr"]


@pytest.mark.parametrize("name", SHOOTDOWNS)
def test_nobody_uses_a_page_after_the_promise(name: str) -> None:
    """And what was taken away comes back, sooner or later, all of it."""
    flushed = one_flush(SHOOTDOWNS[name])
    assert not flushed.oracle.broken
    assert flushed.freed[-1] == 3


@pytest.mark.parametrize("name", AT_ONCE)
def test_frames_come_back_with_the_call(name: str) -> None:
    """Where the flush waits, the call frees."""
    assert one_flush(SHOOTDOWNS[name]).freed[0] == 3


@pytest.mark.parametrize("name", BY_INTERRUPTS)
def test_interrupts_wait_for_targets_that_have_them_off(name: str) -> None:
    """The slowest target decides."""
    assert one_flush(SHOOTDOWNS[name], doing=keep_interrupts_off).took > 400 * US


@pytest.mark.parametrize("name", ["latr", "invlpgb", "tlbi", "rar"])
def test_what_needs_no_handler_does_not_wait_for_interrupts(name: str) -> None:
    """Microcode, the fabric and records do not mind."""
    flushed = one_flush(SHOOTDOWNS[name], doing=keep_interrupts_off)
    assert flushed.took < 5 * US
    assert not flushed.counts["interrupts"]


def test_microcode_takes_its_time_from_targets() -> None:
    """Once for each request, with interrupts off too; the last task's exit frees tables and asks all."""
    at_exit, both = (
        [causes.get("handler:remote action", 0) for causes in one_flush(SHOOTDOWNS["rar"], doing=doing).spent]
        for doing in (leave, keep_interrupts_off)
    )
    assert at_exit[0] == 0 < at_exit[1]
    assert both == [2 * action for action in at_exit]


@pytest.mark.parametrize("name", [name for name in SHOOTDOWNS if name not in ("broadcast", "tlbi")])
def test_lazy_processors_are_left_out(name: str) -> None:
    """They catch up when they come back."""
    counts = one_flush(SHOOTDOWNS[name], doing=leave).counts
    assert counts["local"] == 1
    assert not counts["targets"]


def test_broadcast_asks_everybody() -> None:
    """Idle processors too."""
    assert one_flush(SHOOTDOWNS["broadcast"], cpus=8, doing=leave).counts["targets"] == 7


def test_serial_takes_as_long_as_all_targets_together() -> None:
    """Twice the targets, twice the time; asking them at once costs far less."""
    four, eight = (one_flush(SHOOTDOWNS["serial"], cpus=cpus).took for cpus in (4, 8))
    assert 1.8 < eight / four < 2.5
    assert one_flush(SHOOTDOWNS["linux"], cpus=8).took < eight / 3


def test_each_way_of_overlapping_saves_something() -> None:
    """The own flush is hidden behind the others', the others' behind the way back."""
    linux, concurrent, early = (
        one_flush(SHOOTDOWNS[name], pages=20).took for name in ("linux", "concurrent", "early_ack")
    )
    assert early < concurrent < linux


def test_freed_tables_are_not_acknowledged_early() -> None:
    """A walker could still read them."""
    policy = SHOOTDOWNS["early_ack"]
    one = object.__new__(policy)
    for freed in (False, True):
        request = Flush(context=None, first=0, last=1, reason="munmap", freed_tables=freed)  # type: ignore[arg-type]
        assert one.answers_early(request) is not freed  # type: ignore[attr-defined]


# -- who is asked -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "alone", "first_two", "last"),
    [("linux", 3, 3, 3), ("abis", 0, 3, 1), ("radixvm", 0, 1, 1), ("numapte", 1, 1, 3)],
)
def test_targets_are_those_who_can_have_the_pages(name: str, alone: int, first_two: int, last: int) -> None:
    """Pages touched by the first of four processors, by the first node's two, by the last one only.

    abis tells one processor from several; radixvm knows all; numapte knows nodes, and the
    first processor's node, which has a page next to these, always shares the table.
    """
    touched_by = (lambda cpu: cpu == 0, lambda cpu: cpu < 2, lambda cpu: cpu == 3)
    targets = [one_flush(SHOOTDOWNS[name], touch_by=touch_by).counts["targets"] for touch_by in touched_by]
    assert targets == [alone, first_two, last]


def test_invlpgb_is_for_processes_that_enough_processors_run() -> None:
    """Others are interrupted."""
    few = one_flush(SHOOTDOWNS["invlpgb"], changes={"invlpgb_min_cpus": "5"}).counts
    enough = one_flush(SHOOTDOWNS["invlpgb"], changes={"invlpgb_min_cpus": "4"}).counts
    assert (few["interrupts"], few["broadcasts"]) == (3, 0)
    assert (enough["interrupts"], enough["broadcasts"]) == (0, 1)


def test_issues_go_by_page_or_by_run_of_pages() -> None:
    """TLBI names one page, INVLPGB eight; both name the whole ASID beyond the ceiling."""
    counts = {
        (name, pages): one_flush(SHOOTDOWNS[name], pages=pages).counts["broadcasts"]
        for name in ("tlbi", "invlpgb")
        for pages in (1, 9, 33, 34)
    }
    assert [counts["tlbi", pages] for pages in (1, 9, 33, 34)] == [1, 9, 33, 1]
    assert [counts["invlpgb", pages] for pages in (1, 9, 33, 34)] == [1, 2, 5, 1]


# -- putting off ---------------------------------------------------------------------------------


def test_latr_frees_after_two_ticks() -> None:
    """Not with the call, not after the first tick."""
    flushed = one_flush(SHOOTDOWNS["latr"])
    assert flushed.counts["deferred"] == 1
    assert flushed.freed == [0, 0, 3, 3, 3]
    assert flushed.took < one_flush(SHOOTDOWNS["linux"]).took / 3
    assert one_flush(SHOOTDOWNS["latr"], changes={"latr_ticks": "3"}).freed == [0, 0, 0, 3, 3]


def test_latr_interrupts_while_its_ring_is_full() -> None:
    """And frees with the call; the record that was there before waits for its ticks."""
    flushed = one_flush(SHOOTDOWNS["latr"], earlier=1, changes={"latr_ring": "1"})
    assert not flushed.counts["deferred"]
    assert flushed.counts["ring_full"] == 1
    assert flushed.counts["interrupts"] == 3
    assert flushed.freed == [3, 3, 4, 4, 4]


class Drained(LatrShootdown):
    """Is drained as soon as the next call comes."""

    def left_user(self, cpu: Cpu) -> Op[None]:
        yield from self.drain(cpu)


def test_latr_can_be_drained_at_any_time() -> None:
    """The next call gives back what was put off, by interrupts."""
    flushed = one_flush(Drained)
    assert flushed.counts["deferred"] == 1
    assert flushed.freed[:2] == [0, 3]
    assert not flushed.oracle.broken


@pytest.mark.parametrize(
    ("reason", "freed_tables", "keeps_frames", "may"),
    [
        ("munmap", False, False, True),
        ("madvise", False, False, True),
        ("munmap", True, False, False),
        ("mprotect", False, True, False),
        ("cow", False, False, False),
        ("mremap", False, True, False),
        ("fork", False, True, False),
    ],
)
def test_latr_puts_off_only_what_may_be_seen_late(
    reason: str, freed_tables: bool, keeps_frames: bool, may: bool
) -> None:
    """Pages that are given up, and no tables."""
    request = Flush(
        context=None,  # type: ignore[arg-type]
        first=0,  # type: ignore[arg-type]
        last=1,  # type: ignore[arg-type]
        reason=reason,
        freed_tables=freed_tables,
        keeps_frames=keeps_frames,
    )
    assert object.__new__(LatrShootdown).defers(request) is may
