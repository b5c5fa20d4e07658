"""The kinds of classes that a user can bring along: what each is called, and where it is found.

lock        kernel.lock        coalsim.locks         docs/extending/lock.md
allocator   kernel.allocator   coalsim.allocators    docs/extending/allocator.md
placement   kernel.placement   coalsim.placements    docs/extending/placement.md
shootdown   kernel.shootdown   coalsim.shootdowns    docs/extending/shootdown.md
victim      kernel.victim      coalsim.victims       docs/extending/victim.md
load        workload.kind      coalsim.loads         docs/extending/load.md
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from coalsim.kits import allocator_kit, load_kit, lock_kit, placement_kit, shootdown_kit, victim_kit
from coalsim.kits.verdicts import Report
from coalsim.locks import registry as locks
from coalsim.locks.base import Lock
from coalsim.mm.phys import allocator as allocators
from coalsim.mm.phys import placement as placements
from coalsim.mm.reclaim import victim_rules
from coalsim.mm.reclaim.victim_rules import VictimRule
from coalsim.mm.shootdown import registry as shootdowns
from coalsim.mm.shootdown.base import Shootdown
from coalsim.plugins import Asked, Registry, find_class, place_of
from coalsim.study.loads import WORKLOADS
from coalsim.study.own_loads import load_registry
from coalsim.study.parameters import Parameters


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind.

    Args:
        name: what `--kind` calls it.
        key: the key of a study that names one.
        registry: by name.
        base: what a user's own is a subclass of; None: it only has to have the methods.
        report: its kit, short or long.
    """

    name: str
    key: str
    registry: Registry[object]
    base: type | None
    report: Callable[[type, bool], Report]

    def asked(self) -> Asked:
        """Asked on the command line, which is trusted."""
        return Asked(key=self.key, where="coalsim plugins check", trust=True)


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One class that can be named.

    Args:
        kind, name: of the class.
        package: coalsim, or the installed package with its version.
        source: where its code is.
        says: its first sentence; what went wrong, where it does not load.
    """

    kind: str
    name: str
    package: str
    source: str
    says: str


def kinds() -> Mapping[str, Kind]:
    """Every kind by name."""
    found = (
        _kind("lock", "kernel.lock", locks.REGISTRY, Lock, _lock),
        _kind("allocator", "kernel.allocator", allocators.REGISTRY, allocators.FrameAllocator, _allocator),
        _kind("placement", "kernel.placement", placements.REGISTRY, None, _placement),
        _kind("shootdown", "kernel.shootdown", shootdowns.REGISTRY, Shootdown, _shootdown),
        _kind("victim", "kernel.victim", victim_rules.REGISTRY, VictimRule, _victim),
        _kind("load", "workload.kind", load_registry(WORKLOADS), Parameters, _load),
    )
    return {kind.name: kind for kind in found}


def kind_of(owner: type) -> Kind | None:
    """The kind of a class, by what it is derived from or, for a placement, by its method."""
    every = kinds()
    for kind in every.values():
        if kind.base is not None and issubclass(owner, kind.base):
            return kind
    return every["placement"] if callable(getattr(owner, "nodes", None)) else None


def listing() -> Iterator[Listed]:
    """All classes that can be named without a path: coalsim's own, then those of installed packages."""
    for kind in kinds().values():
        for name, owner in kind.registry.classes.items():
            yield Listed(
                kind=kind.name,
                name=name,
                package="coalsim",
                source=owner.__module__,
                says=_first_sentence(owner),
            )
        for point in sorted(entry_points(group=kind.registry.group), key=lambda one: one.name):
            if point.name not in kind.registry.classes:
                yield _installed(kind, point)


def _installed(kind: Kind, point: EntryPoint) -> Listed:
    """A class of an installed package; one that does not load says why."""
    package = f"{point.dist.name} {point.dist.version}" if point.dist is not None else "unknown package"
    source = point.value
    try:
        owner = find_class(point.name, kind.registry, Asked(key=kind.key, where=package, trust=True))
        where, line = place_of(owner)
        source, says = f"{where}:{line}" if line else where, _first_sentence(owner)
    except Exception as error:  # whatever a stranger's class does must not take the list down
        says = f"does not load: {error}"
    return Listed(kind=kind.name, name=point.name, package=package, source=source, says=says)


def _first_sentence(owner: type) -> str:
    return (inspect.getdoc(owner) or "").strip().partition("\n")[0]


def _kind(
    name: str,
    key: str,
    registry: object,
    base: type | None,
    report: Callable[[type, bool], Report],
) -> Kind:
    return Kind(name=name, key=key, registry=cast("Registry[object]", registry), base=base, report=report)


def _lock(owner: type, quick: bool) -> Report:
    return lock_kit.lock_report(owner, seeds=lock_kit.QUICK_SEEDS if quick else lock_kit.SEEDS)


def _allocator(owner: type, quick: bool) -> Report:
    seeds = allocator_kit.QUICK_SEEDS if quick else allocator_kit.SEEDS
    return allocator_kit.allocator_report(owner, seeds=seeds)


def _placement(owner: type, quick: bool) -> Report:
    return placement_kit.placement_report(owner)


def _shootdown(owner: type, quick: bool) -> Report:
    seeds = shootdown_kit.QUICK_SEEDS if quick else shootdown_kit.SEEDS
    return shootdown_kit.shootdown_report(owner, seeds=seeds)


def _victim(owner: type, quick: bool) -> Report:
    return victim_kit.victim_report(owner, seeds=victim_kit.QUICK_SEEDS if quick else victim_kit.SEEDS)


def _load(owner: type, quick: bool) -> Report:
    return load_kit.load_report(owner, seeds=load_kit.QUICK_SEEDS if quick else load_kit.SEEDS)
