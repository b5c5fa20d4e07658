"""Machines that are read once for many points.

Reading a machine takes longer than all else that a point is checked for, and a thousand points
have few machines.
"""

from functools import lru_cache

from coalsim.study.spec import StudySpec
from coalsim.topology.machine import Machine
from coalsim.topology.presets import load_machine

_NAMED = 16
_CHANGED = 64
"""Machines that are kept, by name and with changes; a big one takes some megabytes."""


class MachineShelf:
    """Machines by name and changes, the latest few of them kept."""

    def __init__(self) -> None:
        self._named = lru_cache(_NAMED)(_load)
        self._changed = lru_cache(_CHANGED)(self._change)

    def machine_of(self, spec: StudySpec, max_input: int | None) -> Machine:
        """The machine that a study names, with its changes.

        Raises:
            ConfigError: there is none, or it cannot be changed so.
        """
        return self._changed(spec.machine, tuple(spec.machine_changes.items()), max_input)

    def _change(self, name: str, changes: tuple[tuple[str, str], ...], max_input: int | None) -> Machine:
        machine = self._named(name, max_input)
        return machine.with_overrides(dict(changes)) if changes else machine


def _load(name: str, max_input: int | None) -> Machine:
    return load_machine(name) if max_input is None else load_machine(name, max_input)
