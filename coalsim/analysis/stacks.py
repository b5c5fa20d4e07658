"""Scalability stacks: the CPU time that one operation takes, by cause, at every point over an axis.

With N CPUs that do X operations a second, an operation takes N / X of CPU time, whatever they do
meanwhile.  If the work scaled, that would stay as it is when CPUs are added; each cause that
grows eats a part of every added CPU.  So a stack divides N / X by cause, and the difference of
two neighbours says which cause ate what was added.

    group      lock:NAME (waiting, hand-over, holding), line, shootdown, walk, zeroing, user ...

Only CPUs that ran something count; idle time of those counts too, as a cause of its own.

Invariant: times are exact (fractions of whole ps), so at every point the groups add up to the
used CPUs' time, and the shares to 1, without remainder.
Source: speed-up stacks: Eyerman, Du Bois and Eeckhout, ISPASS 2012.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from coalsim.errors import InputError
from coalsim.guarded import clean, refusal
from coalsim.observe.document import ResultDocument
from coalsim.observe.where import used_cpus
from coalsim.sweep.results import PointResults, StudyResults

LOCK = "lock"
Times = Mapping[str, Fraction]


def group_of(cause: str) -> str:
    """The group of a cause: its first word, for locks with the name of the lock.

    >>> group_of("lock:zone->lock:wait"), group_of("shootdown:flight"), group_of("user")
    ('lock:zone->lock', 'shootdown', 'user')
    """
    first, _, rest = cause.partition(":")
    name, _, _ = rest.rpartition(":")
    return f"{LOCK}:{name}" if first == LOCK and name else first


@dataclass(frozen=True, kw_only=True)
class Stack:
    """One point: CPU time by group over all its runs.

    Args:
        value: of the axis; "" where there is none.
        times: ps by group, of the CPUs that ran something, added up over runs.
        spent: what these must add up to: used CPUs times simulated time, in ps.
        operations: of all CPUs, over all runs.
        cpus: that ran something, on average over runs.
    """

    value: object
    times: Times
    spent: Fraction
    operations: Fraction
    cpus: Fraction

    @property
    def is_whole(self) -> bool:
        """The groups add up to the time that there was, exactly."""
        return sum(self.times.values(), Fraction(0)) == self.spent

    def shares(self) -> dict[str, Fraction]:
        """Each group's part of the whole; they add up to 1."""
        return {group: time / self.spent for group, time in self.times.items()} if self.spent else {}

    def per_operation(self) -> dict[str, Fraction]:
        """CPU time of one operation by group, in ns; empty where no operation ended."""
        if not self.operations:
            return {}
        return {group: time / self.operations / 1000 for group, time in self.times.items()}


@dataclass(frozen=True, kw_only=True)
class Growth:
    """What changes from one point to the next.

    Args:
        before, after: the two points.
        groups: growth of the CPU time of an operation by group in ns, the largest first.
    """

    before: Stack
    after: Stack
    groups: tuple[tuple[str, Fraction], ...]

    def words(self) -> str:
        """Which cause ate what was added, in one sentence."""
        whole = sum((growth for _, growth in self.groups), Fraction(0))
        head = f"{_shown(self.before.value)} -> {_shown(self.after.value)}"
        if not self.before.operations or not self.after.operations:
            return f"{head}: no operation ended at one of them"
        old = sum(self.before.per_operation().values(), Fraction(0))
        share = float(whole / old) * 100 if old else 0.0
        if whole <= old / 200:
            gain = "an operation takes no more CPU time" if whole >= -old / 200 else "it takes less CPU time"
            return f"{head}: {gain} ({share:+.1f} %): what was added is used"
        told = [
            f"{clean(group)} {float(growth):+.4g} ns ({float(growth / whole) * 100:.0f} %)"
            for group, growth in self.groups[:3]
            if growth * 10 > whole
        ]
        eaten = float(whole / (old + whole)) * 100
        return (
            f"{head}: {float(whole):+.4g} ns of CPU time an operation ({share:+.1f} %), "
            f"which eats {eaten:.0f} % of the CPUs: {', '.join(told)}"
        )


