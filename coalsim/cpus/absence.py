"""Times at which chosen processors do not run: planned, where `vcpu.py` draws them.

What being away does to a processor is in `virtual.py`: its charges last longer, what is sent to it
waits, and the locks that it holds stay held.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence

from coalsim.cpus.vcpu import NEVER, Stolen, VcpuSchedule
from coalsim.units import CpuId, Time


class Absences(VcpuSchedule):
    """Planned times away.

    Args:
        windows: by processor, when it goes and when it comes back; those that touch are one.
    """

    def __init__(self, windows: Mapping[CpuId, Sequence[tuple[Time, Time]]]) -> None:
        self._windows = {cpu: _joined(times) for cpu, times in windows.items()}

    @property
    def steals(self) -> bool:
        """Whether any processor is ever away."""
        return bool(self._windows)

    def stolen_after(self, cpu: CpuId, at: Time) -> Stolen:
        """The first time away that ends after `at`."""
        windows = self._windows.get(cpu, [])
        index = bisect_right(windows, at, key=lambda window: window.given_back)
        return windows[index] if index < len(windows) else NEVER


def _joined(times: Sequence[tuple[Time, Time]]) -> list[Stolen]:
    joined: list[Stolen] = []
    for begin, end in sorted(times):
        if joined and begin <= joined[-1].given_back:
            joined[-1] = Stolen(joined[-1].taken, max(joined[-1].given_back, end))
        else:
            joined.append(Stolen(begin, end))
    return joined
