"""Reading files that strangers made: plain or gzip, bounded, cleaned.

Every importer reads through this file, so that a gzip that unpacks without end,
a line without end, a binary file or a truncated archive is refused in one way.
Memory is bounded by one block and one line, whatever the file holds.

Invariant: no more than `max_input` unpacked bytes and no line longer than
`max_line` bytes ever reach a caller; everything else ends in an InputError that
names the file, the line and the remedy.
Whether a file is gzip is decided by its first two bytes, not by its name.
Nothing here costs simulated time.
"""

import gzip
import re
import zlib
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import IO, cast

from coalsim.errors import InputError, Problem
from coalsim.units import GIB, KIB, MIB, format_size

DEFAULT_MAX_INPUT = 2 * GIB
MAX_LINE = 64 * KIB
RECOGNITION_WINDOW = MIB  # unpacked bytes in which the first known line has to turn up

_BLOCK = 256 * KIB
_GZIP_MAGIC = b"\x1f\x8b"
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor movement
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # OSC, DCS: titles, links
    r"|\x1b[ -/]*[0-~]?"  # two-character escapes
)


def clean(text: str) -> str:
    """Text that is safe to print: no terminal escapes, control or invisible characters.

    >>> clean("a\\x1b[31mred\\x1b[0m\\tb")
    'ared b'
    """
    if text.isprintable():
        return text
    bare = _ESCAPES.sub("", text)
    return "".join(c if c.isprintable() else " " if c.isspace() else "" for c in bare)


class GuardedLines:
    """The lines of one text file, one pass: ``for number, line in GuardedLines(path)``.

    Numbers count from 1; lines come without their end and are *not* cleaned (print
    parts of them through `clean`).  Bytes that are not UTF-8 become U+FFFD.

    Args:
        path: plain text or gzip.
        expect: what the file should be, for instance ``"perf script text"``.  When
            given, the reader sets `recognised` at the first line that it knows; a
            file that shows none in its first MiB, or at all, is refused.
        max_input: unpacked bytes that may be read.
        max_line: bytes that one line may have.

    Attributes:
        recognised: set by the reader, see `expect`.
        bytes_read: unpacked bytes so far, by whole blocks.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        expect: str = "",
        max_input: int = DEFAULT_MAX_INPUT,
        max_line: int = MAX_LINE,
    ) -> None:
        self.path = Path(path)
        self.recognised = not expect
        self.bytes_read = 0
        self._expect = expect
        self._max_input = max_input
        self._max_line = max_line

    def __iter__(self) -> Iterator[tuple[int, str]]:
        number = 1  # of the first line that was not handed out yet
        rest = b""  # its beginning
        for block in self._blocks():
            if b"\0" in block:
                raise self._refuse(number, "binary data, not text", self._give_text())
            head, newline, tail = (rest + block).rpartition(b"\n")
            rest = tail
            if newline:
                lines = self._split(head, number)
                yield from enumerate(lines, number)
                number += len(lines)
            if len(rest) > self._max_line:
                raise self._too_long(number)
        if rest:
            yield from enumerate(self._split(rest, number), number)
        if not self.recognised:
            seen = "the file is empty" if not self.bytes_read else f"no line of {self._expect} in it"
            raise self._refuse(0, seen, self._give_text())

    def _split(self, text: bytes, number: int) -> list[str]:
        """Whole lines, each at most `max_line` bytes long."""
        if len(text) > self._max_line:
            for offset, line in enumerate(text.split(b"\n")):
                if len(line) > self._max_line:
                    raise self._too_long(number + offset)
        if b"\r" in text:
            text = (text + b"\n").replace(b"\r\n", b"\n")[:-1]
        return text.decode("utf-8", errors="replace").split("\n")

    def _blocks(self) -> Iterator[bytes]:
        for block in guarded_blocks(self.path, max_input=self._max_input):
            self.bytes_read += len(block)
            yield block
            if not self.recognised and self.bytes_read >= RECOGNITION_WINDOW:
                raise self._refuse(
                    0,
                    f"no line of {self._expect} in the first {format_size(RECOGNITION_WINDOW)}",
                    self._give_text(),
                )

    def _give_text(self) -> str:
        return f"give {self._expect or 'a text file'}, plain or gzip"

    def _too_long(self, number: int) -> InputError:
        limit = format_size(self._max_line)
        return self._refuse(
            number, f"a line longer than {limit}", "no known format has such lines: check the file"
        )

    def _refuse(self, line: int, message: str, remedy: str) -> InputError:
        return refusal(self.path, message, remedy, line=line)


def read_guarded(path: str | PathLike[str], *, max_input: int = DEFAULT_MAX_INPUT) -> bytes:
    """The whole unpacked content of a plain or gzip file.

    Raises:
        InputError: missing, unreadable, truncated, or larger than `max_input`.
    """
    return b"".join(guarded_blocks(Path(path), max_input=max_input))


def guarded_blocks(path: Path, *, max_input: int = DEFAULT_MAX_INPUT) -> Iterator[bytes]:
    """The unpacked content in blocks of at most 256 KiB; stops with InputError past `max_input`."""
    unpacked = 0
    if "\0" in str(path):
        raise refusal(path, "no such file", "a path cannot hold a zero byte")
    try:
        with path.open("rb") as packed:
            # IO[bytes] is what both kinds of file are; gzip needs the peeked, unread file.
            is_gzip = packed.peek(2)[:2] == _GZIP_MAGIC
            file = cast(IO[bytes], gzip.GzipFile(fileobj=packed)) if is_gzip else packed
            while block := file.read(_BLOCK):
                unpacked += len(block)
                if unpacked > max_input:
                    raise refusal(
                        path,
                        f"more than {format_size(max_input)} unpacked",
                        "raise --max-input if the file is to be trusted, or cut it",
                    )
                yield block
    except EOFError:
        raise refusal(path, "the gzip ends too early", "copy the file again: it is truncated") from None
    except (gzip.BadGzipFile, zlib.error) as damage:
        raise refusal(path, f"the gzip is damaged ({damage})", "copy the file again") from None
    except OSError as failure:
        raise unreadable(path, failure) from None


def unreadable(path: Path, failure: OSError) -> InputError:
    """Why the system would not open or read a file, as one of our errors."""
    if isinstance(failure, FileNotFoundError):
        return refusal(path, "no such file", "check the path")
    if isinstance(failure, IsADirectoryError):
        return refusal(path, "it is a directory", "name a file in it")
    return refusal(
        path, f"cannot be read ({failure.strerror or failure})", "check its permissions and its kind"
    )


def refusal(
    path: str | PathLike[str], message: str, remedy: str, *, line: int = 0, value: str = ""
) -> InputError:
    """An InputError of one problem; the path and the value are cleaned for printing."""
    where = clean(str(path))
    return InputError([Problem(where=where, line=line, value=clean(value), message=message, remedy=remedy)])
