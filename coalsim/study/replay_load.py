"""The replay of a recorded trace, as a study asks for it: ``kind = "replay"``.

[workload]
kind = "replay"
trace = "trace.perf.txt.gz"
mode = "closed"
"""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from coalsim.guarded import DEFAULT_MAX_INPUT
from coalsim.study.sections import Section, TimeText
from coalsim.units import parse_size
from coalsim.workloads.replay.load import Layer, Mode, Replay, ReplayPlan
from coalsim.workloads.replay.placing import Placing
from coalsim.workloads.replay.recorded_start import memory_needed, recorded_zones
from coalsim.workloads.trace.snapshot import read_snapshot


def _size(value: object) -> object:
    return parse_size(value) if isinstance(value, str) else value


class ReplayLoad(Section):
    """Parameters of a replay."""

    default_profile: ClassVar[str] = "linux-6.18"
    """Nearest to what today's traces were recorded on."""
    paths: ClassVar[tuple[str, ...]] = ("trace", "snapshots")
    """Keys that name files; in a study file they are relative to it."""

    trace: Annotated[str, Field(min_length=1)]
    """Text of perf script, ftrace or trace-cmd, plain or gzip."""
    format: Literal["auto", "perf", "ftrace", "trace-cmd"] = "auto"
    mode: Mode = "open"
    """open: operations begin at their recorded times; closed: after the recorded gaps."""
    layer: Layer = "both"
    """Objects (kmalloc, caches), pages, or both."""
    clone: Annotated[int, Field(ge=1, le=8192)] = 1
    """Copies of the recording side by side, each with its own CPUs, pointers and frames."""
    map: Placing = "compact"
    """Which simulated CPUs: compact, scatter, or node (each copy on a node of its own)."""
    overhead: TimeText = 0
    """Time of tracing itself, taken off each gap of the closed loop."""
    snapshots: str = ""
    """Start from the recorded machine's free blocks and page lists."""
    max_input: Annotated[int, BeforeValidator(_size), Field(ge=1)] = DEFAULT_MAX_INPUT
    """Bytes to read at most, unpacked."""

    def memory_needed(self, max_order: int) -> int:
        """Bytes that the recorded zones need; 0 if the replay does not start from them.

        Raises:
            InputError: the snapshot cannot be read.
        """
        if not self.snapshots:
            return 0
        snapshot = read_snapshot(self.snapshots, self.max_input)
        return memory_needed(recorded_zones(snapshot, self.snapshots), max_order)

    def build(self) -> Replay:
        """The load.

        Raises:
            InputError: the trace or the snapshot cannot be read.
        """
        plan = ReplayPlan(
            trace=self.trace,
            format=self.format,
            mode=self.mode,
            layer=self.layer,
            clone=self.clone,
            placing=self.map,
            overhead=self.overhead,
            snapshots=self.snapshots,
            max_input=self.max_input,
        )
        return Replay(plan)
