"""The stale-translation oracle: was every translation alive when it was used?

A use is a pair (time, processor), and so are the death of a translation, the promise
that nobody uses it any more, and the next owner of its frame.  A use is

    fine         before the death, or a read of a page that only lost the right to write
    stale        after it: allowed until the promise, whatever the policy's contract says
    broken       after the promise, or after the frame was given out again

Uses are collected when they happen, which may be ahead of global time, and judged
when their processor has synchronised: everything that came before them is known by
then.  So the oracle compares times, never states, and finds the same in every mode.

Invariant: a dead translation stays in `graves` until its frame is given out again, for
as long as somebody could still use it (a TLB holds it, or a use is not judged yet).
Costs no simulated time.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from coalsim.cpus.translation import Moment, Translation
from coalsim.units import CpuId, Pfn, Time, Vpn

LISTED = 100
"""Findings kept in full; the others are only counted."""
SWEEP_AT = 4_096
"""Graves and translations are looked through when they have doubled since the last time, from here on."""


class Run:
    """Uses of several pages in a row.

    Args:
        vpns: the pages, in the order of use.
        times: of the uses.
        translations: what was used for each page.
    """

    __slots__ = ("times", "translations", "vpns")
    died = True  # as far as a judge knows who looks for the dead only: it has to look at each of them

    def __init__(
        self, vpns: Sequence[int], times: Sequence[Time], translations: Mapping[int, Translation]
    ) -> None:
        self.vpns = vpns
        self.times = times
        self.translations = translations


Use = tuple[Time, Translation | Run, bool, str]
"""When (a run: when it began), which, whether it wrote, and where in the program."""


class Finding(NamedTuple):
    """A use of a dead translation."""

    time: Time
    cpu: CpuId
    kind: str  # "stale" (allowed), "promise" (broken), "reuse" (broken: the frame had a new owner)
    space: int
    vpn: Vpn
    pfn: Pfn
    write: bool
    site: str
    died: Moment
    promised: Moment | None
    reused: Moment | None
    pending: str

    @property
    def is_broken(self) -> bool:
        """The policy broke its promise."""
        return self.kind != "stale"

    def describe(self) -> str:
        """One paragraph: what was used, when it died, who had the frame since, what was pending."""
        verb = "wrote through" if self.write else "used"
        text = (
            f"CPU {self.cpu} {verb} a dead translation at {_ns(self.time)} ({self.site}): page {self.vpn:#x} "
            f"of space {self.space}, frame {self.pfn:#x}; it died at {_moment(self.died)}"
        )
        if self.reused is not None:
            text += f"; the frame was given out again at {_moment(self.reused)}"
        if self.promised is not None:
            text += f"; its end had been reported at {_moment(self.promised)}"
        return text + (f"; pending: {self.pending}" if self.pending else "; no flush was pending")


class Oracle:
    """Judge of all uses.

    Args:
        num_cpus: of the machine.
    """

    def __init__(self, num_cpus: int) -> None:
        self.unchecked: list[list[Use]] = [[] for _ in range(num_cpus)]
        self.checked = 0
        self.stale = 0
        self.broken = 0
        self.worst_stale: Time = 0  # longest time between a death and an allowed use after it
        self._findings: list[Finding] = []
        self.graves: dict[int, list[Translation]] = {}  # by frame
        self.settle: list[Callable[[], None]] = []  # by processor: enter its uses into `unchecked`
        self._buried = 0
        self._sweep_at = SWEEP_AT

    # -- uses ----------------------------------------------------------------------

    def judge(self, cpu: CpuId) -> None:
        """Judge the uses of one processor that has just synchronised."""
        if self.settle:
            self.settle[cpu]()
        uses = self.unchecked[cpu]
        self.checked += len(uses)
        for time, what, write, site in uses:
            if what.died is not None:  # rare; a run is always looked at
                if isinstance(what, Run):
                    self._judge_run(cpu, time, what, write, site)
                else:
                    self._judge_dead(cpu, time, what, write, site)
        uses.clear()

    def _judge_run(self, cpu: CpuId, time: Time, run: Run, write: bool, site: str) -> None:
        self.checked += len(run.vpns) - 1
        if all(translation.died is None for translation in run.translations.values()):
            return
        for number, vpn in enumerate(run.vpns):
            translation = run.translations[vpn]
            if translation.died is not None:
                self._judge_dead(cpu, run.times[number], translation, write, site)

    def _judge_dead(self, cpu: CpuId, time: Time, translation: Translation, write: bool, site: str) -> None:
        died = translation.died if write else translation.unmapped
        if died is None or (died.time, died.cpu) >= (time, cpu):
            return
        promised, reused = _before(translation.promised, time, cpu), _before(translation.reused, time, cpu)
        kind = "reuse" if reused is not None else "promise" if promised is not None else "stale"
        if kind == "stale":
            self.stale += 1
            self.worst_stale = max(self.worst_stale, time - died.time)
        else:
            self.broken += 1
        self._findings.append(
            Finding(
                time=time,
                cpu=cpu,
                kind=kind,
                space=translation.space,
                vpn=translation.vpn,
                pfn=translation.pfn,
                write=write,
                site=site,
                died=died,
                promised=promised,
                reused=reused,
                pending="" if promised is not None else translation.pending,
            )
        )
        if len(self._findings) > 4 * LISTED:
            self._findings = self._first()

    def findings(self) -> Sequence[Finding]:
        """The first findings, broken promises before stale uses, each in order of (time, processor)."""
        return self._first()

    def _first(self) -> list[Finding]:
        def first_of(found: Iterable[Finding]) -> list[Finding]:
            return sorted(found, key=lambda finding: finding[:7])[:LISTED]

        broken = first_of(finding for finding in self._findings if finding.is_broken)
        return broken + first_of(finding for finding in self._findings if not finding.is_broken)

    # -- lives -----------------------------------------------------------------------

    def died(self, translation: Translation, moment: Moment, pending: str, *, lost_frame: bool) -> None:
        """The translation has ended; `pending` says which flush is to remove it from the TLBs.

        One that has lost the right to write ends once more when its page is unmapped.
        """
        if translation.died is None:
            translation.died = moment
            translation.pending = pending
        if lost_frame:
            translation.unmapped = moment
            self.graves.setdefault(translation.pfn, []).append(translation)
            self._buried += 1
            if self._buried > self._sweep_at:
                self._sweep()

    def promise(self, translations: Iterable[Translation], moment: Moment) -> None:
        """The policy says that no processor uses them any more."""
        for translation in translations:
            if translation.promised is None:
                translation.promised = moment

    def given_out(self, pfn: Pfn, moment: Moment) -> None:
        """A frame has a new owner."""
        dead = self.graves.pop(pfn, None)
        if dead is not None:
            self._buried -= len(dead)
            for translation in dead:
                translation.reused = moment

    def is_in_use(self) -> dict[int, None]:
        """Identities of translations with uses that nobody has judged yet."""
        held: dict[int, None] = {}
        for settle in self.settle:
            settle()
        for uses in self.unchecked:
            for _, what, _, _ in uses:
                for translation in what.translations.values() if isinstance(what, Run) else (what,):
                    held[id(translation)] = None
        return held

    def _sweep(self) -> None:
        """Forget the dead that nobody can use any more."""
        unjudged = self.is_in_use()
        kept: dict[int, list[Translation]] = {}
        for pfn, dead in self.graves.items():
            held = [one for one in dead if one.cached or id(one) in unjudged]
            if held:
                kept[pfn] = held
        self.graves = kept
        self._buried = sum(len(dead) for dead in kept.values())
        self._sweep_at = max(SWEEP_AT, 2 * self._buried)


def _before(moment: Moment | None, time: Time, cpu: CpuId) -> Moment | None:
    """The moment, if it came before; what came later may be known or not, by the mode of the engine."""
    return moment if moment is not None and (moment.time, moment.cpu) < (time, cpu) else None


def _ns(time: Time) -> str:
    return f"{time / 1000:.3f} ns"


def _moment(moment: Moment) -> str:
    return f"{_ns(moment.time)} by CPU {moment.cpu} in {moment.site}"
