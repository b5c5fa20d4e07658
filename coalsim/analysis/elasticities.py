"""Elasticities: by how many percent a result changes when a parameter grows by one percent.

    e = d ln(metric) / d ln(parameter)
      = ln(metric at p (1 + h) / metric at p / (1 + h)) / (2 ln(1 + h)),   h: the step

Both sides of a parameter are run with the same random numbers, so an interval over replications
is one of pairs.  A machine and a kernel have some two hundred numbers and a load feels a few
dozen of them, so the others are found first, many at a time: if a run in which all numbers of a
group are scaled gives the same document to the byte, none of them was felt; else the group is
halved.  That is exact for the replication that is looked at (the first), but for numbers so
small that the step is lost in rounding to a picosecond, which change nothing either.

A check that needs no second opinion: time has a unit, so if all times of machine, kernel and load
grew by h, throughput would fall by h.  The elasticities of machine and kernel times therefore add
up to -1 less the load's own times.  (The clock is left out of the sum: it moves what is in cycles.)

Source: central differences and common random numbers: Law, "Simulation modeling and analysis",
chapter 11; group screening: Dorfman, Annals of Mathematical Statistics 14, 1943.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from math import log

from coalsim.analysis.cases import Cases, metric_of
from coalsim.analysis.what_if import THROUGHPUT
from coalsim.errors import ConfigError, Problem
from coalsim.profiles.profile import KernelProfile
from coalsim.provenance import Sourced
from coalsim.stats.student import Interval, interval
from coalsim.study.what_if import COST, MACHINE, Change, WhatIf, machine_targets, means
from coalsim.topology.machine import Machine

CLOCK = f"{MACHINE}:clock_ghz"
_TIMES = ("ps", "ns", "us", "cycles")


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A number of the machine or the kernel, or several that go together.

    Args:
        target: as `--what-if` names it.
        value: as it is written; the first one of several.
        status: measured, derived or assumed; the weakest of several.
        source: of the first one.
        is_time: it is a time; the others are rates.
    """

    target: str
    value: str
    status: str
    source: str
    is_time: bool


@dataclass(frozen=True, kw_only=True)
class Elasticity:
    """What a parameter does to the metric: its elasticity in each pair of runs, and their interval."""

    parameter: Parameter
    values: tuple[float, ...]
    interval: Interval

    @property
    def is_clear(self) -> bool:
        """The interval tells it from nothing."""
        return self.interval.half_width is not None and not self.interval.holds(0.0)


@dataclass(frozen=True, kw_only=True)
class Tornado:
    """All elasticities, the largest first.

    Args:
        metric: whose they are; step: h.
        rows: of parameters that are felt.
        unfelt: parameters that change nothing in the run.
        refused: targets that cannot be scaled so, each with the reason.
        runs: that were done to find out, besides the pairs.
        total: sum of the elasticities of times, by pair of runs; None if only some were asked for.
    """

    metric: str
    step: Decimal
    rows: tuple[Elasticity, ...]
    unfelt: tuple[Parameter, ...]
    refused: tuple[tuple[str, str], ...]
    runs: int
    total: Interval | None

    @property
    def flag(self) -> str:
        """What the sum contradicts; empty if it does not."""
        if self.total is None or self.metric != THROUGHPUT:
            return ""
        allowed = (self.total.half_width or 0.0) + 0.05
        if -1 - allowed <= self.total.mean <= allowed:
            return ""
        return (
            f"the elasticities of times add up to {self.total.mean:.3f}, beyond -1..0: the result is not "
            "smooth over this step (a limit or a count is passed); try a smaller --step"
        )


def parameters_of(machine: Machine, kernel: KernelProfile, only: str = "") -> list[Parameter]:
    """Every number of a machine and a kernel that can be scaled.

    Args:
        machine, kernel: whose.
        only: a pattern of targets, such as cost:pcp_* or machine:*; all of them if it is empty.
    """
    numbers = dict(machine.parameters())
    found = []
    for target in machine_targets(machine):
        group = [number for key, number in numbers.items() if means(target, key)]
        found.append(_parameter(f"{MACHINE}:{target}", group))
    found += [_parameter(f"{COST}:{name}", [cost]) for name, cost in kernel.parameters() if cost.value]
    return [one for one in found if not only or fnmatchcase(one.target, only) or only in one.target]


def _parameter(target: str, group: Sequence[Sourced]) -> Parameter:
    statuses = [number.status for number in group]
    weakest = next(status for status in ("assumed", "derived", "measured") if status in statuses)
    first = group[0]
    return Parameter(
        target=target,
        value=f"{first.value} {first.unit}",
        status=weakest,
        source=first.source,
        is_time=first.unit in _TIMES,
    )


