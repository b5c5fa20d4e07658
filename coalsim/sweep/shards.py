"""Shards: a study in parts that know nothing of each other, for batch systems and loops over ssh.

    shard-003-of-010.jsonl        a shard that is finished; a first line that says whose it is, then rows
    shard-003-of-010.jsonl.part   one that is not: rows as they came, perhaps with half a line at the end

Shard i of N has every N-th point, from the i-th on, with all of its runs, so that a stopping rule
finds all that it needs.  The same command again goes on where a killed one was.

Invariant: a finished file is whole, for it takes its name by one rename; its rows stand in the
order of the points, so it depends on the study alone but for host times and attempts.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from coalsim.errors import InputError
from coalsim.guarded import clean, read_guarded, refusal
from coalsim.sweep.filesystem import FolderLock, unwritable, write_atomically
from coalsim.sweep.manifest import Manifest
from coalsim.sweep.points import Point
from coalsim.sweep.rows import SETTLED, STATUSES, Row
from coalsim.sweep.worker import row_from, row_line
from coalsim.units import GIB

MOST_SHARDS = 100_000
MAX_SHARD = 16 * GIB
_NAME = re.compile(r"shard-(\d+)-of-(\d+)\.jsonl")


@dataclass(frozen=True, order=True)
class Shard:
    """Part `index` of `count`, counted from 1."""

    index: int
    count: int

    @property
    def file(self) -> str:
        """The name of its file."""
        width = max(3, len(str(self.count)))
        return f"shard-{self.index:0{width}}-of-{self.count:0{width}}.jsonl"

    def points(self, points: Sequence[Point]) -> Sequence[Point]:
        """Its points: those that differ, dealt out in turn."""
        distinct = [*{point.key: point for point in reversed(points)}.values()]
        distinct.sort(key=lambda point: point.number)
        return distinct[self.index - 1 :: self.count]


def parse_shard(text: str) -> Shard:
    """The shard that ``3/10`` names.

    Raises:
        ValueError: none.
    """
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and len(text) < 20):
        raise ValueError(f"{text!r} is not i/N; write it like 1/4")
    if not 1 <= int(index) <= int(count) <= MOST_SHARDS:
        raise ValueError(f"{text!r}: i goes from 1 to N, and N to {MOST_SHARDS}")
    return Shard(int(index), int(count))


class ShardFile:
    """The rows of one shard; a context manager.

    Args:
        folder: what its file is in.
        shard: which.
        manifest: of its study.

    Raises:
        InputError: somebody else does this shard, or what is there is of another study or damaged.
    """

    def __init__(self, folder: Path, shard: Shard, manifest: Manifest) -> None:
        self._shard = shard
        self._head = _head(shard, manifest)
        self._order = {point.key: point.number for point in manifest.points}
        self._file = folder / shard.file
        self._part = folder / f"{shard.file}.part"
        self._lock = FolderLock(folder / f"{shard.file}.lock", f"shard {shard.index} of {shard.count}")
        self.notes: list[str] = []
        self._rows: dict[str, Row] = {}
        self._handle = -1

    def __enter__(self) -> Self:
        self._lock.__enter__()
        self.notes += [self._lock.note] if self._lock.note else []
        try:
            for file in (self._file, self._part):
                if file.exists():
                    for row in _rows_of(file, self._head, may_be_cut=file == self._part):
                        self._rows[row.key] = row
        except BaseException:
            self._lock.__exit__(None, None, None)
            raise
        return self

    def rows(self) -> Iterable[Row]:
        """The rows that are there."""
        return [*self._rows.values()]

    def put(self, row: Row) -> None:
        """Keep a row; it is in the file when this returns."""
        if self._handle < 0:
            self._begin()
        self._rows[row.key] = row
        line = memoryview(row_line(row))
        try:
            while line:
                line = line[os.write(self._handle, line) :]
        except OSError as error:
            raise unwritable(self._part, error) from None

    def _begin(self) -> None:
        """Write what is there into a fresh file, without half lines, and go on in it."""
        write_atomically(self._part, self._text())
        self._handle = os.open(self._part, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def _text(self) -> str:
        rows = sorted(self._rows.values(), key=lambda row: (self._order[row.point], row.replication))
        return f"{self._head}\n" + "".join(row_line(row).decode() for row in rows)

    def finish(self) -> Path:
        """All rows are there: give the file its name."""
        if self._handle >= 0 or not self._file.exists() or self._part.exists():
            write_atomically(self._file, self._text())
            self._part.unlink(missing_ok=True)
        return self._file

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
        self._lock.__exit__(kind, error, trace)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What shards there are in some folders.

    Args:
        files: of each finished shard.
        rows: of all of them, settled ones last, so that they win.
        missing: shards that no file was found for.
    """

    files: tuple[Path, ...]
    rows: tuple[Row, ...]
    missing: tuple[Shard, ...]


def find_shards(folders: Sequence[Path], manifest: Manifest) -> Found:
    """The finished shards of a study.

    Raises:
        InputError: one is of another study or damaged, or they were not dealt out in one way.
    """
    files: dict[Path, Shard] = {}
    for folder in folders:
        for file in sorted(folder.iterdir()):
            if named := _NAME.fullmatch(file.name):
                files[file] = Shard(int(named[1]), int(named[2]))
    counts = sorted({shard.count for shard in files.values()})
    if len(counts) > 1:
        told = " and ".join(map(str, counts))
        message = f"shards of {told} parts lie together"
        raise refusal(folders[0], message, "keep those of one division, and move the others away")
    rows: list[Row] = []
    for file, shard in files.items():
        rows += _rows_of(file, _head(shard, manifest), may_be_cut=False)
    held = {*files.values()}
    count = counts[0] if counts else 0
    missing = [Shard(index, count) for index in range(1, count + 1) if Shard(index, count) not in held]
    rows.sort(key=lambda row: row.status in SETTLED)
    return Found(files=tuple(files), rows=tuple(rows), missing=tuple(missing))


def _head(shard: Shard, manifest: Manifest) -> str:
    head = {"coalsim_shard": 1, "study": manifest.name, "manifest": manifest.digest}
    return json.dumps({**head, "shard": shard.index, "of": shard.count}, sort_keys=True)


def _rows_of(file: Path, head: str, *, may_be_cut: bool) -> Iterator[Row]:
    """The rows of a file whose first line is `head`.

    Raises:
        InputError: it is damaged, or of another study.
    """
    lines = read_guarded(file, max_input=MAX_SHARD).split(b"\n")
    cut = lines.pop()
    if cut and not may_be_cut:
        raise refusal(file, "the last line is cut off", "copy the file again, or run its shard again")
    if not lines:
        return
    if lines[0].decode("utf-8", "replace") != head:
        raise _other_study(file, lines[0], head)
    for number, line in enumerate(lines[1:], 2):
        try:
            row = row_from(line)
            is_sound = row.status in STATUSES
        except (ValueError, TypeError, RecursionError):
            is_sound = False
        if not is_sound:
            raise refusal(
                file, "not a row of coalsim", "remove the file and run its shard again", line=number
            )
        yield row


def _other_study(file: Path, line: bytes, head: str) -> InputError:
    try:
        told = json.loads(line)
        name, shard = told["study"], f"shard {told['shard']} of {told['of']}"
        wanted = json.loads(head)["study"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return refusal(file, "not the shard of a study", "remove it, or name another folder", line=1)
    if name != wanted:
        message = f"{shard} of the study {clean(str(name))}, not of {wanted}"
    else:
        message = f"{shard} of {wanted}, but its file, its options or coalsim were others"
    return refusal(file, message, "remove it, or name another folder", line=1)
