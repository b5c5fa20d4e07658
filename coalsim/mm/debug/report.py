"""Findings of the debug modes, and how a kernel tells them: in the layout of SLUB's reports.

    BUG kmalloc-64 (Not tainted): Right Redzone overwritten
    0x...-0x... @offset=72. First byte 0x41 instead of 0xcc
    Allocated in site age=1.250us cpu=0
    Slab 0x... objects=21
    Object 0x... @offset=64 fp=...
    Redzone  ...: cc cc ...  ........
    FIX kmalloc-64: Restoring Right Redzone 0x...-0x...=0xcc

What is left out: the register dump and the call trace of the processor that looked, and how many objects of
the slab are used, which only the slab's lock would tell.  Ages are simulated
time instead of jiffies, and equal lines of a dump are folded, as hexdump does.
Source: Linux mm/slub.c (`slab_bug`, `check_bytes_and_report`, `print_trailer`, `print_section`,
`cache_from_obj`), lib/hexdump.c (`print_hex_dump`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from coalsim.units import CpuId, Time, format_time

Kind = Literal[
    "overflow", "underflow", "use after free", "double free", "wrong cache", "interior free", "foreign free"
]
LINE = 16
RULE = "=" * 77
THIN_RULE = "-" * 77


@dataclass(frozen=True, slots=True)
class Track:
    """Who did something to an object, and when."""

    site: str
    cpu: CpuId
    at: Time


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One mistake that was found.

    `kind` is what it looks like, `title` SLUB's words.  `at`, `cpu` and `site` say who found it: for a
    wrong free that is the culprit, for damage whoever looked.  `first` and `last` are the addresses of the
    wrong bytes (both the freed address for a wrong free); `allocated` and `freed` are what the kernel knows
    of the object, None: nothing.
    """

    kind: Kind
    title: str
    cache: str
    object: int
    size: int
    asked: int
    at: Time
    cpu: CpuId
    site: str
    first: int
    last: int
    allocated: Track | None
    freed: Track | None
    text: str

    def describe(self) -> str:
        """One line."""
        sites = [
            f"{verb} at {track.site} on CPU {track.cpu}"
            for verb, track in (("allocated", self.allocated), ("freed", self.freed))
            if track is not None
        ]
        where = f"{self.size} bytes of {self.cache} at {self.object:#x}" if self.size else f"{self.object:#x}"
        return f"{self.kind}: {where}, " + "".join(f"{text}, " for text in sites) + f"found at {self.site}"


def head(cache: str, title: str) -> list[str]:
    """How every report begins."""
    return [RULE, f"BUG {cache} (Not tainted): {title}", THIN_RULE, ""]


def tracking(now: Time, allocated: Track | None, freed: Track | None) -> Iterator[str]:
    """Both call sites, with their ages."""
    for verb, track in (("Allocated", allocated), ("Freed", freed)):
        if track is not None:
            age = format_time(now - track.at).replace(" ", "")
            yield f"{verb} in {track.site} age={age} cpu={track.cpu}"


def dump(name: str, address: int, data: bytes) -> Iterator[str]:
    """Bytes as a kernel dumps them, 16 a line, with their characters; a `*` for lines like the one before."""
    before, is_folded = b"", False
    for start in range(0, len(data), LINE):
        line = data[start : start + LINE]
        if line == before and start + LINE < len(data):
            if not is_folded:
                yield "*"
            is_folded = True
            continue
        before, is_folded = line, False
        shown = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in line)
        yield f"{name:<9}{address + start:016x}: {line.hex(' '):<48} {shown}"
