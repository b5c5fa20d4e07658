"""Whose mistake it was: runs that end badly while a user's own class takes part.

A class that raises is named with the line that did it.  One that has left no line on the
way, because it answered nonsense and something of ours fell over it, is named as the
foreign part of the run.  A broken lock or policy shows as a lock taken twice or as processors
that wait for ever; the report then says who took part.
"""

from collections.abc import Iterator

from pydantic import BaseModel

from coalsim.boot import SystemConfig
from coalsim.errors import ConfigError, Problem
from coalsim.plugins import error_line, failure_in, place_of
from coalsim.study.spec import CLASS_KEYS


def foreign_classes(config: SystemConfig, load: BaseModel) -> Iterator[tuple[str, type]]:
    """The classes of a run that are not coalsim's own, each with the key that names it."""
    classes: dict[str, tuple[type | None, ...]] = {
        "kernel.lock": (config.lock, config.load_lock),
        "kernel.placement": (config.placement,),
        "kernel.shootdown": (config.shootdown,),
        "kernel.allocator": (config.allocator,),
        "kernel.victim": (config.victim,),
        "workload.kind": (type(load),),
    }
    for key, named in classes.items():
        for policy in dict.fromkeys(named):
            if policy is not None and not policy.__module__.startswith("coalsim."):
                yield key, policy


def failure_of_users_class(config: SystemConfig, load: BaseModel, error: BaseException) -> ConfigError | None:
    """What a class that somebody brought along did wrong; None if there is none in the run."""
    foreign = list(foreign_classes(config, load))
    for key, policy in foreign:
        if (theirs := failure_in(policy.__module__, error, key)) is not None:
            return theirs
    if not foreign:
        return None
    return ConfigError(
        [
            Problem(
                where=place_of(policy)[0],
                line=place_of(policy)[1],
                key=key,
                message=f"the run with {policy.__qualname__} failed: {error_line(error)}",
                remedy="run `coalsim plugins check` on the class; if it keeps all its promises, report this",
            )
            for key, policy in foreign
        ]
    )


def blame(config: SystemConfig, load: BaseModel) -> str:
    """Whose classes took part in a run that misused locks or waits for ever; empty if only ours did."""
    told = ""
    for key, policy in foreign_classes(config, load):
        where, line = place_of(policy)
        told += (
            f"\n{where}:{line}: {key}: {policy.__qualname__} is the {CLASS_KEYS[key]}; its promises are "
            f"tried one by one by `coalsim plugins check {where}:{policy.__qualname__}`"
        )
    return told
