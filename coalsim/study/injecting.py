"""[inject]: what a study lets go wrong, as rules in words.

    fail   "pages site=fault nth=5"             the fifth request for pages at that site gets none
           "pages order=3 every=10 cpu=2"       each tenth request of CPU 2 for blocks of 8 pages
           "objects cache=kmalloc-64 share=1%"  one in a hundred of these objects
    delay  "lock mmap_lock by=50us share=1%"    its holder is busy for so long, once in a hundred times
           "lock zone* site=fault by=1us"       patterns name several classes and sites
           "ipi by=10us every=100 cpu=0"        each hundredth sending of CPU 0 is late
    away   "cpu 3 from=1ms for=2ms"             it does not run, whatever it is doing
           "node 1 from=1ms for=5ms"            its zones give nothing

Words: nth, every, share, times say at which chances (none: at every one); site and cache are patterns
as the shell has them.

Nothing is built here; all mistakes are found in one go, each names its rule.
"""

import re
from collections.abc import Callable, Sequence
from fnmatch import translate

from pydantic import field_validator

from coalsim.cpus.delayed_delivery import IpiDelay
from coalsim.engine.occasions import When
from coalsim.errors import ConfigError, Problem
from coalsim.injection import CpuAway, Injection, NodeAway
from coalsim.locks.delayed import LockDelay
from coalsim.mm.debug.failing import FailRule
from coalsim.study.sections import Section
from coalsim.topology.machine import Machine
from coalsim.units import CpuId, NodeId, Time, parse_time

CHANCES = ("nth", "every", "share", "times")
WORDS = {
    "pages": ("site", "order", "cpu", *CHANCES),
    "objects": ("site", "cache", "cpu", *CHANCES),
    "lock": ("site", "by", *CHANCES),
    "ipi": ("by", "cpu", *CHANCES),
    "cpu": ("from", "for"),
    "node": ("from", "for"),
}
KINDS = {"fail": ("pages", "objects"), "delay": ("lock", "ipi"), "away": ("cpu", "node")}
NAMED = ("lock", "cpu", "node")
"""Kinds whose second word is a name."""


