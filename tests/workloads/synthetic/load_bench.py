"""Runs a synthetic load on a small system and gives its result document."""

from collections.abc import Iterator, Mapping

from coalsim.boot import System, SystemConfig
from coalsim.locks.base import SpinLock
from coalsim.locks.registry import LOCKS
from coalsim.mm.kmem.magazine_types import MagazineTypes
from coalsim.observe.document import ResultDocument, dump
from coalsim.observe.histogram import Histogram
from coalsim.profiles.profile import load_profile
from coalsim.study.loads import WORKLOADS
from coalsim.study.measuring import measure
from coalsim.topology.presets import load_machine
from coalsim.units import Time
from coalsim.workloads.base import Workload

MODES: tuple[dict[str, bool], ...] = (
    {"run_ahead": False, "fast_paths": False, "tick_events": True},  # the reference
    {"run_ahead": False, "fast_paths": False},
    {"run_ahead": False},
    {"fast_paths": False},
    {},
)


def build(kind: str, parameters: Mapping[str, object]) -> Workload:
    """A fresh load from the keys of a study's [workload] table."""
    load: Workload = WORKLOADS[kind].model_validate(dict(parameters)).build()  # type: ignore[attr-defined]
    return load


def system(
    machine: str = "coal",
    profile: str = "coal",
    switches: Mapping[str, str] | None = None,
    *,
    machine_changes: Mapping[str, str] | None = None,
    magazine_types: MagazineTypes | None = None,
    seed: int = 1,
    mode: Mapping[str, bool] | None = None,
) -> System:
    """A system that nothing runs on yet."""
    chosen = load_profile(profile).with_overrides(switches or {})
    lock = LOCKS[chosen.switches.lock]
    assert issubclass(lock, SpinLock)
    return System(
        SystemConfig(
            machine=load_machine(machine).with_overrides(machine_changes or {}),
            profile=chosen,
            lock=lock,
            recorder=Histogram,
            seed=seed,
            magazine_types=magazine_types,
            **(mode or {}),
        )
    )


def run(booted_on: System, load: Workload, duration: Time = 0, warmup: Time = 0) -> ResultDocument:
    """Run a load to its end, or for some time."""
    load.start(booted_on)
    booted_on.boot()
    return measure(booted_on, load, "test", warmup, duration)


def text(document: ResultDocument) -> str:
    """Everything that may not differ between the modes."""
    return dump({key: value for key, value in document.items() if key not in ("host_s", "events")})


def differences(one: object, other: object, path: str = "") -> Iterator[str]:
    """Where two documents differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            yield from differences(one.get(key), other.get(key), f"{path}.{key}")
    elif one != other:
        yield f"{path}: {one} is not {other}"
