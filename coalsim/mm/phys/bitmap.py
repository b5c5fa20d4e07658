"""Frame bitmap: one bit per physical frame, 1 meaning taken.

The plainest frame allocator, a next-fit scan: O(frames) when memory is nearly full.
`buddy.py` keeps blocks instead.

Words of which no bit was ever set are not stored, so 4 TB cost nothing until used.
The scan of the modelled kernel reads word after word; ours skips groups of 64 full
words by one lookup, and reports the words that the kernel would have read.

Invariants: `free_frames` is the number of zero bits; a word of `_words` is never 0;
bit g of group w in `_full` is set exactly if word 64 w + g is full.
Locking: callers hold the node's frame lock.  Nothing here waits or charges time.
Source: next fit as in Knuth, TAOCP volume 1, section 2.5.
"""

from bisect import bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from coalsim.errors import BadFree, ConfigError, DoubleFree, ForeignFree, InteriorFree

WORD = 64  # bits read in one step, as on the modelled machine
FULL = (1 << WORD) - 1
NOBODY = -1
"""Tag of a frame that was never freed."""


class Found(NamedTuple):
    """Frames found, and what finding them took."""

    pfn: int
    words_read: int
    freed_by: int


@dataclass(frozen=True, kw_only=True)
class BitmapStatistics:
    """A snapshot of one bitmap; the longest run is found by a scan of what was touched."""

    frames: int
    free_frames: int
    runs: int
    longest_free_run: int


