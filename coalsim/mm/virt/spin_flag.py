"""A word in user memory that threads spin on; shared state: `sync` before every look."""

from collections.abc import Sequence

from coalsim.cpus.access import USER
from coalsim.cpus.cpu import Cpu
from coalsim.cpus.deadlock import Agent
from coalsim.engine.clock import Op
from coalsim.units import Time


class SpinFlag:
    """A word in user memory that threads spin on.

    Args:
        name: for reports of runs in which nobody sets it.
    """

    __slots__ = ("_spinners", "is_set", "name")

    def __init__(self, name: str = "flag") -> None:
        self.name = name
        self.is_set = False
        self._spinners: list[Cpu] = []

    def set(self, cpu: Cpu) -> Op[None]:
        """Let all who spin on it go on, one line transfer later."""
        yield from cpu.sync()
        self.is_set = True
        spinners, self._spinners = self._spinners, []
        for spinner in spinners:
            spinner.blocked_on = None
            spinner.alarm.arm(cpu.clock + max(1, spinner.transfer[cpu.id]))

    def wait(self, cpu: Cpu) -> Op[None]:
        """Spin until it is set or somebody wants the processor; serves interrupts, without events."""
        yield from cpu.sync()
        if not self.is_set:
            self._spinners.append(cpu)
            cpu.blocked_on = self
            yield from cpu.wait(USER)

    def give_way(self, cpu: Cpu, at: Time) -> None:
        """A signal, or a ready thread, ends the spinning of that processor at `at` (> now); synchronised."""
        if cpu in self._spinners:
            self._spinners.remove(cpu)
            cpu.blocked_on = None
            cpu.alarm.arm(at)

    def blockers(self) -> Sequence[Agent]:
        """Anybody may set it, so nobody is known to be in the way."""
        return ()

    def describe(self) -> str:
        """As reports name it."""
        return f"{self.name}, spinning in user code"
