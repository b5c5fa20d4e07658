"""Sections: the tables of a study file that are the same for every study.

Also the words in which a mistake inside a table is explained, whichever model
found it.

Invariant: a section that exists holds values that can be used as they are.
"""

from collections.abc import Callable, Mapping
from hashlib import sha256
from itertools import count
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    model_serializer,
)
from pydantic_core import ErrorDetails

from coalsim.profiles.reading import TRUTH
from coalsim.study.document import show
from coalsim.units import Time, parse_time


def _time(value: object) -> Time:
    if value in (0, "0") and not isinstance(value, bool):
        return 0
    if not isinstance(value, str):
        raise ValueError("no time unit; write it as text, like 2ms")
    return parse_time(value)


def _warmup(value: object) -> Time | str:
    return AUTO if value == AUTO else _time(value)


def _flag(value: object) -> bool:
    text = show(value).lower()
    if text not in TRUTH:
        raise ValueError("not a truth value; write true or false, 1 or 0")
    return TRUTH[text]


TIME_SCHEMA: dict[str, object] = {
    "anyOf": [
        {"type": "string", "pattern": r"^\s*([0-9][0-9_]*(\.[0-9]+)?\s*(ps|ns|us|µs|ms|s)|0)\s*$"},
        {"const": 0},
    ],
    "description": "A time such as 2ms, 56.3ns or 1.5us; 0.",
}
"""What editors are told of a time."""
TimeText = Annotated[
    Time,
    BeforeValidator(_time),
    PlainSerializer(lambda time: f"{time}ps"),
    WithJsonSchema(TIME_SCHEMA),
]
"""A pydantic field that reads ``2ms`` into picoseconds, and writes itself so that it can be read again."""
AUTO: Literal["auto"] = "auto"
WarmupText = Annotated[
    Time | Literal["auto"],
    BeforeValidator(_warmup),
    PlainSerializer(lambda time: time if time == AUTO else f"{time}ps"),
    WithJsonSchema({"anyOf": [TIME_SCHEMA, {"const": AUTO}]}),
]
"""A time, or ``auto``: a pilot run finds it (`study/warmup.py`)."""
FLAG_SCHEMA: dict[str, object] = {"anyOf": [{"type": "boolean"}, {"enum": [0, 1, *TRUTH]}]}
Flag = Annotated[bool, BeforeValidator(_flag), WithJsonSchema(FLAG_SCHEMA)]
"""A pydantic field that reads 0, 1, true, false, on, off."""


MOST_REPLICATIONS = 100_000


class Section(BaseModel):
    """A table of a study file: refuses keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StudySection(Section):
    """[study]: what is asked, in words."""

    name: str = ""
    title: str = ""
    question: str = ""
    expectation: str = ""
    """What should come out, and why."""
    reading: str = ""
    """How to read what came out."""


class EngineSection(Section):
    """[engine]: which paths the engine takes; the results are the same."""

    run_ahead: Flag = True
    """Processors run ahead of global time where that cannot be seen."""
    fast_paths: Flag = True
    """Lock sections are computed in one event where that cannot be seen."""
    tick_events: Flag = False
    """Every timer tick is an event of its own."""


class RunSection(Section):
    """[run]: how long, how often, from which seed."""

    duration: TimeText = 0
    """Simulated time; 0 = until the workload ends by itself."""
    warmup: WarmupText = 0
    """Simulated time before counting begins; auto: a pilot run finds it."""
    replications: Annotated[int, Field(ge=1, le=MOST_REPLICATIONS)] = 1
    seed: Annotated[int, Field(ge=0, lt=1 << 64)] = 1
    samples: TimeText = 0
    """Simulated time between two samples of memory; 0 = none."""
    allocations: Flag = False
    """List every block in somebody's hands at the end."""
    batches: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Equal parts of the duration that are counted apart, for an interval from one run; 0 = none."""
    histogram: Flag = False
    """Keep the whole distribution of latencies, so that percentiles can be pooled over replications."""
    pilot_seed: Annotated[int, Field(ge=0, lt=1 << 64)] | None = None
    """Of the run that finds the warm-up; derived from `seed` if it is not given."""

    @property
    def given_warmup(self) -> Time:
        """The warm-up as far as it is known before a pilot has run."""
        return 0 if self.warmup == AUTO else self.warmup

    @property
    def seed_of_pilot(self) -> int:
        """The pilot's: given, or drawn from the study's, and never that of a replication."""
        if self.pilot_seed is not None:
            return self.pilot_seed
        digests = (sha256(f"{self.seed}/pilot/{attempt}".encode()).digest() for attempt in count())
        drawn = (int.from_bytes(digest[:8], "big") for digest in digests)
        return next(seed for seed in drawn if not self.seed <= seed < self.seed + MOST_REPLICATIONS)

    @model_serializer(mode="wrap")
    def _without_what_is_off(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        """The resolved study does not name what it does not use."""
        written: dict[str, object] = handler(self)
        off = {
            "samples": not self.samples,
            "allocations": not self.allocations,
            "batches": not self.batches,
            "histogram": not self.histogram,
            "pilot_seed": self.warmup != AUTO,
        }
        if self.warmup == AUTO:
            written["pilot_seed"] = self.seed_of_pilot
        return {key: value for key, value in written.items() if not off.get(key)}


def explained(detail: ErrorDetails) -> tuple[str, str]:
    """What is wrong and what to do, in our words."""
    kind = detail["type"]
    limits = detail.get("ctx", {})
    if kind == "value_error":
        message, _, remedy = str(limits["error"]).partition("; ")
        return message, remedy or "correct the value"
    for prefix, words in _WORDS:
        if kind.startswith(prefix):
            return words({key: show(value) for key, value in limits.items()})
    return detail["msg"][:1].lower() + detail["msg"][1:], "correct the value"


_Words = Callable[[Mapping[str, str]], tuple[str, str]]
_WORDS: tuple[tuple[str, _Words], ...] = (
    ("missing", lambda _: ("missing", "add it")),
    ("extra_forbidden", lambda _: ("no such key", "remove it")),
    ("literal_error", lambda limits: ("no such choice", f"use one of {limits['expected']}")),
    ("greater_than_equal", lambda limits: ("too small", f"give a number from {limits['ge']} up")),
    ("greater_than", lambda limits: ("too small", f"give a number above {limits['gt']}")),
    ("less_than_equal", lambda limits: ("too large", f"give a number up to {limits['le']}")),
    ("less_than", lambda limits: ("too large", f"give a number below {limits['lt']}")),
    ("int_", lambda _: ("not a whole number", "write it like 4")),
    ("float_", lambda _: ("not a number", "write it like 0.5")),
    ("bool_", lambda _: ("not a truth value", "write true or false")),
    ("string_", lambda _: ("not a text", "put it in quotes")),
    ("list_", lambda _: ("not a list", "write it like [1, 2]")),
    ("tuple_", lambda _: ("not a list", "write it like [1, 2]")),
    ("dict_", lambda _: ("not a table", "give keys and values")),
    ("model_", lambda _: ("not a table", "give keys and values")),
)
