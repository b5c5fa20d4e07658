"""A user's own load: one class, whose fields are the keys of [workload].

    class MyLoad(Load):
        size: int = 64                                    # workload.size
        def thread(self, host, cpu, shared) -> Op[None]:  # what one CPU does
            ...

A study names it as `workload.kind = "./file.py:MyLoad"`, or by the name of an entry
point of the group `coalsim.loads`.  Who wants tasks with address spaces, or another way
to place threads, writes a subclass of `Parameters` whose `build` makes a `Workload`.

Whatever a foreign load does wrong is told with its file and line: its threads are
watched at every step in which they wait, its attributes and results when they are read.
Loads of coalsim's own are not watched.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from inspect import isgenerator
from typing import ClassVar, cast

from pydantic import BaseModel
from simpy.events import Event

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.errors import CoalsimError, ConfigError
from coalsim.plugins import Asked, Registry, error_line, failure_in, find_class, names_code, nonsense, shown
from coalsim.study.parameters import Parameters
from coalsim.units import CpuId
from coalsim.workloads.base import Host, VirtualHost, Workload
from coalsim.workloads.synthetic.places import choose_cpus

KEY = "workload.kind"


class Load(Parameters):
    """Base of loads that are one class; a frozen pydantic model, with `cpus` and `spread`.

    What must not be in the fields, because it changes while it runs, `shared` makes.
    """

    endless: ClassVar[bool] = True
    """Its threads never end: the study needs run.duration."""
    headline: ClassVar[str] = ""
    """The phase whose latency stands for the load; "" where there is only one."""
    takes_any_lock: ClassVar[bool] = False
    """It takes `host.make_lock` locks for their own sake, so `kernel.lock` may be one that sleeps."""

    def shared(self, host: Host) -> object:
        """What all threads have in common, such as a lock; made once, before the run."""
        return None

    def thread(self, host: Host, cpu: Cpu, shared: object) -> Op[None]:
        """What one CPU does: a generator, as described in `workloads/base.py`."""
        raise NotImplementedError(f"{type(self).__name__} does not say what a thread does")

    def results(self) -> Mapping[str, object]:
        """What the load itself wants to say in the result document; plain values."""
        return {}

    def build(self) -> Workload:
        """The load."""
        return Threads(self)


@dataclass(frozen=True)
class Threads:
    """A `Load` at work: one thread on each of its CPUs."""

    load: Load

    @property
    def endless(self) -> bool:
        """As the class says."""
        return self.load.endless

    @property
    def headline(self) -> str:
        """As the class says."""
        return self.load.headline

    def start(self, host: VirtualHost) -> None:
        """Make what is shared, and the threads."""
        load = self.load
        cpus = choose_cpus(host.machine, load.cpus, load.spread)
        shared = load.shared(host)
        for cpu in cpus:
            host.run_thread(cpu, type(load).__name__, load.thread(host, host.cpus[cpu], shared))

    def results(self) -> Mapping[str, object]:
        """As the class says."""
        return self.load.results()


def find_load(name: str, known: Mapping[str, type[BaseModel]], asked: Asked) -> type[BaseModel]:
    """The parameter model of a kind of load.

    Args:
        name: of a known one, of an installed one, or a class by file or module.
        known: coalsim's own, by name.
        asked: who wants it.

    Raises:
        ConfigError: there is none, or a user's class is no load.
    """
    registry: Registry[BaseModel] = load_registry(known)
    found = find_class(name, registry, asked)
    if not issubclass(found, Parameters):
        remedy = "write class MyLoad(Load) with a thread, or class MyLoad(Parameters) with a build"
        raise asked.refuse(name, "not a load: it is no subclass of Load or Parameters", remedy)
    if issubclass(found, Load) and found.build is Load.build and found.thread is Load.thread:
        raise asked.refuse(name, "it does not say what a thread does", "write def thread in the class")
    return found


def load_registry(known: Mapping[str, type[BaseModel]]) -> Registry[BaseModel]:
    """All kinds of loads by name."""
    return Registry(kind="load", group="coalsim.loads", classes=known, methods=("build",))


def is_installed_or_code(name: str) -> bool:
    """Whether a name that is none of ours can be that of a load at all."""
    return names_code(name) or bool(entry_points(group="coalsim.loads", name=name))


def is_foreign(model: BaseModel) -> bool:
    """Whether a load is somebody else's."""
    return not type(model).__module__.startswith("coalsim.")


