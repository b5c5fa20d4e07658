"""One level of a TLB: sets in order of use, and the same entries by tag and page.

A set is a dict in order of use, oldest first: taking an entry out and putting it back
makes it the youngest, so a hit costs two dictionary steps.  The index by tag makes a
flush of one ASID proportional to what it drops, never to the size of the TLB.

Invariants: a page is at most once in a level under one tag; no set holds more than
its ways; index and sets hold the same entries; each entry here counts one in its
translation's `cached`, from the moment it comes until it goes.
Pure mechanism, without time.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from coalsim.cpus.translation import Translation
from coalsim.errors import ConfigError, Problem

TAG_BITS = 17
TAG_MASK = (1 << TAG_BITS) - 1
EVERYONE = 1 << 16
"""The tag of global translations; ASIDs are below it (ARM has 16 bits, PCIDs 12)."""


class Shape(NamedTuple):
    """Size of one level; `ways` 0 means fully associative."""

    entries: int
    ways: int = 0

    @property
    def sets(self) -> int:
        """How many sets the entries make.

        Raises:
            ConfigError: the entries do not fill whole sets.
        """
        ways = self.ways or self.entries
        if self.entries < 1 or ways < 1 or self.entries % ways:
            value, remedy = f"{self.entries} entries, {self.ways} ways", "let the ways divide the entries"
            problem = Problem(key="tlb", value=value, message="not whole sets", remedy=remedy)
            raise ConfigError([problem])
        return self.entries // ways


class Entry:
    """A cached translation; both levels share it.

    Args:
        translation: what is cached.
        dirty: this TLB knows that D is set in the page-table entry, so a store need not set it.
    """

    __slots__ = ("dirty", "translation")

    def __init__(self, translation: Translation, dirty: bool = False) -> None:
        self.translation = translation
        self.dirty = dirty


Pages = Mapping[int, Entry]
NO_PAGES: Pages = {}


class TlbLevel:
    """Entries by page and tag; `sets` may be read (and entries put back in another order) by hot code."""

    __slots__ = ("by_tag", "count", "sets", "ways")

    def __init__(self, shape: Shape) -> None:
        self.count = shape.sets
        self.ways = shape.ways or shape.entries
        self.sets: list[dict[int, Entry]] = [{} for _ in range(self.count)]  # vpn and tag: oldest first
        self.by_tag: dict[int, dict[int, Entry]] = {}  # tag: vpn: entry

    def put(self, vpn: int, tag: int, entry: Entry) -> None:
        """Store as the youngest of its set; the oldest makes room.  `Tlb.insert` has it in line."""
        by_tag, key = self.by_tag, vpn << TAG_BITS | tag
        ways = self.sets[vpn % self.count]
        if key in ways:
            ways.pop(key).translation.cached -= 1
        elif len(ways) == self.ways:
            victim = next(iter(ways))  # the oldest
            ways.pop(victim).translation.cached -= 1
            del by_tag[victim & TAG_MASK][victim >> TAG_BITS]
        ways[key] = entry
        try:
            by_tag[tag][vpn] = entry
        except KeyError:
            by_tag[tag] = {vpn: entry}
        entry.translation.cached += 1

    def use(self, vpn: int, tag: int) -> Entry | None:
        """The entry, now the youngest of its set."""
        ways = self.sets[vpn % self.count]
        key = vpn << TAG_BITS | tag
        entry = ways.pop(key, None)
        if entry is not None:
            ways[key] = entry
        return entry

    def drop(self, vpn: int, tag: int) -> bool:
        """Remove one entry; whether it was there."""
        entry = self.sets[vpn % self.count].pop(vpn << TAG_BITS | tag, None)
        if entry is None:
            return False
        entry.translation.cached -= 1
        del self.by_tag[tag][vpn]
        return True

    def drop_tag(self, tag: int) -> Pages:
        """Remove all entries of one tag, and return them."""
        pages = self.by_tag.pop(tag, NO_PAGES)
        sets, count = self.sets, self.count
        for vpn, entry in pages.items():
            del sets[vpn % count][vpn << TAG_BITS | tag]
            entry.translation.cached -= 1
        return pages

    def rejuvenate(self, vpns: Iterator[int], tag: int) -> None:
        """Make pages that are here the youngest of their sets, the last one the very youngest."""
        sets, count = self.sets, self.count
        for vpn in vpns:
            ways = sets[vpn % count]
            key = vpn << TAG_BITS | tag
            ways[key] = ways.pop(key)

    def validate(self) -> None:
        """Index and sets agree, every page is in its set, and no set is too full."""
        indexed = {
            vpn << TAG_BITS | tag: entry for tag, pages in self.by_tag.items() for vpn, entry in pages.items()
        }
        assert indexed == {key: entry for ways in self.sets for key, entry in ways.items()}
        for number, ways in enumerate(self.sets):
            assert len(ways) <= self.ways
            assert all((key >> TAG_BITS) % self.count == number for key in ways)
