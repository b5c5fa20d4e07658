"""The loads for bad days: the parameters of each kind, checked.

Their kernels reclaim unless the study says otherwise: a study of one of them sets kernel.reclaim.
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, Field, model_validator

from coalsim.study.parameters import Count, Parameters
from coalsim.workloads.base import Workload
from coalsim.workloads.vm.oom_storm import OomStorm


class OomStormParameters(Parameters):
    """Processes that together ask for more memory than there is."""

    processes: Annotated[int, Field(ge=1, le=1 << 14)] = 40
    threads: Annotated[int, Field(ge=1, le=1 << 10)] = 1
    """Of each process."""
    mib: Annotated[int, Field(ge=1, le=1 << 20)] = 8
    """The most that a process is after; the least is a quarter."""
    unkillable: Annotated[int, Field(ge=0, le=1 << 14)] = 2
    """Processes that the OOM killer must not choose."""
    rounds: Count = 1
    """How often each process takes and gives back what it is after."""

    @model_validator(mode="after")
    def _fits(self) -> "OomStormParameters":
        if self.unkillable > self.processes:
            most = f"use at most {self.processes}"
            raise ValueError(f"{self.unkillable} unkillable ones of {self.processes} processes; {most}")
        return self

    def build(self) -> Workload:
        """The load."""
        return OomStorm(
            cpus=self.cpus,
            processes=self.processes,
            threads=self.threads,
            mib=self.mib,
            unkillable=self.unkillable,
            rounds=self.rounds,
            spread=self.spread,
        )


PRESSURE_WORKLOADS: Mapping[str, type[BaseModel]] = {
    "oom_storm": OomStormParameters,
}
"""Every kind with its parameters."""
