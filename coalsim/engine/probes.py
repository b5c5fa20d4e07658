"""Probes: others may listen to what happens, at no cost when nobody does.

A `Probe` is a list of listeners.  The code that fires it writes

    if probe.listeners:
        probe.fire(cpu.clock, cpu.id, ...)

so a probe without listeners costs one truth test.  Listeners must not change the
simulation: they run inside it, in an order that differs between the modes; sort
what you collect by (time, cpu, number).
"""

from collections.abc import Callable


class Probe:
    """One named place that can be listened to."""

    __slots__ = ("listeners", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.listeners: list[Callable[..., None]] = []

    def fire(self, *facts: object) -> None:
        """Tell every listener, in the order in which they came."""
        for listener in self.listeners:
            listener(*facts)


class Probes:
    """All probes of a system by name; asking for one makes it."""

    def __init__(self) -> None:
        self._by_name: dict[str, Probe] = {}

    def probe(self, name: str) -> Probe:
        """The probe of that name."""
        return self._by_name.setdefault(name, Probe(name))

    def listen(self, name: str, listener: Callable[..., None]) -> None:
        """Call `listener` whenever the probe fires."""
        self.probe(name).listeners.append(listener)

    def names(self) -> list[str]:
        """The names of all probes, sorted."""
        return sorted(self._by_name)
