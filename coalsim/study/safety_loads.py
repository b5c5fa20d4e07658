"""The load with planted memory errors: its parameters, checked.

As `loads.py`: a model's fields are the keys of the study's [workload] table beside `kind`.  A study of it
sets the debug modes of the kernel, without which the first wrong free ends the run.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from coalsim.study.parameters import Count, Parameters, SizeText
from coalsim.workloads.base import Workload
from coalsim.workloads.synthetic.memory_errors import KINDS, Fatal, MemoryErrors

Kind = Literal["overflow", "underflow", "use after free", "double free", "wrong cache", "interior free"]


def _one_or_more(value: object) -> object:
    return value if isinstance(value, list | tuple) else [value]


class MemoryErrorsParameters(Parameters):
    """Threads use kernel objects, and make mistakes."""

    rounds: Count = 1000
    """Of each thread."""
    held: Annotated[int, Field(ge=1, le=1 << 20)] = 32
    """Objects that each keeps."""
    least: Annotated[SizeText, Field(ge=16)] = 16
    most: SizeText = 512
    errors: Annotated[int, Field(ge=0, le=100_000)] = 4
    """Mistakes of each kind, over all threads."""
    kinds: Annotated[tuple[Kind, ...], BeforeValidator(_one_or_more)] = KINDS  # type: ignore[assignment]
    """Which mistakes."""
    fatal: Fatal = "none"
    """The last mistake: `guard` writes behind an allocation of whole pages, `stack` overflows the stack."""

    @model_validator(mode="after")
    def _fits(self) -> "MemoryErrorsParameters":
        if self.least > self.most:
            raise ValueError(f"the least size {self.least} is above the most {self.most}; swap them")
        return self

    def build(self) -> Workload:
        """The load."""
        return MemoryErrors(
            cpus=self.cpus,
            rounds=self.rounds,
            held=self.held,
            least=self.least,
            most=self.most,
            errors=self.errors,
            kinds=self.kinds,
            fatal=self.fatal,
            spread=self.spread,
        )


SAFETY_WORKLOADS: Mapping[str, type[BaseModel]] = {"memory_errors": MemoryErrorsParameters}
"""Every kind with its parameters."""
