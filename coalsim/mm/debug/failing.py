"""Allocations that fail at chosen places: what a fault injection asks for.

    pages     a request to the page allocator, before it is looked at
    objects   kmalloc, or an object of a named cache

A request that must not fail is never refused.  While there are such rules, no verb answers
without waiting, so every request is seen with its call site; chances are counted synchronised, in
one order for the whole machine.
Source: Linux lib/fault-inject.c (fail_page_alloc, failslab), for the idea and the words.
"""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.engine.occasions import Occasions, When
from coalsim.engine.streams import Streams
from coalsim.mm.kmem.verbs import ObjectVerbs
from coalsim.mm.phys.context import AllocContext

UNFAILING = (AllocContext.MUST, AllocContext.RESERVE)


class FailRule:
    """Which requests are refused.

    Args:
        what: `pages` or `objects`.
        site: pattern of call sites.
        cache: pattern of caches (of kmalloc: its class, such as kmalloc-64); of objects only.
        order: of pages only; -1: any.
        cpu: -1: any.
        when: which of them.
        number: of the rule, which names its random numbers.
    """

    def __init__(
        self, what: str, site: str, cache: str, order: int, cpu: int, when: When, number: int
    ) -> None:
        self.what = what
        self.site = site
        self.cache = cache
        self.order = order
        self.cpu = cpu
        self.when = when
        self.number = number
        self.refused: dict[str, int] = {}  # by call site
        self.chances = 0  # requests that fitted


class _Rules:
    """Rules of one kind, with their chances."""

    def __init__(self, rules: Sequence[FailRule], streams: Streams) -> None:
        self._rules = [
            (rule, Occasions(rule.when, streams.stream(f"inject fail {rule.number}"))) for rule in rules
        ]

    @property
    def chances(self) -> int:
        """Requests that rules have been asked about, each rule by itself."""
        return sum(occasions.chances for _, occasions in self._rules)

    def refuse(self, cpu: Cpu, site: str, fits: Callable[[FailRule], bool]) -> bool:
        """Whether a rule refuses a request; synchronised."""
        refused = False
        for rule, occasions in self._rules:
            is_meant = rule.cpu in (-1, cpu.id) and fnmatchcase(site, rule.site) and fits(rule)
            rule.chances += is_meant
            if is_meant and occasions.is_now():
                rule.refused[site] = rule.refused.get(site, 0) + 1
                refused = True
        return refused


class FailingPages:
    """`PageGate` of a kernel whose page allocator refuses at times."""

    def __init__(self, rules: Sequence[FailRule], streams: Streams) -> None:
        self._rules = _Rules([rule for rule in rules if rule.what == "pages"], streams)

    @property
    def chances(self) -> int:
        """Requests that fitted a rule."""
        return self._rules.chances

    def refuses(self, cpu: Cpu, order: int, site: str, context: AllocContext) -> Op[bool]:
        """The request is to fail."""
        yield from cpu.sync()
        if context in UNFAILING:
            return False
        return self._rules.refuse(cpu, site, lambda rule: rule.order in (-1, order))


class FailingObjects:
    """A layer over kernel objects that refuses at times.

    Args:
        inner: who answers otherwise.
        rules: which requests are refused.
        streams: the run's random numbers.
        name_of: a cache by its handle.
        class_of: the cache that serves a kmalloc of so many bytes with that alignment.
    """

    def __init__(
        self,
        inner: ObjectVerbs,
        rules: Sequence[FailRule],
        streams: Streams,
        name_of: Callable[[int], str],
        class_of: Callable[[int, int], str],
    ) -> None:
        self._inner = inner
        self._rules = _Rules([rule for rule in rules if rule.what == "objects"], streams)
        self._name_of = name_of
        self._class_of = class_of
        self.cache = inner.cache
        self.kfree = inner.kfree
        self.kmalloc_size = inner.kmalloc_size
        self.give_object = inner.give_object
        self.kfree_now = inner.kfree_now
        self.give_object_now = inner.give_object_now

    @property
    def chances(self) -> int:
        """Requests that fitted a rule."""
        return self._rules.chances

    def kmalloc_now(self, cpu: Cpu, size: int) -> int:
        """Never: the site is needed."""
        return 0

    def take_object_now(self, cpu: Cpu, cache: int) -> int:
        """Never: the site is needed."""
        return 0

    def kmalloc(self, cpu: Cpu, size: int, site: str, context: AllocContext = AllocContext.KERNEL) -> Op[int]:
        """An address, unless a rule refuses."""
        if (yield from self._refuses(cpu, self._class_of(size, 1), site, context)):
            return 0
        return (yield from self._inner.kmalloc(cpu, size, site, context))

    def kmalloc_aligned(
        self, cpu: Cpu, size: int, align: int, site: str, context: AllocContext = AllocContext.KERNEL
    ) -> Op[int]:
        """The same, aligned."""
        if (yield from self._refuses(cpu, self._class_of(size, align), site, context)):
            return 0
        return (yield from self._inner.kmalloc_aligned(cpu, size, align, site, context))

    def take_object(
        self, cpu: Cpu, cache: int, site: str, context: AllocContext = AllocContext.KERNEL
    ) -> Op[int]:
        """An object of a named cache, unless a rule refuses."""
        if (yield from self._refuses(cpu, self._name_of(cache), site, context)):
            return 0
        return (yield from self._inner.take_object(cpu, cache, site, context))

    def _refuses(self, cpu: Cpu, cache: str, site: str, context: AllocContext) -> Op[bool]:
        yield from cpu.sync()
        if context in UNFAILING:
            return False
        return self._rules.refuse(cpu, site, lambda rule: fnmatchcase(cache, rule.cache))
