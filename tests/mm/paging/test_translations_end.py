"""What dies when a page is unmapped, or loses the right to write."""

from coalsim.cpus.oracle import Oracle
from coalsim.cpus.translation import Moment, Translation
from coalsim.mm.paging.context import Context
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
