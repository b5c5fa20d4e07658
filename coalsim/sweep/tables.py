"""The tables of a study file that say what it varies and shows, as pydantic reads them.

Invariant: a table that exists has every key in range; what its values mean is checked where
they are used.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
)

from coalsim.errors import Problem
from coalsim.stats.stopping import DEFAULT_CONFIDENCE, DEFAULT_LEAST, DEFAULT_MOST, DEFAULT_RELATIVE
from coalsim.study.document import Document
from coalsim.study.sections import MOST_REPLICATIONS, Section, explained

MOST_VALUES = 10_000
"""Of one axis."""

Plain = StrictBool | StrictInt | StrictFloat | StrictStr
Value = Plain | list[Plain]
"""What a key can be set to."""


def _named_keys(keys: tuple[str, ...]) -> tuple[str, ...]:
    if len(keys) < 2:
        raise ValueError(
            'one key does not change together with another; give two or more, or write key = "..."'
        )
    return keys


class RangeSection(Section):
    """The values of an axis: all of them, or a range."""

    values: Annotated[list[Value | list[Value]], Field(min_length=1, max_length=MOST_VALUES)] | None = None
    """The values; for several keys, a list with one value for each."""
    first: Annotated[Plain | None, Field(alias="from")] = None
    """First value of a range: a number, or a text such as 1us or 4KiB."""
    last: Annotated[Plain | None, Field(alias="to")] = None
    """Last value of a range."""
    count: Annotated[int, Field(ge=2, le=MOST_VALUES)] | None = None
    """How many values a range has; rounding to whole numbers may leave fewer."""
    scale: Literal["linear", "log"] | None = None
    """Steps of a range that are equal, or that are equal factors; also the scale of the axis in figures."""


class AxisSection(RangeSection):
    """[[axis]]: one thing that varies."""

    key: Annotated[str, Field(min_length=1)] | None = None
    """The key: any that --set reaches."""
    keys: Annotated[tuple[str, ...], AfterValidator(_named_keys)] | None = None
    """Several keys that change together."""
    label: str = ""
    """What it is called in tables and figures; the key if it is not given."""


class ShowSection(Section):
    """[show]: what tables and figures show."""

    metrics: Annotated[tuple[str, ...], Field(min_length=1)] = ("throughput.ops_per_s", "latency_ns.mean")
    """Dotted paths into the result document."""
    x: str = ""
    """The axis key along which curves run; the first axis with numbers if it is not given."""
    series: tuple[str, ...] | None = None
    """Axis keys; each combination of their values is a curve. All other axes if it is not given."""
    log: tuple[Literal["x", "y"], ...] | None = None
    """Which directions are logarithmic."""


class StopSection(Section):
    """[stop]: how many replications are enough."""

    metric: str = "throughput.ops_per_s"
    """The result whose interval has to be narrow."""
    relative: Annotated[float, Field(gt=0, lt=1)] = DEFAULT_RELATIVE
    """Half the width of the interval over its mean."""
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = DEFAULT_CONFIDENCE
    least: Annotated[int, Field(ge=2, le=MOST_REPLICATIONS)] = DEFAULT_LEAST
    """Replications in any case."""
    most: Annotated[int, Field(ge=2, le=MOST_REPLICATIONS)] = DEFAULT_MOST
    """Replications at most."""


S = TypeVar("S", bound=BaseModel)


def read_table(document: Document, at: str, raw: object, model: type[S], problems: list[Problem]) -> S | None:
    """A table checked by its model.

    Args:
        document: where it stands, for messages; at: its path there, such as axis.0.
        raw: its values.
        problems: gets every mistake.

    Returns:
        None if there were mistakes.
    """
    if not isinstance(raw, dict):
        problems.append(document.problem(at, "not a table", f"write [{at}] and its keys below", raw))
        return None
    known = tuple(field.alias or name for name, field in model.model_fields.items())
    before = len(problems)
    problems.extend(
        document.problem(f"{at}.{key}", "no such key", did_you_mean(key, known))
        for key in raw
        if key not in known
    )
    given = {key: value for key, value in raw.items() if key in known}
    try:
        table = model.model_validate(given)
    except ValidationError as error:
        problems.extend(_told(document, at, raw, error))
        return None
    return table if len(problems) == before else None


def _told(document: Document, at: str, raw: Mapping[str, object], error: ValidationError) -> list[Problem]:
    """Each mistake once: a value that may be of several types is refused by each of them."""
    told: dict[str, Problem] = {}
    for detail in error.errors(include_url=False):
        steps = [
            str(step) for step in detail["loc"] if isinstance(step, int) or step in raw or step == "values"
        ]
        path = ".".join([at, *steps])
        message, remedy = explained(detail)
        if any(isinstance(step, str) and step not in raw for step in detail["loc"]):
            message, remedy = "not a value", "give numbers, texts, truth values, or lists of them"
        if not any(known.startswith(path) for known in told):
            told[path] = document.problem(path, message, remedy, detail["input"])
    return [*told.values()]


def did_you_mean(word: str, known: tuple[str, ...]) -> str:
    """A remedy that names the nearest of the known words, or all of them."""
    near = get_close_matches(word, known, n=1)
    return f"did you mean {near[0]}?" if near else f"use one of {', '.join(known)}"
