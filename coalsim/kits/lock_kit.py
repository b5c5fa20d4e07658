"""The kit of locks: what every lock promises, tried with random programs.

    from coalsim.kits import check_lock
    check_lock(MyLock)

exclusion      at most one processor has it at a time
progress       everybody who asks gets it in the end: no wake-up is lost
order          it is granted in the order of arrival, if `in_order` says so
statistics     what it records adds up to what happened
modes          the engine's short cuts change nothing
sections       `section` and `acquire` with `release` mean the same

Each is tried with a program for every seed; the same seeds give the same verdicts.
"""

from collections.abc import Sequence
from itertools import pairwise

from coalsim.kits.lock_bench import FASTEST, OTHERS, REFERENCE, Mode, Passage, Played, Program, Taking, play
from coalsim.kits.verdicts import Broken, Report, Trials
from coalsim.locks.base import Lock, SpinLock
from coalsim.locks.registry import check_foreign_lock
from coalsim.plugins import Asked

SEEDS = (1, 2, 3, 4, 5, 6, 7, 8)
QUICK_SEEDS = (1, 2, 3)


def lock_report(policy: type[Lock], *, seeds: Sequence[int] = SEEDS) -> Report:
    """Try every promise of a lock."""
    return _trials(policy, seeds).report()


def check_lock(policy: type[Lock], *, seeds: Sequence[int] = SEEDS) -> Report:
    """Try every promise of a lock.

    Args:
        policy: the class.
        seeds: a random program for each.

    Raises:
        PromiseBroken: some do not hold.
    """
    return _trials(policy, seeds).demand()


def _trials(policy: type[Lock], seeds: Sequence[int]) -> Trials:
    kit = _LockKit(policy, seeds)
    trials = Trials("lock", policy, "check_lock")
    is_lock = trials.promise(
        "interface",
        "it is a Lock, and what can wait is a generator",
        lambda: check_foreign_lock(policy.__name__, policy, Asked(key="kernel.lock")),
    )
    if not is_lock:
        return trials
    if policy.excludes:
        trials.promise("exclusion", "at most one processor has it at a time", kit.exclusion)
    goes_on = trials.promise("progress", "everybody who asks gets it in the end", kit.progress)
    if getattr(policy, "in_order", False):
        trials.promise("order", "it is granted in the order of arrival", kit.order)
    if policy.excludes:
        trials.promise("statistics", "what it records adds up to what happened", kit.statistics)
    if goes_on:
        trials.promise("modes", "the engine's short cuts change nothing", kit.modes)
    if goes_on and issubclass(policy, SpinLock):
        trials.promise("sections", "section means the same as acquire and release", kit.sections)
    return trials


class _LockKit:
    """The trials of one policy."""

    def __init__(self, policy: type[Lock], seeds: Sequence[int]) -> None:
        self._policy = policy
        self._seeds = seeds

    def _play(self, seed: int, mode: Mode, taking: Taking, *, ticks: bool) -> Played:
        return play(self._policy, Program.draw(seed, ticks=ticks), mode, taking)

    def exclusion(self) -> None:
        """Nobody is in while somebody else is."""
        for seed in self._seeds:
            for taking, ticks in _WAYS:
                before: Passage | None = None
                for one in self._play(seed, REFERENCE, taking, ticks=ticks).passages:
                    if before is not None and before.lock == one.lock and one.granted < before.released:
                        raise Broken(
                            f"CPU {one.cpu} has lock {one.lock} from {one.granted} ps on, and "
                            f"CPU {before.cpu} from {before.granted} to {before.released} ps",
                            _again(seed),
                        )
                    before = one

    def progress(self) -> None:
        """Every processor does all its rounds."""
        for seed in self._seeds:
            for taking, ticks in _WAYS:
                played = self._play(seed, REFERENCE, taking, ticks=ticks)
                program = Program.draw(seed, ticks=ticks)
                if not self._policy.excludes:
                    continue
                if len(played.passages) != (rounds := program.cpus * program.rounds):
                    said = f"{rounds} times it was taken, and {len(played.passages)} releases were told"
                    raise Broken(said, _again(seed))

    def order(self) -> None:
        """Who arrives first gets it first; those who arrive at one instant, in any order."""
        for seed in self._seeds:
            passages = self._play(seed, REFERENCE, "section", ticks=False).passages
            for before, one in pairwise(passages):
                if before.lock == one.lock and one.arrived < before.arrived:
                    raise Broken(
                        f"CPU {one.cpu} arrived at lock {one.lock} at {one.arrived} ps, before "
                        f"CPU {before.cpu} ({before.arrived} ps), "
                        f"and got it later: at {one.granted} and {before.granted} ps",
                        _again(seed),
                    )

    def statistics(self) -> None:
        """Counts and sums of the rows are those of the passages."""
        for seed in self._seeds:
            played = self._play(seed, REFERENCE, "section", ticks=True)
            for one in played.passages:
                if not 0 <= one.arrived <= one.granted <= one.released:
                    raise Broken(
                        f"CPU {one.cpu} arrived at {one.arrived}, was granted lock {one.lock} at "
                        f"{one.granted} and released it at {one.released} ps",
                        _again(seed),
                    )
            happened = {
                "acquisitions": len(played.passages),
                "waittime_total": sum(one.granted - one.arrived for one in played.passages),
                "holdtime_total": sum(one.released - one.granted for one in played.passages),
            }
            for column, truth in happened.items():
                if (said := sum(getattr(row, column) for row in played.rows)) != truth:
                    raise Broken(f"the rows say {said} for {column}, and it was {truth}", _again(seed))
            if any(row.contentions > row.acquisitions for row in played.rows):
                raise Broken("there are more contentions than acquisitions", _again(seed))

    def modes(self) -> None:
        """Every mode gives what the slowest and plainest one gives."""
        for seed in self._seeds:
            for taking, ticks in _WAYS:
                expected = self._play(seed, REFERENCE, taking, ticks=ticks)
                for mode in OTHERS:
                    if (found := self._play(seed, mode, taking, ticks=ticks)) != expected:
                        raise Broken(f"with {mode}: {_difference(expected, found)}", _again(seed))

    def sections(self) -> None:
        """The policy's own section is the same as the one made of acquire and release."""
        for seed in self._seeds:
            for mode in (REFERENCE, FASTEST):
                plain = self._play(seed, mode, "plain section", ticks=True)
                own = self._play(seed, mode, "section", ticks=True)
                if own != plain:
                    raise Broken(f"with {mode}: {_difference(plain, own)}", _again(seed))


_WAYS: tuple[tuple[Taking, bool], ...] = (("by hand", False), ("section", False), ("section", True))


def _again(seed: int) -> str:
    return f"seeds=({seed},)"


def _difference(expected: Played, found: Played) -> str:
    """The first thing in which two outcomes differ."""
    for before, after in zip(expected.passages, found.passages, strict=False):
        if before != after:
            return f"{before} became {after}"
    if expected.rows != found.rows:
        return f"the statistics {expected.rows} became {found.rows}"
    return "the processors' times differ"
