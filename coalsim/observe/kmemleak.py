"""Reports in the layout of /sys/kernel/debug/kmemleak, so that what reads those reads these.

    unreferenced object 0xffff888000c01a40 (size 192):
      comm "driver/0", pid 0, jiffies 4294892297
      hex dump (first 32 bytes):
        00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................
        50 2c c0 00 80 88 ff ff 00 00 00 00 00 00 00 00  P,..............
      backtrace (crc 6b1ee5f0):
        leaking_driver:0

As Linux 6.18 has it: the crc says whether the contents have changed; the age of older kernels, for which
no two reads of one report were equal, is left out.
Source: Linux mm/kmemleak.c (print_unreferenced, hex_dump_object).
"""

from collections.abc import Iterable, Iterator

from coalsim.guarded import clean
from coalsim.observe.leak_document import UnreferencedEntry

ROW = 16


def kmemleak_text(entries: Iterable[UnreferencedEntry]) -> str:
    """All reports, in the order in which they were found; empty if there are none."""
    return "".join(f"{line}\n" for entry in entries for line in _lines(entry))


def _lines(entry: UnreferencedEntry) -> Iterator[str]:
    content = bytes.fromhex(entry["hex"])
    yield f"unreferenced object {entry['address']:#018x} (size {entry['size']}):"
    yield f'  comm "{clean(entry["comm"])}", pid {entry["pid"]}, jiffies {entry["jiffies"]}'
    yield f"  hex dump (first {len(content)} bytes):"
    for at in range(0, len(content), ROW):
        yield f"    {_hex_row(content[at : at + ROW])}"
    yield f"  backtrace (crc {entry['crc']:x}):"
    yield f"    {clean(entry['site'])}"


def _hex_row(row: bytes) -> str:
    """Bytes, and the same as ASCII, as print_hex_dump writes them."""
    text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
    return f"{row.hex(' '):<{3 * ROW - 1}}  {text}"
