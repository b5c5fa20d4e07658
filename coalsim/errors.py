"""Every exception coalsim raises.

CoalsimError
  ConfigError        a machine, policy or study that cannot exist; carries every mistake found
    InputError       a file that cannot be read as what it is said to be
  KernelBug          the simulated kernel broke one of its own rules: the run is worthless
    BadFree          memory freed that may not be freed
      DoubleFree     it is free already
      ForeignFree    it never came from here
      InteriorFree   the address points into the middle of a block
    LockMisuse       a lock taken out of order, twice, released by a stranger, slept under
    DeadlockError    processors that wait for each other for ever
    KernelPanic      an access of the kernel's own that nothing can make good
    MemoryErrorsFound  the debug modes found damaged objects or wrong frees

What a real kernel expects (no memory, lock busy) is a return value, not this.
All data of an exception is in `args`: SimPy copies exceptions as ``type(e)(*e.args)``.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One mistake in something that the user gave us.

    `where` is the file or option, `line` counts from 1 (0: no line), `key` is the
    dotted key, `value` the offending value as text, `message` what is wrong and
    `remedy` what to do about it.
    """

    message: str
    remedy: str
    where: str = ""
    line: int = 0
    key: str = ""
    value: str = ""

    def __str__(self) -> str:
        place = self.where + (f":{self.line}" if self.line else "")
        subject = self.key + (f" = {self.value}" if self.value else "") if self.key else self.value
        head = ": ".join(part for part in (place, subject) if part)
        return (f"{head}: " if head else "") + f"{self.message}; {self.remedy}"


class CoalsimError(Exception):
    """Catch this to catch everything coalsim raises."""


class ConfigError(CoalsimError):
    """The caller asked for something that cannot be built.

    Args:
        problems: all the mistakes, or one message.
    """

    def __init__(self, problems: Sequence[Problem] | str) -> None:
        super().__init__(problems)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Each mistake by itself."""
        given = self.args[0]
        if isinstance(given, str):
            return (Problem(message=given, remedy="see the documentation of the call"),)
        return tuple(given)

    def __str__(self) -> str:
        given = self.args[0]
        return given if isinstance(given, str) else "\n".join(str(problem) for problem in given)


class InputError(ConfigError):
    """A file from outside is missing, damaged, too large, or of another kind."""


class KernelBug(CoalsimError):
    """The simulated kernel broke an invariant, so the run is worthless."""


class BadFree(KernelBug):
    """Memory was freed that may not be freed.

    Args:
        address: what was freed (a frame number or a pointer).
        detail: who owns it, who freed it before.
    """

    what = "cannot be freed"

    def __init__(self, address: int, detail: str = "") -> None:
        super().__init__(address, detail)

    def __str__(self) -> str:
        address, detail = self.args
        return f"{address:#x} {self.what}" + (f": {detail}" if detail else "")


class DoubleFree(BadFree):
    """It is free already."""

    what = "is free already"


class ForeignFree(BadFree):
    """It never came from this allocator."""

    what = "does not belong to this allocator"


class InteriorFree(BadFree):
    """The address points into the middle of a block."""

    what = "is not the start of a block"


class LockMisuse(KernelBug):
    """A locking rule was broken; the text names the lock and both call sites."""


class DeadlockError(KernelBug):
    """Processors wait for each other for ever; the text says who waits for what."""


class KernelPanic(KernelBug):
    """The simulated kernel touched memory that it may not touch, and stopped.

    Args:
        report: registers, fault address, error bits, last operations.
    """


class MemoryErrorsFound(KernelBug):
    """The debug modes found objects damaged or freed wrongly; the kernel went on.

    Raised when the results are written: they hold the findings.
    """


class BrokenPromise(KernelBug):
    """The shootdown policy let a processor use a translation after it had reported its end.

    Raised when the results are written: they hold the oracle's findings.
    """
