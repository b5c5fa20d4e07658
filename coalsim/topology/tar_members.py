"""The small text files in a tar, read in one pass and never extracted.

Refused, whatever the rest holds: absolute member names, names with ``..``, links
that lead out of the archive, members larger than `MAX_MEMBER`, more members than
`MAX_MEMBERS`.  Nothing is written anywhere.
A tar of /sys pads files that turn out shorter than announced with zero bytes; these
are dropped.
"""

import posixpath
import tarfile
from collections.abc import Callable, Iterator, Mapping
from io import RawIOBase
from pathlib import Path

from coalsim.errors import InputError
from coalsim.guarded import DEFAULT_MAX_INPUT, clean, guarded_blocks, refusal
from coalsim.units import KIB, format_size

MAX_MEMBER = 256 * KIB  # the files of /sys that matter are a page at most
MAX_MEMBERS = 300_000  # about 150 a CPU where everything of /sys/devices/system/cpu was packed
_REMEDY = "pack it with tar -C /sys -cf FILE devices/system/node devices/system/cpu"


class _Blocks(RawIOBase):
    """The unpacked archive as the file object that tarfile wants; bounded by its source.

    A whole archive ends in zeros and is never read beyond them.  Reading on is refused
    here, because tarfile would go on for as long as a false size tells it to.
    """

    def __init__(self, path: Path, blocks: Iterator[bytes]) -> None:
        self._path = path
        self._blocks = blocks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while len(self._rest) < size and (block := next(self._blocks, b"")):
            self._rest += block
        if not self._rest:
            raise refusal(self._path, "not a whole tar: it ends too early", _REMEDY)
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken


def _bounded_member(path: Path) -> type[tarfile.TarInfo]:
    """A TarInfo that refuses large members at their header, before tarfile reads any of them."""

    class Bounded(tarfile.TarInfo):
        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "Bounded":
            if len(buf) != tarfile.BLOCKSIZE:  # a whole archive ends in blocks of zeros
                raise refusal(path, "not a whole tar: it ends too early", _REMEDY)
            member = super().frombuf(buf, encoding, errors)
            _check_size(path, member)
            return member

    return Bounded


def _check_size(path: Path, member: tarfile.TarInfo) -> None:
    if not 0 <= member.size <= MAX_MEMBER:
        message = f"a member larger than {format_size(MAX_MEMBER)}"
        raise refusal(path, message, _REMEDY, value=member.name[:80])


def text_members(
    path: Path, wanted: Callable[[str], bool], max_input: int = DEFAULT_MAX_INPUT
) -> Mapping[str, str]:
    """Normalised name to text of the members that are wanted.

    Raises:
        InputError: not a tar (plain or gzip), damaged, or one that tries to climb out.
    """
    blocks = _Blocks(path, guarded_blocks(path, max_input=max_input))
    try:
        with tarfile.open(fileobj=blocks, mode="r|", tarinfo=_bounded_member(path)) as archive:
            return dict(_members(path, archive, wanted))
    except InputError:
        raise
    except (tarfile.TarError, OSError, ValueError, ArithmeticError, EOFError) as damage:
        raise refusal(path, f"not a whole tar: {clean(str(damage))[:80]}", _REMEDY) from None


def _members(
    path: Path, archive: tarfile.TarFile, wanted: Callable[[str], bool]
) -> Iterator[tuple[str, str]]:
    for count, member in enumerate(archive, 1):
        if count > MAX_MEMBERS:
            raise refusal(path, f"more than {MAX_MEMBERS} members", _REMEDY)
        _check_size(path, member)  # again: an extended header may have changed it
        name = _inside(path, member.name)
        if member.issym():
            _inside(path, posixpath.join(posixpath.dirname(name), member.linkname), of_link=True)
        elif member.islnk():
            _inside(path, member.linkname, of_link=True)
        elif member.isreg() and wanted(name) and (file := archive.extractfile(member)):
            yield name, file.read().rstrip(b"\0").decode("utf-8", errors="replace")


def _inside(path: Path, name: str, *, of_link: bool = False) -> str:
    """A member's normal name, if it stays inside the archive."""
    normal = posixpath.normpath(name)
    climbs = normal.startswith(("/", "../")) or normal == ".."
    if climbs or (not of_link and ".." in name.split("/")):
        what = "a link leads out of the archive" if of_link else "a member's name leads out of the archive"
        raise refusal(path, what, _REMEDY, value=name[:80])
    return normal
