"""What dies when a page is unmapped, or loses the right to write."""

from coalsim.cpus.oracle import Oracle, Run
from coalsim.cpus.translation import Moment, Translation
from coalsim.mm.paging.context import FORGET_AT, Context
from coalsim.units import CpuId, Pfn, Vpn

PAGE = Vpn(7)
NOW = Moment(100, CpuId(0), "test")


def gained_rights(context: Context) -> tuple[Translation, Translation]:
    """A page that one processor read, and another one wrote later through a newer translation."""
    older = Translation(context.number, PAGE, Pfn(3), writable=False)
    newer = Translation(context.number, PAGE, Pfn(3), writable=True)
    newer.older = older
    context.translations[PAGE] = newer
    return older, newer


def test_unmapping_ends_all_translations_of_a_page() -> None:
    """Also those from before it gained rights."""
    context = Context(1, Oracle(2))
    older, newer = gained_rights(context)
    assert context.end_translation(PAGE, NOW, "flush") == [newer, older]
    assert not context.translations


def test_who_never_could_write_may_go_on_reading() -> None:
    """Losing the right to write leaves the older translation alive, so that a later unmapping ends it."""
    context = Context(1, Oracle(2))
    older, newer = gained_rights(context)
    assert context.end_translation(PAGE, NOW, "flush", lost_frame=False) == [newer]
    assert context.translations == {PAGE: older}
    assert older.died is None
    later = Moment(200, CpuId(1), "test")
    assert context.end_translation(PAGE, later, "flush") == [older]


# -- forgetting ---------------------------------------------------------------------------------------


def living(vpn: int, *, cached: int = 0) -> Translation:
    """A translation of a page, in so many levels of TLBs."""
    made = Translation(1, Vpn(vpn), Pfn(vpn), writable=True)
    made.cached = cached
    return made


def test_what_a_tlb_holds_or_a_judge_has_yet_to_see_is_kept() -> None:
    """Also where only what a page was before it gained rights is held."""
    oracle = Oracle(2)
    context = Context(1, oracle)
    pages = {n: living(n, cached=n == 1) for n in range(6)}
    pages[2].older = living(2, cached=2)
    oracle.unchecked[0].append((5, pages[3], False, "user"))
    oracle.unchecked[1].append((5, Run([4, 4], 1, {4: pages[4]}), False, "user"))
    context.translations.update(pages)
    same = context.translations
    context.forget_unused()
    assert same is context.translations == {n: pages[n] for n in (1, 2, 3, 4)}


def test_a_space_forgets_when_it_knows_many_and_again_when_they_have_doubled() -> None:
    """The threshold follows what had to be kept; a policy with books of its own is left alone."""
    context = Context(1, None)
    context.translations.update((n, living(n, cached=1)) for n in range(FORGET_AT))
    assert context.forget_at == FORGET_AT
    context.forget_unused()
    assert context.forget_at == 2 * FORGET_AT
    for n in range(1, FORGET_AT):
        context.translations[n].cached = 0
    context.forget_unused()
    assert (len(context.translations), context.forget_at) == (1, FORGET_AT)
    assert Context(1, None, forgets=False).forget_at > 1 << 60
