"""The loads that make mistakes on purpose: their parameters, checked.

As `loads.py`: a model's fields are the keys of the study's [workload] table beside `kind`.
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, Field, model_validator

from coalsim.engine.laws import Law
from coalsim.study.parameters import Count, LawText, Parameters, SizeText
from coalsim.study.sections import TimeText
from coalsim.units import US
from coalsim.workloads.base import Workload
from coalsim.workloads.synthetic.leaking_driver import LEAST_SIZE, PER_MILLE, LeakingDriver


class LeakingDriverParameters(Parameters):
    """Threads queue requests, finish them, and forget to free some."""

    size: SizeText = 192
    """Bytes of a request."""
    depth: Count = 32
    """Requests of each thread's queue."""
    requests: Annotated[int, Field(ge=0, le=1 << 30)] = 0
    """Of each thread; 0 = for ever, which needs run.duration."""
    sites: Annotated[int, Field(ge=1, le=1000)] = 8
    """Call sites that allocate requests."""
    leaky: Annotated[int, Field(ge=0, le=1000)] = 2
    """Of them, those that forget."""
    leak: Annotated[int, Field(ge=0, le=PER_MILLE)] = 10
    """Of a thousand requests of such a site, how many are forgotten."""
    think: LawText = Law(kind="exp", mean=2 * US)
    """Time between two requests of a thread."""
    linger: TimeText = 0
    """How long a thread sleeps when its last request is done, so that scans find what it lost."""

    @model_validator(mode="after")
    def _fits(self) -> "LeakingDriverParameters":
        if self.size < LEAST_SIZE:
            raise ValueError(
                f"a request of {self.size} bytes has no room for its link; use at least {LEAST_SIZE}"
            )
        if self.leaky > self.sites:
            raise ValueError(f"{self.leaky} leaky sites of {self.sites}; use at most {self.sites}")
        return self

    def build(self) -> Workload:
        """The load."""
        return LeakingDriver(
            cpus=self.cpus,
            size=self.size,
            depth=self.depth,
            requests=self.requests,
            sites=self.sites,
            leaky=self.leaky,
            leak=self.leak,
            think=self.think,
            linger=self.linger,
            spread=self.spread,
        )


DEBUG_WORKLOADS: Mapping[str, type[BaseModel]] = {"leaking_driver": LeakingDriverParameters}
