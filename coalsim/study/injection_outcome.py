"""The outcome of a run with injected faults: what each rule has done.

Rules count from the beginning of the run, its warm-up included, as `nth` and `every` do.
"""

from collections.abc import Iterator
from difflib import get_close_matches
from fnmatch import fnmatchcase

from coalsim.boot import System
from coalsim.injection import CpuAway, NodeAway
from coalsim.observe.load_document import RuleEntry
from coalsim.study.injecting import InjectSection
from coalsim.units import Time, format_time


def injection_parts(system: System) -> dict[str, object]:
    """The part of the document that only such runs have; at the end of the run."""
    if system.injection.is_empty:
        return {}
    return {"injected": {**system.injection.report(), "rules": rules(system)}}


def rules(system: System) -> list[RuleEntry]:
    """Each rule: those of inject.fail, inject.delay, inject.away."""
    injection, end = system.injection, system.env._now
    delays = [
        *((rule.number, rule.taken, rule.chances) for rule in injection.lock_delays),
        *((rule.number, rule.taken, rule.chances) for rule in injection.ipi_delays),
    ]
    counted = [
        *(("fail", rule.number, sum(rule.refused.values()), rule.chances) for rule in injection.fail),
        *(("delay", *delay) for delay in sorted(delays)),
    ]
    rows: list[RuleEntry] = [
        {"name": f"inject.{key}[{number}]", "hits": hits, "chances": chances}
        for key, number, hits, chances in counted
    ]
    rows += [_away(f"cpu {away.cpu}", away, end) for away in injection.cpus_away]
    return rows + [_away(f"node {away.node}", away, end) for away in injection.nodes_away]


def idle_rules(system: System, inject: InjectSection) -> Iterator[str]:
    """Injected faults that had no chance to happen: a pattern that names nothing, most likely."""
    names = [lock_class.name for lock_class in system.lock_classes]
    for key, number, lock in system.injection.unmatched():
        text = getattr(inject, key)[number]
        known = not lock or any(fnmatchcase(name, lock) for name in names)
        near = [] if known else get_close_matches(lock, names, n=1)
        advice = "" if known else "; no lock is called so" + (f": did you mean {near[0]}?" if near else "")
        yield f'nothing in the run fitted the rule inject.{key} "{text}"{advice}'


def _away(who: str, away: CpuAway | NodeAway, end: Time) -> RuleEntry:
    """A time away hits once it has begun."""
    span = f"from {format_time(away.begin)} for {format_time(away.end - away.begin)}"
    return {"name": f"{who} away {span}", "hits": int(away.begin < end)}