def build_load(model: BaseModel) -> Workload:
    """The load of a parameter model; a foreign one is watched.

    Raises:
        ConfigError: a foreign one cannot be built.
    """
    if is_foreign(model):
        return Watched(model)
    build = getattr(model, "build", None)
    assert build is not None, "every workload model can build its load"
    return cast(Workload, build())


class Watched:
    """A foreign load, whose mistakes are told as such.

    Raises:
        ConfigError: it cannot be built, or lacks what a load has.
    """

    def __init__(self, model: BaseModel) -> None:
        self._owner = type(model)
        built = self._theirs("build", cast("Callable[[], object]", getattr(model, "build", None)))
        for name, kind in (("endless", bool), ("headline", str)):
            if not isinstance(value := getattr(built, name, None), kind):
                raise self._wrong("build", f"builds a load whose {name} is {shown(value)}")
        for name in ("start", "results"):
            if not callable(getattr(built, name, None)):
                raise self._wrong("build", f"builds {shown(built)}, which has no {name}")
        self._load = cast(Workload, built)
        self.endless, self.headline = self._load.endless, self._load.headline

    def start(self, host: VirtualHost) -> None:
        """Put the load's threads on the processors, each watched."""
        watched = cast(VirtualHost, _WatchedHost(host, self._owner))
        self._theirs("start", lambda: self._load.start(watched))

    def results(self) -> Mapping[str, object]:
        """What the load says, if that can be written down."""
        said = self._theirs("results", self._load.results)
        if not isinstance(said, Mapping):
            raise self._wrong("results", f"answers {shown(said)} to results()")
        try:
            json.dumps(dict(said), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise self._wrong("results", f"says {shown(said)} in results(): {error}") from None
        return said

    def _theirs(self, method: str, call: Callable[[], object]) -> object:
        """Call the class; what it raises is told with its line."""
        try:
            return call()
        except CoalsimError:
            raise
        except Exception as error:
            what = f"fails in {method}: {error_line(error)}"
            raise failure_in(self._owner.__module__, error, KEY) or self._wrong(method, what) from error

    def _wrong(self, method: str, what: str) -> ConfigError:
        return nonsense(
            self._owner, method, KEY, what, "see coalsim.study.own_loads.Load for what it has to be"
        )


class _WatchedHost:
    """The system as a foreign load sees it: its threads are watched, all else is as it is."""

    def __init__(self, host: VirtualHost, owner: type) -> None:
        self._host = host
        self._owner = owner

    def __getattr__(self, name: str) -> object:
        return getattr(self._host, name)

    def run_thread(self, cpu: CpuId, name: str, body: Op[None]) -> None:
        """Put a thread on a processor, if it is one."""
        is_thread = isgenerator(cast(object, body))
        if not is_thread:
            what = f"gives {shown(body)} for a thread, which is no generator"
            remedy = "use yield from inside it; a thread waits for simulated time"
            raise nonsense(self._owner, "thread", KEY, what, remedy)
        exists = 0 <= cpu < len(self._host.cpus)  # or the system says that it does not
        watched = _watched(self._host.cpus[cpu], body, self._owner) if exists else body
        self._host.run_thread(cpu, name, watched)


def _watched(cpu: Cpu, body: Op[None], owner: type) -> Op[None]:
    """A thread that may yield events only, and on whose processor time is whole and passes."""
    reached = 0
    remedy = "wait with yield from and coalsim's own verbs; charge whole picoseconds, 0 or more"
    while True:
        try:
            event: object = body.send(None)
        except StopIteration:
            event = None
        if type(cpu.clock) is not int or cpu.clock < reached:
            what = f"has set the clock of CPU {cpu.id} to {shown(cpu.clock)} ps after {reached} ps"
            raise nonsense(owner, "thread", KEY, what, remedy)
        reached = cpu.clock
        if event is None and body.gi_frame is None:  # type: ignore[attr-defined]
            return
        if not isinstance(event, Event):
            raise nonsense(owner, "thread", KEY, f"yields {shown(event)}, for which nobody can wait", remedy)
        yield event