@dataclass(frozen=True, kw_only=True)
class StackCurve:
    """The stacks over an axis, all other axes fixed.

    Args:
        axis: the key that varies.
        fixed: the other axis keys with their values.
        stacks: in the order of the axis.
    """

    axis: str
    fixed: tuple[tuple[str, object], ...]
    stacks: tuple[Stack, ...]

    @property
    def groups(self) -> tuple[str, ...]:
        """All groups, the one with the largest share anywhere first."""
        largest: dict[str, Fraction] = {}
        for stack in self.stacks:
            for group, share in stack.shares().items():
                largest[group] = max(share, largest.get(group, Fraction(0)))
        return tuple(sorted(largest, key=lambda group: (-largest[group], group)))

    def growths(self) -> Iterator[Growth]:
        """From each point to the next."""
        for before, after in zip(self.stacks, self.stacks[1:], strict=False):
            old, new = before.per_operation(), after.per_operation()
            grown = {
                group: new.get(group, Fraction(0)) - old.get(group, Fraction(0)) for group in self.groups
            }
            ordered = sorted(grown.items(), key=lambda item: (-item[1], item[0]))
            yield Growth(before=before, after=after, groups=tuple(ordered))


def stack_of(
    runs: Sequence[ResultDocument], value: object = "", group_by: Callable[[str], str] = group_of
) -> Stack:
    """The stack of the runs of one point.

    Args:
        runs: single runs, not means of several.
        value: of the axis.
        group_by: the group of a cause.
    """
    times: dict[str, Fraction] = {}
    spent = operations = cpus = Fraction(0)
    for run in runs:
        used = used_cpus(run["time"])
        for cpu in used:
            for cause, time in run["time"][cpu].items():
                group = group_by(cause)
                times[group] = times.get(group, Fraction(0)) + Fraction(time)
        spent += len(used) * Fraction(run["sim_time_ps"])
        operations += Fraction(run["throughput"]["ops"])
        cpus += len(used)
    average = cpus / len(runs) if runs else cpus
    return Stack(value=value, times=times, spent=spent, operations=operations, cpus=average)


def apportioned(parts: Sequence[Fraction], units: int) -> list[int]:
    """Parts of a whole in whole units, rounded so that they add up: the largest remainders get what is left.

    >>> apportioned([Fraction(1, 3), Fraction(1, 3), Fraction(1, 3)], 100)
    [34, 33, 33]
    """
    exact = [part * units for part in parts]
    rounded = [int(part) for part in exact]
    missing = round(sum(exact, Fraction(0))) - sum(rounded)
    for at in sorted(range(len(exact)), key=lambda at: (rounded[at] - exact[at], at))[:missing]:
        rounded[at] += 1
    return rounded


def stack_curves(results: StudyResults, axis: str = "") -> list[StackCurve]:
    """The stacks of a study over an axis; those of points that have a run that is done.

    Args:
        results: of a sweep, or of a single run (one stack).
        axis: key of an axis; "" is the one that the study shows along x.

    Raises:
        InputError: the study has no such axis.
    """
    keys = [key for each in results.axes for key in each.keys]
    axis = axis or results.show.x
    if axis not in keys and keys:
        raise _no_axis(results, axis, keys)
    if axis and not keys:
        raise _no_axis(results, axis, keys)
    moving = next((each.keys for each in results.axes if axis in each.keys), ())
    curves: dict[str, list[PointResults]] = {}
    for point in results.points:
        fixed = repr([pair for pair in point.point.settings if pair[0] not in moving])
        curves.setdefault(fixed, []).append(point)
    return [
        StackCurve(
            axis=axis,
            fixed=tuple(pair for pair in points[0].point.settings if pair[0] not in moving),
            stacks=tuple(
                stack_of(point.runs, dict(point.point.settings).get(axis, ""))
                for point in points
                if point.runs
            ),
        )
        for points in curves.values()
        if any(point.runs for point in points)
    ]


def _no_axis(results: StudyResults, axis: str, keys: Sequence[str]) -> InputError:
    remedy = f"use one of {', '.join(keys)}" if keys else "run the study with --axis KEY=V1,V2"
    return refusal(
        results.folder, "the study does not vary that", clean(remedy), value=f"--over {clean(axis)}"
    )


def _shown(value: object) -> str:
    return clean(str(value))