class InjectSection(Section):
    """[inject]: what goes wrong."""

    fail: tuple[str, ...] = ()
    """Allocations that get nothing."""
    delay: tuple[str, ...] = ()
    """Locks that are held for longer, interrupts that come late."""
    away: tuple[str, ...] = ()
    """CPUs that do not run for a while, nodes whose memory is not to be had."""

    @field_validator("fail", "delay", "away", mode="before")
    @classmethod
    def _one_or_more(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    def check(self, machine: Machine) -> None:
        """Refuse rules that are none, or that the machine has no place for.

        Raises:
            ConfigError: all mistakes.
        """
        problems: list[Problem] = []
        for key, rules in (("fail", self.fail), ("delay", self.delay), ("away", self.away)):
            for text in rules:
                problems += _mistakes(key, text, machine)
        if problems:
            raise ConfigError(problems)

    def build(self) -> Injection:
        """The rules, for one run; they have been checked."""
        fail, locks, ipis, cpus, nodes = [], [], [], [], []
        for number, text in enumerate(self.fail):
            kind, _, words = _parts(text)
            fail.append(
                FailRule(
                    kind,
                    site=words.get("site", "*"),
                    cache=words.get("cache", "*"),
                    order=int(words.get("order", "-1")),
                    cpu=int(words.get("cpu", "-1")),
                    when=_when(words),
                    number=number,
                )
            )
        for number, text in enumerate(self.delay):
            kind, name, words = _parts(text)
            by = parse_time(words["by"])
            if kind == "lock":
                locks.append(LockDelay(name, words.get("site", "*"), by, _when(words), number))
            else:
                ipis.append(IpiDelay(by, int(words.get("cpu", "-1")), _when(words), number))
        for text in self.away:
            kind, name, words = _parts(text)
            begin = parse_time(words["from"])
            end = begin + parse_time(words["for"])
            if kind == "cpu":
                cpus.append(CpuAway(cpu=CpuId(int(name)), begin=begin, end=end))
            else:
                nodes.append(NodeAway(node=NodeId(int(name)), begin=begin, end=end))
        return Injection(fail=fail, lock_delays=locks, ipi_delays=ipis, cpus_away=cpus, nodes_away=nodes)

    @property
    def is_empty(self) -> bool:
        """Nothing goes wrong."""
        return not (self.fail or self.delay or self.away)


def _parts(text: str) -> tuple[str, str, dict[str, str]]:
    """Kind, name (where the kind has one) and the words of a rule."""
    kind, *rest = text.split() or [""]
    name = rest.pop(0) if kind in NAMED and rest and "=" not in rest[0] else ""
    return kind, name, dict(word.partition("=")[::2] for word in rest)


def _when(words: dict[str, str]) -> When:
    return When(
        nth=int(words.get("nth", "0")),
        every=int(words.get("every", "0")),
        share=_share(words.get("share", "0")),
        times=int(words.get("times", "0")),
    )


def _share(text: str) -> float:
    share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if not 0 <= share <= 1:
        raise ValueError
    return share


def _some_share(text: str) -> float:
    """0 would be read as a rule without a share, which means every chance."""
    if not (share := _share(text)):
        raise ValueError
    return share


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError
    return int(text)


def _positive(text: str) -> int:
    if not (number := _whole(text)):
        raise ValueError
    return number


def _time(text: str) -> Time:
    if (time := parse_time(text)) < 0:
        raise ValueError
    return time


def _span(text: str) -> Time:
    if not (time := _time(text)):
        raise ValueError
    return time


def _pattern(text: str) -> object:
    if not text:
        raise ValueError
    return re.compile(translate(text))


READERS: dict[str, tuple[Callable[[str], object], str]] = {
    "nth": (_positive, "a number from 1 up"),
    "every": (_positive, "a number from 1 up"),
    "times": (_positive, "a number from 1 up"),
    "share": (_some_share, "a share such as 1% or 0.01, above 0"),
    "order": (_whole, "an order such as 0"),
    "cpu": (_whole, "a CPU's number"),
    "by": (_span, "a time such as 10us"),
    "for": (_span, "a time such as 2ms"),
    "from": (_time, "a time such as 1ms"),
    "site": (_pattern, "a call site or a pattern"),
    "cache": (_pattern, "a cache or a pattern"),
}
NEEDED = {"lock": ("by",), "ipi": ("by",), "cpu": ("from", "for"), "node": ("from", "for")}


def _mistakes(key: str, text: str, machine: Machine) -> Sequence[Problem]:
    """What is wrong with a rule."""
    found: list[Problem] = []

    def wrong(message: str, remedy: str) -> None:
        found.append(Problem(key=f"inject.{key}", value=text, message=message, remedy=remedy))

    kind, name, _ = _parts(text)
    if kind not in KINDS[key]:
        wrong(f"no rule begins with {kind or 'nothing'} here", f"begin with {' or '.join(KINDS[key])}")
        return found
    words = text.split()[2 if name else 1 :]
    if kind in NAMED and not name:
        example = {
            "lock": "lock mmap_lock by=10us",
            "cpu": "cpu 3 from=1ms for=2ms",
            "node": "node 1 from=1ms for=2ms",
        }
        wrong(f"{kind} needs a name", f"write it like {example[kind]}")
    given = {}
    for word in words:
        what, equals, value = word.partition("=")
        if what not in WORDS[kind] or not equals:
            wrong(f"{word} is no word of such a rule", f"use {', '.join(f'{one}=' for one in WORDS[kind])}")
            continue
        reader, wanted = READERS[what]
        try:
            reader(value)
        except ValueError:
            wrong(f"{what}={value} is not {wanted}", f"give {what} {wanted}")
            continue
        if what in given:
            wrong(f"{what} is given twice", "leave one of them out")
        given[what] = value
    for what in NEEDED.get(kind, ()):
        if not any(word.startswith(f"{what}=") for word in words):
            wrong(f"{what} is missing", f"give {what} {READERS[what][1]}")
    places = {"cpu": machine.num_cpus, "node": machine.num_nodes}
    number = name if kind in places else given.get("cpu", "")
    most = places.get(kind, machine.num_cpus)
    if number and not (number.isascii() and number.isdigit() and len(number) < 10 and int(number) < most):
        thing = kind if kind in places else "cpu"
        wrong(f"machine {machine.name} has no {thing} {number}", f"use 0 to {most - 1}")
    return found