class FrameBitmap:
    """Which of the frames `first` to `first + frames - 1` are taken.

    Args:
        first: frame number of bit 0.
        frames: size in frames, a positive multiple of 64 (else ConfigError).
    """

    __slots__ = (
        "_freed_by",
        "_full",
        "_hint",
        "_run_starts",
        "_runs",
        "_words",
        "first",
        "frames",
        "free_frames",
    )

    def __init__(self, first: int, frames: int) -> None:
        if first < 0 or frames <= 0 or frames % WORD:
            raise ConfigError(f"{frames} frames from {first} do not fill whole {WORD}-bit words")
        self.first = first
        self.frames = frames
        self.free_frames = frames
        self._words: dict[int, int] = {}  # word w, bit b: frame first + 64 w + b; none: all free
        self._full: dict[int, int] = {}  # group of 64 words: which of them are full
        self._hint = 0  # word where the next scan starts
        self._freed_by: dict[int, int] = {}  # frame (from 0): tag of who freed it last
        self._runs: dict[int, int] = {}  # head of a run (from 0): its frames
        self._run_starts: list[int] = []  # the same heads, sorted

    @property
    def words(self) -> int:
        """Words of the whole bitmap: what a scan reads that finds nothing."""
        return self.frames // WORD

    def alloc(self) -> Found | None:
        """Take the lowest free frame of the next word that has one."""
        if not self.free_frames:
            return None
        w, words_read = self._next_open_word(self._hint)
        word = self._words.get(w, 0)
        lowest_zero = ~word & (word + 1)
        self._write(w, word | lowest_zero)
        self._hint = w
        self.free_frames -= 1
        frame = w * WORD + lowest_zero.bit_length() - 1
        return Found(self.first + frame, words_read, self._freed_by.pop(frame, NOBODY))

    def alloc_run(self, count: int, align: int = 1) -> Found | None:
        """Take the next `count` free frames in a row, the first on a multiple of `align`.

        The scan goes from the hint to the end and, when that fails, from the start.
        """
        if count < 1 or align < 1:
            raise ValueError(f"a run of {count} frames aligned to {align} cannot be asked for")
        if count > self.free_frames:
            return None
        if count == 1 and align == 1:
            return self.alloc()
        begin = self._hint * WORD
        first_read = self._hint
        frame = self._find_run(begin, count, align)
        words_before = 0
        if frame is None and begin:
            words_before, first_read = self.words - self._hint, 0
            frame = self._find_run(0, count, align)
        if frame is None:
            return None
        last = frame + count - 1
        self._set_run(frame, count)
        self._hint = last // WORD
        self.free_frames -= count
        if count > 1:
            self._runs[frame] = count
            insort(self._run_starts, frame)
        freed_by = self._freed_by.pop(frame, NOBODY)
        for other in range(frame + 1, last + 1):
            self._freed_by.pop(other, None)
        return Found(self.first + frame, words_before + last // WORD - first_read + 1, freed_by)

    def free(self, pfn: int, by: int = NOBODY) -> None:
        """Give one frame back that `alloc` gave.

        Raises:
            DoubleFree, ForeignFree: it is free already, or not ours.
            InteriorFree: it belongs to a run.
        """
        frame = pfn - self.first
        if not 0 <= frame < self.frames:
            raise self._refusal(pfn)
        w, bit = divmod(frame, WORD)
        word = self._words.get(w, 0)
        if not word >> bit & 1 or (self._runs and self._run_around(frame) is not None):
            raise self._refusal(pfn)
        self._write(w, word & ~(1 << bit))
        self._freed_by[frame] = by
        self.free_frames += 1

    def free_run(self, pfn: int, count: int, by: int = NOBODY) -> None:
        """Give back a run that `alloc_run` gave, whole.

        Raises:
            DoubleFree, ForeignFree, InteriorFree: as `free`.
            BadFree: the run has another length.
        """
        if count == 1:
            self.free(pfn, by)
            return
        frame = pfn - self.first
        length = self._runs.get(frame)
        if length is None:
            raise self._refusal(pfn)
        if length != count:
            raise BadFree(pfn, f"the run has {length} frames, {count} were freed")
        del self._runs[frame]
        del self._run_starts[bisect_right(self._run_starts, frame) - 1]
        self._clear_run(frame, count)
        for freed in range(frame, frame + count):
            self._freed_by[freed] = by
        self.free_frames += count

    def is_free(self, pfn: int) -> bool:
        """Whether the frame is ours and free."""
        frame = pfn - self.first
        w, bit = divmod(frame, WORD)
        return 0 <= frame < self.frames and not self._words.get(w, 0) >> bit & 1

    def statistics(self) -> BitmapStatistics:
        """A snapshot."""
        longest = max((end - first for first, end in self.free_runs()), default=0)
        return BitmapStatistics(
            frames=self.frames,
            free_frames=self.free_frames,
            runs=len(self._runs),
            longest_free_run=longest,
        )

    def free_runs(self) -> Iterator[tuple[int, int]]:
        """Maximal runs of free frames, each as first frame and the frame behind its last."""
        reached = 0
        for w in sorted(self._words):  # words that are not stored are free
            word, start = self._words[w], w * WORD
            while word:
                low = (word & -word).bit_length() - 1
                if start + low > reached:
                    yield self.first + reached, self.first + start + low
                ones = (~(word >> low) & (word >> low) + 1).bit_length() - 1
                reached = start + low + ones
                word &= ~(((1 << ones) - 1) << low)
        if reached < self.frames:
            yield self.first + reached, self.first + self.frames

    def validate(self) -> None:
        """Recount the slow way; tests call this after every step."""
        taken = sum(word.bit_count() for word in self._words.values())
        assert self.free_frames == self.frames - taken, f"{taken} bits are set"
        assert all(0 < word <= FULL and 0 <= w < self.words for w, word in self._words.items())
        full = [w for w, word in sorted(self._words.items()) if word == FULL]
        marked = [
            g * WORD + bit for g in sorted(self._full) for bit in range(WORD) if self._full[g] >> bit & 1
        ]
        assert full == marked, "the summary of full words is wrong"
        assert self._run_starts == sorted(self._runs)
        reached = 0
        for start in self._run_starts:
            assert start >= reached, "two runs overlap"
            reached = start + self._runs[start]
            assert not any(self.is_free(self.first + frame) for frame in range(start, reached))

    # ---- inside

    def _write(self, w: int, word: int) -> None:
        """Store a word and keep the summary of full words."""
        group, bit = w >> 6, 1 << (w & 63)
        if word == FULL:
            self._full[group] = self._full.get(group, 0) | bit
        elif group in self._full:
            rest = self._full[group] & ~bit
            if rest:
                self._full[group] = rest
            else:
                del self._full[group]
        if word:
            self._words[w] = word
        else:
            self._words.pop(w, None)

    def _next_open_word(self, start: int) -> tuple[int, int]:
        """The first word from `start` on, around the end, with a free bit; and the words read."""
        words, w = self.words, start
        while True:
            group = w >> 6
            closed = self._full.get(group, 0) >> (w & 63)
            step = (~closed & (closed + 1)).bit_length() - 1  # full words in a row from w
            if (w & 63) + step < WORD and w + step < words:
                found = w + step
                return found, (found - start) % words + 1
            w = (group + 1) * WORD
            if w >= words:
                w = 0

    def _find_run(self, frame: int, count: int, align: int) -> int | None:
        """First frame of the next run of `count` zero bits from `frame` on, or None."""
        while True:
            frame = self._next_free(frame)
            frame += -(self.first + frame) % align
            end = frame + count
            if end > self.frames:
                return None
            taken = self._next_taken(frame, end)
            if taken >= end:
                return frame
            frame = taken + 1

    def _next_free(self, frame: int) -> int:
        """The first free frame from `frame` on, or the end."""
        while frame < self.frames:
            w, bit = divmod(frame, WORD)
            closed = self._full.get(w >> 6, 0) >> (w & 63)
            if closed & 1:  # over the full words of this group in one step
                w += (~closed & (closed + 1)).bit_length() - 1
                frame = w * WORD
                continue
            word = self._words.get(w, 0) | ((1 << bit) - 1)
            if word != FULL:
                return w * WORD + (~word & (word + 1)).bit_length() - 1
            frame = (w + 1) * WORD
        return self.frames

    def _next_taken(self, frame: int, end: int) -> int:
        """The first taken frame from `frame` on, or `end` if none comes before it."""
        while frame < end:
            w, bit = divmod(frame, WORD)
            word = self._words.get(w, 0) >> bit
            if word:
                return frame + (word & -word).bit_length() - 1
            frame = (w + 1) * WORD
        return end

    def _set_run(self, frame: int, count: int) -> None:
        for w, mask in _masks(frame, count):
            self._write(w, self._words.get(w, 0) | mask)

    def _clear_run(self, frame: int, count: int) -> None:
        for w, mask in _masks(frame, count):
            self._write(w, self._words[w] & ~mask)

    def _run_around(self, frame: int) -> int | None:
        """Head of the run that holds the frame."""
        at = bisect_right(self._run_starts, frame) - 1
        if at >= 0:
            head = self._run_starts[at]
            if frame < head + self._runs[head]:
                return head
        return None

    def _refusal(self, pfn: int) -> BadFree:
        frame = pfn - self.first
        if not 0 <= frame < self.frames:
            last = self.first + self.frames - 1
            return ForeignFree(pfn, f"the bitmap holds the frames {self.first:#x} to {last:#x}")
        head = self._run_around(frame)
        if head is not None:
            run = f"run of {self._runs[head]} from {self.first + head:#x}"
            return InteriorFree(pfn, f"it lies {frame - head} frames into the {run}")
        if self.is_free(pfn):
            by = self._freed_by.get(frame, NOBODY)
            return DoubleFree(pfn, "nobody ever took it" if by == NOBODY else f"CPU {by} freed it last")
        return BadFree(pfn, "it was taken as a single frame")


def _masks(frame: int, count: int) -> list[tuple[int, int]]:
    """The words of a run and which of their bits belong to it."""
    masks, end = [], frame + count
    while frame < end:
        w, bit = divmod(frame, WORD)
        bits = min(WORD - bit, end - frame)
        masks.append((w, ((1 << bits) - 1) << bit))
        frame += bits
    return masks
