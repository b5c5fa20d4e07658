"""What the parameter models of all loads share: their field types, CPUs, teams.

Laws are texts such as ``exp:56.3ns``, sizes bytes or texts such as ``4KiB``; each type
writes itself so that it can be read again.
"""

from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from coalsim.engine.laws import Law, parse_law
from coalsim.study.sections import Section
from coalsim.units import parse_size
from coalsim.workloads.synthetic.places import Spread
from coalsim.workloads.vm.team import Mode, Start, Team


def _law(value: object) -> Law:
    if isinstance(value, Law):
        return value
    if not isinstance(value, str):
        raise ValueError("not a law; write it as text, like exp:56.3ns or const:37.7ns")
    return parse_law(value)


def law_text(law: Law) -> str:
    """A law so that it is read back as exactly the same, which its rounded form for people is not."""
    if law.kind == "uniform":
        return f"uniform:{law.low}ps:{law.high}ps"
    shape = f"{law.shape!r}:" if law.kind in ("erlang", "hyper") else ""
    return f"{law.kind}:{shape}{law.mean}ps"


def _one_or_more(value: object) -> object:
    return value if isinstance(value, list | tuple) else [value]


def _size(value: object) -> object:
    return parse_size(value) if isinstance(value, str) else value


LAW_SCHEMA: dict[str, object] = {
    "type": "string",
    "pattern": r"^(const|exp|uniform|erlang|hyper):(.+:)?[0-9][0-9_]*(\.[0-9]+)?\s*(ps|ns|us|µs|ms|s)$",
    "description": "A law such as exp:56.3ns, const:37.7ns or uniform:0ns:1us.",
}
"""What editors are told of a law."""
SIZE_SCHEMA: dict[str, object] = {
    "anyOf": [
        {"type": "integer", "minimum": 1},
        {"type": "string", "pattern": r"^\s*[0-9][0-9_]*(\.[0-9]+)?\s*([kKmMgGtT]?([iI]?[bB])?)\s*$"},
    ],
    "description": "Bytes, or a size such as 4KiB.",
}
"""What editors are told of a size."""
LawText = Annotated[Law, BeforeValidator(_law), PlainSerializer(law_text), WithJsonSchema(LAW_SCHEMA)]
"""A pydantic field that reads ``exp:56.3ns``, and writes itself so that it can be read again."""
LawTexts = Annotated[
    tuple[LawText, ...],
    BeforeValidator(_one_or_more),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [LAW_SCHEMA, {"type": "array", "items": LAW_SCHEMA, "minItems": 1}]}),
]
"""The same for one law or a list of them."""
SizeText = Annotated[int, BeforeValidator(_size), Field(ge=1, le=1 << 40), WithJsonSchema(SIZE_SCHEMA)]
"""A pydantic field that reads bytes, or ``4KiB``."""
Count = Annotated[int, Field(ge=1, le=1 << 30)]
Cpus = Annotated[int, Field(ge=1, le=1 << 20)]
Order = Annotated[int, Field(ge=0, le=20)]


class Parameters(Section):
    """What all loads can be told."""

    cpus: Cpus = 4
    """How many CPUs take part, one thread each."""
    spread: Spread = "compact"
    """Which: `compact` cores node after node, `node` all hardware threads of a node first, `scatter`."""


class TeamParameters(Parameters):
    """The same, for loads whose tasks have address spaces."""

    rounds: Annotated[int, Field(ge=0, le=1 << 30)] = 0
    """Of each task's loop; 0 = for ever, which needs run.duration."""

    def threads(self) -> Team:
        """The team, as threads of one process."""
        return Team(cpus=self.cpus, mode="threads", spread=self.spread, rounds=self.rounds)


class ModeParameters(TeamParameters):
    """The same, where the tasks may be threads or processes."""

    mode: Mode = "processes"
    """`threads` of one process, or `processes` of one thread."""
    start: Start = "together"
    """All tasks `together`, or `spread` over the first `START_WIDTH`, which differs with the seed."""

    def team(self) -> Team:
        """The team."""
        return Team(cpus=self.cpus, mode=self.mode, spread=self.spread, rounds=self.rounds, starts=self.start)
