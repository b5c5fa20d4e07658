"""Shootdown policies by name, and what a user's own has to look like.

| name         | who is asked                   | by                        | waits for           |
|--------------|--------------------------------|---------------------------|---------------------|
| `serial`     | the mask                       | an interrupt each, in turn| each answer         |
| `broadcast`  | all processors                 | one interrupt             | all answers         |
| `linux`      | the mask, lazy ones left out   | interrupts, flushed itself| all answers         |
| `concurrent` | as `linux`                     | interrupts, then itself   | all answers         |
| `early_ack`  | as `linux`                     | interrupts, then itself   | handlers to begin   |
| `latr`       | as `linux`                     | records, swept at ticks   | nothing             |
| `abis`       | who can have the pages         | interrupts, then itself   | all answers         |
| `radixvm`    | who faulted the pages          | an interrupt each         | one counter         |
| `numapte`    | nodes that share the tables    | interrupts, then itself   | all answers         |
| `invlpgb`    | all processors                 | AMD's broadcast           | TLBSYNC             |
| `tlbi`       | all processors                 | Arm's broadcast           | DSB                 |
| `rar`        | as `linux`                     | requests to microcode     | all entries         |
"""

from collections.abc import Mapping
from inspect import isgeneratorfunction

from coalsim.errors import CoalsimError, ConfigError, Problem
from coalsim.mm.shootdown.abis import AbisShootdown
from coalsim.mm.shootdown.base import Shootdown
from coalsim.mm.shootdown.broadcast import BroadcastShootdown
from coalsim.mm.shootdown.invlpgb import InvlpgbShootdown
from coalsim.mm.shootdown.latr import LatrShootdown
from coalsim.mm.shootdown.linux import ConcurrentShootdown, EarlyAcknowledgement, LinuxShootdown
from coalsim.mm.shootdown.numapte import NumaPteShootdown
from coalsim.mm.shootdown.radixvm import RadixVmShootdown
from coalsim.mm.shootdown.rar import RarShootdown
from coalsim.mm.shootdown.serial import SerialShootdown
from coalsim.mm.shootdown.system import ShootdownSystem
from coalsim.mm.shootdown.tlbi import TlbiShootdown
from coalsim.plugins import Asked, Registry, error_line, failure_in, find_class

SHOOTDOWNS: Mapping[str, type[Shootdown]] = {
    policy.name: policy
    for policy in (
        SerialShootdown,
        BroadcastShootdown,
        LinuxShootdown,
        ConcurrentShootdown,
        EarlyAcknowledgement,
        LatrShootdown,
        AbisShootdown,
        RadixVmShootdown,
        NumaPteShootdown,
        InvlpgbShootdown,
        TlbiShootdown,
        RarShootdown,
    )
}

REGISTRY: Registry[Shootdown] = Registry(
    kind="shootdown policy", group="coalsim.shootdowns", classes=SHOOTDOWNS, methods=("flush",)
)

OPERATIONS = ("flush", "post", "left_user", "drain", "recall")
"""What can wait, and so has to be a generator."""


def find_shootdown(name: str, asked: Asked) -> type[Shootdown]:
    """The policy of that name.

    Raises:
        ConfigError: there is none, or a user's class is no shootdown policy.
    """
    policy = find_class(name, REGISTRY, asked)
    if name not in SHOOTDOWNS:
        check_foreign_shootdown(name, policy, asked)
    return policy


def make_shootdown(policy: type[Shootdown], system: ShootdownSystem) -> Shootdown:
    """A policy at work.

    Raises:
        ConfigError: the constructor of a user's class fails.
    """
    try:
        return policy(system)
    except CoalsimError:
        raise
    except Exception as error:
        if (theirs := failure_in(policy.__module__, error, "kernel.shootdown")) is not None:
            raise theirs from None
        problem = Problem(
            key="kernel.shootdown",
            message=f"{policy.__qualname__} cannot be made: {error_line(error)}",
            remedy="its constructor takes (system) and passes it on to Shootdown",
        )
        raise ConfigError([problem]) from error


def check_foreign_shootdown(name: str, policy: type[Shootdown], asked: Asked) -> None:
    """Whether a class that is not ours can be used as a policy at all.

    Raises:
        ConfigError: it cannot.
    """
    if not isinstance(policy, type) or not issubclass(policy, Shootdown):
        raise asked.refuse(
            name,
            "not a shootdown policy: it is no subclass of Shootdown",
            "write class MyShootdown(Shootdown) with a flush",
        )
    if policy.flush is Shootdown.flush:
        raise asked.refuse(name, "it does not say how to flush", "write def flush in the class")
    if policy.defers is not Shootdown.defers and not policy.is_lazy:
        raise asked.refuse(
            name,
            "it puts flushes off, but does not say so: nothing would wait for them, or bring them to an end",
            "write is_lazy = True in the class",
        )
    for method in OPERATIONS:
        own = getattr(policy, method)
        if own is not getattr(Shootdown, method) and not isgeneratorfunction(own):
            raise asked.refuse(
                name,
                f"{method} cannot wait: it is no generator",
                "use yield from inside it; yield from () if there is nothing to wait for",
            )