def elasticities(
    cases: Cases,
    count: int,
    *,
    metric: str = THROUGHPUT,
    only: str = "",
    step: Decimal = Decimal("0.1"),
) -> Tornado:
    """The elasticity of a metric to every parameter that the run feels.

    Args:
        cases: the configuration, and who runs it.
        count: pairs of runs for each parameter.
        metric: dotted path of a positive number.
        only: pattern of the parameters.
        step: h, between 0 and 1.

    Raises:
        ConfigError: no parameter fits, a run failed, or the metric is not a positive number there.
    """
    known = parameters_of(cases.original.config.machine, cases.original.spec.kernel, only)
    if not known:
        remedy = "give a pattern such as cost:pcp_* or machine:*"
        raise ConfigError(
            [Problem(where="--only", value=only, message="no parameter is called so", remedy=remedy)]
        )
    screen = _Screen(cases, 1 + step)
    felt = screen.felt(known)
    up, down = 1 + step, 1 / (1 + step)
    sides = {one.target: (_one(one, up), _one(one, down)) for one in felt}
    refused = [*screen.refused]
    for one in felt:
        try:
            cases.check(cases.with_changes(sides[one.target][1]))
        except ConfigError as error:
            refused.append((one.target, error.problems[0].message))
    usable = [one for one in felt if one.target not in dict(refused)]
    cases.run(
        (cases.with_changes(side), number)
        for number in range(count)
        for one in usable
        for side in sides[one.target]
    )
    rows = [_elasticity(cases, one, sides[one.target], count, metric, step) for one in usable]
    rows.sort(key=lambda row: (-abs(row.interval.mean), row.parameter.target))
    names = {one.target for one in felt} | dict(refused).keys()
    return Tornado(
        metric=metric,
        step=step,
        rows=tuple(rows),
        unfelt=tuple(one for one in known if one.target not in names),
        refused=tuple(refused),
        runs=screen.runs,
        total=None if only else _total(rows, count),
    )


def _one(parameter: Parameter, factor: Decimal) -> WhatIf:
    return WhatIf(changes=(Change(target=parameter.target, factor=round(factor, 12)),))


def _elasticity(
    cases: Cases, one: Parameter, sides: tuple[WhatIf, WhatIf], count: int, metric: str, step: Decimal
) -> Elasticity:
    high, low = (metric_of(cases.documents(cases.with_changes(side), count), metric) for side in sides)
    if min(*high, *low) <= 0:
        remedy = "take one that is a positive number in every run"
        raise ConfigError(
            [Problem(where="--metric", value=metric, message="it is not positive in some run", remedy=remedy)]
        )
    values = tuple(log(b / a) / (2 * log(1 + step)) for a, b in zip(low, high, strict=True))
    return Elasticity(parameter=one, values=values, interval=interval(values))


def _total(rows: Sequence[Elasticity], count: int) -> Interval:
    """The sum over all times, pair by pair."""
    times = [row for row in rows if row.parameter.is_time]
    return interval([sum(row.values[at] for row in times) for at in range(count)])


class _Screen:
    """Finds the parameters that the first replication feels."""

    def __init__(self, cases: Cases, factor: Decimal) -> None:
        self._cases = cases
        self._factor = factor
        self.refused: list[tuple[str, str]] = []
        self.runs = 0

    def felt(self, known: Sequence[Parameter]) -> list[Parameter]:
        """Those, in the order in which they are known."""
        cases = self._cases
        cases.run([(cases.base, 0)])
        reference = _comparable(cases, cases.base)
        usable = [one for one in known if self._can_be_scaled(one)]
        found: list[Parameter] = []
        groups: list[Sequence[Parameter]] = [usable] if usable else []
        while groups:
            changed = [cases.with_changes(self._all(group)) for group in groups]
            cases.run((what_if, 0) for what_if in changed)
            self.runs += len(groups)
            still = [
                group
                for group, what_if in zip(groups, changed, strict=True)
                if _comparable(cases, what_if) != reference
            ]
            found += [group[0] for group in still if len(group) == 1]
            groups = [half for group in still if len(group) > 1 for half in _halves(group)]
        order = {one.target: place for place, one in enumerate(known)}
        return sorted(found, key=lambda one: order[one.target])

    def _can_be_scaled(self, one: Parameter) -> bool:
        try:
            self._cases.check(self._cases.with_changes(_one(one, self._factor)))
        except ConfigError as error:
            self.refused.append((one.target, error.problems[0].message))
            return False
        return True

    def _all(self, group: Sequence[Parameter]) -> WhatIf:
        return WhatIf(changes=tuple(Change(target=one.target, factor=self._factor) for one in group))


def _comparable(cases: Cases, what_if: WhatIf) -> str:
    """A result as text; one that failed differs from every other."""
    return cases.text(what_if, 0) or f"failed with {what_if}"


def _halves(group: Sequence[Parameter]) -> Iterator[Sequence[Parameter]]:
    middle = len(group) // 2
    yield group[:middle]
    yield group[middle:]
