"""An area: a run of virtual pages with the same rights, and what those rights are.

    made --AreaTree.insert--> attached --remove, or absorbed by a neighbour--> detached

An area that is cut keeps its identity for the part that the call was about; what is
left of it on either side becomes a new area without a lock.  Who found an area without
holding the space's lock looks at `attached` after taking the area's own.

An area of a file has the file's page `vpn - origin` at `vpn`, which stays so when it is cut or joined.

Invariant: first < last, and `rights` are those of every page.
Locking: fields change with the space's lock held for writing.
Source: Linux include/linux/mm_types.h (`vm_area_struct`), mm/vma.c (`__split_vma`).
"""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from coalsim.mm.cache.file import File
from coalsim.units import PAGE_SHIFT, Vpn

AreaKind = Literal["anonymous", "stack", "heap", "guard"]


class Rights(NamedTuple):
    """What a program may do with its pages."""

    read: bool = False
    write: bool = False
    execute: bool = False

    def allow(self, wanted: "Rights") -> bool:
        """Whether everything wanted is among them."""
        return (
            (self.read or not wanted.read)
            and (self.write or not wanted.write)
            and (self.execute or not wanted.execute)
        )

    def __str__(self) -> str:
        return "".join(letter if has else "-" for letter, has in zip("rwx", self, strict=True))


NONE = Rights()
READ = Rights(read=True)
WRITE = Rights(write=True)
EXECUTE = Rights(execute=True)
READ_WRITE = Rights(read=True, write=True)
READ_EXECUTE = Rights(read=True, execute=True)


@dataclass(slots=True, kw_only=True, eq=False)
class Area:
    """One area; `last` is the page behind it.

    Args:
        shared: its pages stay the same memory in a forked child.
        name: for people; areas of different names do not merge.
        grows_down: a fault just below it makes it larger.
        lock: its own lock, if areas have one; set by who uses it.
        anon: it has had its first anonymous fault.
        attached: it is part of a tree.
        file: what it shows; None: memory of its own.
        origin: the page at which the file's first page is, or would be.
    """

    first: Vpn
    last: Vpn
    rights: Rights = READ_WRITE
    kind: AreaKind = "anonymous"
    shared: bool = False
    name: str = ""
    grows_down: bool = False
    lock: object | None = None
    anon: bool = False
    attached: bool = False
    file: File | None = None
    origin: int = 0

    @property
    def pages(self) -> int:
        """How many."""
        return self.last - self.first

    @property
    def offset(self) -> int:
        """The file's page that is its first."""
        return self.first - self.origin

    def joins(self, other: "Area", rights: Rights) -> bool:
        """Whether a neighbour, once it has these rights, can become a part of this area.

        A shared mapping without a file is one of its own, so it never can; one of a file goes on where
        the other ends.
        """
        return (
            self.rights == rights
            and self.kind == other.kind
            and (self.shared == other.shared and (self.file is not None or not self.shared))
            and self.file is other.file
            and self.origin == other.origin
            and self.name == other.name
            and self.grows_down == other.grows_down
        )

    def part(self, first: Vpn, last: Vpn) -> "Area":
        """A new area like this one for some pages, in no tree and with no lock."""
        return replace(self, first=first, last=last, lock=None, attached=False)

    def absorb(self, other: "Area") -> None:
        """Take the pages of a neighbour, which is no area any more."""
        self.first, self.last = min(self.first, other.first), max(self.last, other.last)
        self.anon |= other.anon
        other.attached = False

    def __str__(self) -> str:
        """As a line of /proc/PID/maps."""
        sharing = "s" if self.shared else "p"
        start, end = self.first << PAGE_SHIFT, self.last << PAGE_SHIFT
        label = {"stack": "[stack]", "heap": "[heap]"}.get(self.kind, "")
        if self.name:
            label = f"[anon:{self.name}]"
        offset = 0
        if self.file is not None:
            label, offset = self.file.name, self.offset << PAGE_SHIFT
        line = f"{start:08x}-{end:08x} {self.rights}{sharing} {offset:08x} 00:00 0 "
        return f"{line:<73}{label}" if label else line
