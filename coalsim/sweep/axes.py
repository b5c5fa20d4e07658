"""Axes: read from a study's [[axis]] tables and from `--axis`, each value with the place where it stands.

    [[axis]]                              [[axis]]
    key = "workload.cpus"                 keys = ["machine", "workload.cpus"]
    values = [1, 4, 16]                   values = [["milan2", 96], ["icx2", 128]]

    --axis workload.cpus=1,4,16

Invariant: no two axes have a key in common.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

from coalsim.errors import ConfigError, Problem
from coalsim.study.document import Document, show
from coalsim.study.overrides import Setting, parse_value
from coalsim.sweep.points import Axis
from coalsim.sweep.ranges import quantity, range_values
from coalsim.sweep.tables import AxisSection, RangeSection, read_table

MOST_POINTS = 20_000
RESERVED = ("study", "axis", "show", "stop", "quick", "run.replications", "run.seed")
"""Keys, and tables, that are the same for all points of a study."""


@dataclass(frozen=True, kw_only=True)
class PlacedAxis:
    """An axis and where it was given: a path in the study file, or an option."""

    axis: Axis
    at: str = ""
    option: str = ""

    def settings(self, step: int) -> Iterator[Setting]:
        """What its value number `step` sets."""
        for position, (key, value) in enumerate(zip(self.axis.keys, self.axis.values[step], strict=True)):
            at = f"{self.at}.values.{step}" + (f".{position}" if len(self.axis.keys) > 1 else "")
            yield Setting(key=key, value=value, option=self.option, at=at if self.at else "")

    def without(self, keys: Sequence[str]) -> "PlacedAxis | None":
        """The axis when some keys were set to one value; None if no key is left."""
        kept = [number for number, key in enumerate(self.axis.keys) if key not in keys]
        if len(kept) == len(self.axis.keys):
            return self
        if not kept:
            return None
        values = dict.fromkeys(_hashable(tuple(step[number] for number in kept)) for step in self.axis.values)
        left = tuple(self.axis.keys[number] for number in kept)
        rows = tuple(tuple(json.loads(text)) for text in values)
        axis = Axis(keys=left, values=rows, label=", ".join(left), scale=scale_of(left, rows))
        return PlacedAxis(axis=axis, at="", option=self.option or "--set")


def read_axes(document: Document, problems: list[Problem]) -> list[PlacedAxis]:
    """The axes of a study file; mistakes are added to `problems`."""
    raw = document.raw.get("axis", [])
    if not isinstance(raw, list):
        problems.append(document.problem("axis", "not a list of tables", "write [[axis]], with two brackets"))
        return []
    axes = []
    for number, table in enumerate(raw):
        at = f"axis.{number}"
        section = read_table(document, at, table, AxisSection, problems)
        if section is None:
            continue
        if (section.key is None) == (section.keys is None):
            message = "no key" if section.key is None else "both key and keys"
            problems.append(document.problem(at, message, 'write key = "workload.cpus", or keys = [...]'))
            continue
        keys = (section.key,) if section.key is not None else section.keys or ()
        axis = axis_from(document, at, keys, section, section.label, problems)
        if axis is not None:
            axes.append(PlacedAxis(axis=axis, at=at))
    _refuse_shared_keys(document, axes, problems)
    return axes


def axis_from(
    document: Document,
    at: str,
    keys: tuple[str, ...],
    section: RangeSection,
    label: str,
    problems: list[Problem],
) -> Axis | None:
    """An axis of some keys from its values or its range; None if there are mistakes, which are noted."""
    before = len(problems)
    for key in keys:
        if any(key == word or key.startswith(f"{word}.") for word in RESERVED):
            remedy = "vary a key of machine, kernel, workload, engine, run or inject"
            problems.append(document.problem(f"{at}.key", "cannot be an axis", remedy, key))
    rows = _rows(document, at, keys, section, problems)
    problems.extend(_repeated(document, at, rows))
    if len(problems) > before:
        return None
    values = tuple(rows)
    scale = scale_of(keys, values, section.scale or "linear")
    return Axis(keys=keys, values=values, label=label or ", ".join(keys), scale=scale)


def _rows(
    document: Document, at: str, keys: tuple[str, ...], section: RangeSection, problems: list[Problem]
) -> list[tuple[object, ...]]:
    """The values, one tuple for each step."""

    def wrong(key: str, message: str, remedy: str, value: object = "") -> None:
        problems.append(document.problem(f"{at}.{key}" if key else at, message, remedy, value))

    is_range = (section.first, section.last, section.count) != (None, None, None)
    if section.values is not None:
        if is_range:
            wrong("values", "both values and a range", "leave out from, to and count, or values")
        if len(keys) == 1:
            for step, value in enumerate(section.values):
                if isinstance(value, list) and any(isinstance(item, list) for item in value):
                    wrong(f"values.{step}", "a list in a list", "give one key one value, or use keys = [...]")
            return [(value,) for value in section.values]
        rows: list[tuple[object, ...]] = []
        for step, value in enumerate(section.values):
            if not isinstance(value, list) or len(value) != len(keys):
                remedy = f"give a list of {len(keys)}: one for each of {', '.join(keys)}"
                wrong(f"values.{step}", "not one value for each key", remedy, value)
            else:
                rows.append(tuple(value))
        return rows
    if section.first is None or section.last is None or section.count is None:
        wrong("", "no values", "write values = [1, 4, 16], or from, to and count")
        return []
    if len(keys) > 1:
        wrong("from", "several keys have no range", "write values = [[...], [...]]")
        return []
    try:
        values = range_values(section.first, section.last, section.count, section.scale or "linear")
        return [(value,) for value in values]
    except ValueError as error:
        message, _, remedy = str(error).partition("; ")
        wrong("from", message, remedy, section.first)
        return []


def _repeated(document: Document, at: str, rows: Iterable[tuple[object, ...]]) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for step, row in enumerate(rows):
        if (text := _hashable(row)) in seen:
            value = ", ".join(show(item) for item in row)
            yield document.problem(f"{at}.values.{step}", "given twice", "leave one of them out", value)
        seen[text] = step


def _refuse_shared_keys(document: Document, axes: Sequence[PlacedAxis], problems: list[Problem]) -> None:
    owners: dict[str, str] = {}
    for placed in axes:
        for key in placed.axis.keys:
            if _owned(key) in owners:
                message = "another axis, or the same, has this key already"
                where = f"{placed.at}.keys" if len(placed.axis.keys) > 1 else f"{placed.at}.key"
                problems.append(document.problem(where, message, "leave one of them out", key))
            owners[_owned(key)] = placed.at


def _owned(key: str) -> str:
    return "machine" if key == "machine.name" else key


def parse_axes(texts: Sequence[str]) -> list[PlacedAxis]:
    """The axes of several `--axis KEY=V1,V2` options.

    Raises:
        ConfigError: every text that is none.
    """
    problems: list[Problem] = []
    axes: list[PlacedAxis] = []
    for text in texts:
        option = f"--axis {text}"
        key, equals, given = text.partition("=")
        key = key.strip()
        values = [*dict.fromkeys(_split(given))]
        parts = key.split(".")
        if (
            not equals
            or not values
            or not all(part.replace("-", "_").isalnum() or "_" in part for part in parts)
        ):
            remedy = "write it like --axis workload.cpus=1,4,16"
            problems.append(Problem(where=option, message="not KEY=VALUE,VALUE", remedy=remedy))
            continue
        if any(key == word or key.startswith(f"{word}.") for word in RESERVED):
            remedy = "vary a key of machine, kernel, workload, engine, run or inject"
            problems.append(Problem(where=option, key=key, message="cannot be an axis", remedy=remedy))
            continue
        rows = tuple((parse_value(value),) for value in values)
        axis = Axis(keys=(key,), values=rows, label=key, scale=scale_of((key,), rows))
        if any(_owned(key) == _owned(other.axis.keys[0]) for other in axes):
            problems.append(Problem(where=option, key=key, message="given twice", remedy="leave one out"))
        axes.append(PlacedAxis(axis=axis, option=option))
    if problems:
        raise ConfigError(problems)
    return axes


def _split(text: str) -> Iterator[str]:
    """The parts between commas that stand in no brackets and no quotes."""
    part, depth, quote = "", 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in "[]":
            depth += 1 if character == "[" else -1
        elif character == "," and not depth:
            yield part.strip()
            part = ""
            continue
        part += character
    if part.strip():
        yield part.strip()


def laid_over(axes: Sequence[PlacedAxis], others: Sequence[PlacedAxis]) -> list[PlacedAxis]:
    """The axes with those of the same key replaced, and new ones at the end."""
    replaced: dict[str, PlacedAxis] = {}
    for placed in axes:
        other = next((other for other in others if set(other.axis.keys) & set(placed.axis.keys)), None)
        if other is None:
            replaced["/".join(placed.axis.keys)] = placed
            continue
        left = placed.without(other.axis.keys)
        if left is not None:
            replaced["/".join(left.axis.keys)] = left
        replaced["/".join(other.axis.keys)] = other
    for other in others:
        replaced.setdefault("/".join(other.axis.keys), other)
    return [*replaced.values()]


def without_keys(axes: Sequence[PlacedAxis], keys: Sequence[str]) -> list[PlacedAxis]:
    """The axes but for keys that were set to one value."""
    both = [*keys, *(f"{key}.name" for key in keys if key == "machine")]
    both += ["machine" for key in keys if key == "machine.name"]
    return [left for placed in axes if (left := placed.without(both)) is not None]


def grid(axes: Sequence[PlacedAxis]) -> Iterator[tuple[int, ...]]:
    """The steps of all axes, in the order of the axes, the last one fastest."""
    return product(*(range(len(placed.axis.values)) for placed in axes))


def scale_of(keys: tuple[str, ...], values: Sequence[tuple[object, ...]], numeric: str = "linear") -> str:
    """The scale of an axis: none if no key of it has numbers only."""
    is_numeric = any(all(quantity(row[at]) is not None for row in values) for at in range(len(keys)))
    return numeric if is_numeric else "none"


def relabelled(axis: Axis, label: str, scale: str) -> Axis:
    """An axis of other values under the name and scale of the one that it stands for."""
    return replace(axis, label=label, scale=scale if axis.scale != "none" else "none")


def _hashable(row: tuple[object, ...]) -> str:
    return json.dumps(row)
