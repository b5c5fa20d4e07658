"""Verdicts: which promises a class keeps, each tried by itself.

A kit is a list of promises.  Each is tried by a function that returns if the promise
holds and raises if it does not: `Broken` with what was seen and how to see it again, or
whatever the class under test makes of it.  One broken promise does not hide the others.

Nothing that a class raises escapes, and one that does not come back is stopped after
`PATIENCE` seconds, where the platform has alarms and we run in the main thread.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from coalsim.errors import CoalsimError
from coalsim.plugins import error_line, failure_in, place_of

PATIENCE = 30
"""Seconds that the trial of one promise may take."""


class Broken(Exception):
    """A promise does not hold.

    Args:
        detail: what was seen.
        again: the arguments with which the kit shows it again, such as ``seeds=(3,)``; may be empty.
    """

    def __init__(self, detail: str, again: str = "") -> None:
        super().__init__(detail, again)
        self.detail = detail
        self.again = again


class _OutOfPatience(KeyboardInterrupt):
    """Raised by the alarm; whatever lets Ctrl-C through lets it through."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One promise.

    Args:
        promise: its short name.
        claim: what it says, as a sentence.
        passed: whether it holds.
        detail: what was seen where it does not.
        again: how to see it again.
    """

    promise: str
    claim: str
    passed: bool
    detail: str = ""
    again: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """All promises of one class."""

    kind: str
    name: str
    where: str
    line: int
    verdicts: tuple[Verdict, ...]

    @property
    def passed(self) -> bool:
        """Every promise holds."""
        return all(verdict.passed for verdict in self.verdicts)

    def text(self) -> str:
        """One line for each promise, and more for those that do not hold."""
        lines = [f"{self.kind} {self.name} ({self.where}:{self.line})"]
        for one in self.verdicts:
            lines.append(f"  {'kept  ' if one.passed else 'BROKEN'}  {one.promise}: {one.claim}")
            if not one.passed:
                lines += [f"          {line}" for line in one.detail.splitlines()]
                lines += [f"          to see it again: {one.again}"] if one.again else []
        return "\n".join(lines)


class PromiseBroken(AssertionError):
    """A class breaks at least one promise of its kind; the text names each and how to see it again."""

    def __init__(self, report: Report) -> None:
        super().__init__(report.text())
        self.report = report


class Trials:
    """Tries promises one after the other.

    Args:
        kind: of the class: "lock".
        owner: the class.
        check: name of the kit's function, for the words on how to repeat a trial.
    """

    def __init__(self, kind: str, owner: type, check: str) -> None:
        self._kind, self._owner, self._check = kind, owner, check
        self._verdicts: list[Verdict] = []

    def promise(self, promise: str, claim: str, trial: Callable[[], None]) -> bool:
        """Try one; whether it holds."""
        detail, again = "", ""
        try:
            with _alarm(PATIENCE):
                trial()
        except Broken as broken:
            detail = broken.detail
            again = f"{self._check}({self._owner.__name__}{', ' if broken.again else ''}{broken.again})"
        except CoalsimError as error:
            detail = str(error)
        except _OutOfPatience:
            detail = f"it has not come back after {PATIENCE} s"
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            theirs = failure_in(self._owner.__module__, error, "")
            detail = str(theirs) if theirs is not None else error_line(error)
        detail = detail.strip() or detail
        self._verdicts.append(
            Verdict(promise=promise, claim=claim, passed=not detail, detail=detail, again=again)
        )
        return not detail

    def report(self) -> Report:
        """What came out."""
        where, line = place_of(self._owner)
        return Report(
            kind=self._kind,
            name=self._owner.__qualname__,
            where=where,
            line=line,
            verdicts=tuple(self._verdicts),
        )

    def demand(self) -> Report:
        """What came out, if all is well.

        Raises:
            PromiseBroken: it is not.
        """
        report = self.report()
        if not report.passed:
            raise PromiseBroken(report)
        return report


@contextmanager
def _alarm(seconds: int) -> Iterator[None]:
    """Raise `_OutOfPatience` inside the block when it takes longer; where that cannot be done, do not."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or not hasattr(signal, "SIGALRM") or signal.getitimer(signal.ITIMER_REAL)[0]:
        yield  # somebody else's alarm is running, such as that of a test runner
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise _OutOfPatience

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
