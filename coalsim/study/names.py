"""Names in a study that nobody has: said even where other mistakes keep the study from being built.

A study with mistakes in its sections is never built, so whether its machine and its classes exist
would come to light only after the others are mended.  Here each name is looked up by itself.
"""

from collections.abc import Callable, Iterator

from coalsim.errors import ConfigError, Problem
from coalsim.locks.registry import find_lock
from coalsim.mm.phys.placement import find_placement
from coalsim.mm.shootdown.registry import find_shootdown
from coalsim.plugins import Asked, names_code
from coalsim.study.document import Document
from coalsim.study.spec import machine_asked
from coalsim.topology.presets import load_machine

_FINDERS: dict[str, Callable[[str, Asked], object]] = {
    "lock": find_lock,
    "placement": find_placement,
    "shootdown": find_shootdown,
}


def name_problems(document: Document, *, trust: bool, max_input: int | None = None) -> Iterator[Problem]:
    """Every name of a machine or class in a document that stands for nothing, with its place."""
    try:
        name, changes = machine_asked(document)
        machine = load_machine(name) if max_input is None else load_machine(name, max_input)
        machine.with_overrides(changes)
    except ConfigError as error:
        yield from (_located(document, problem) for problem in error.problems)
    kernel = document.raw.get("kernel")
    for key, find in _FINDERS.items() if isinstance(kernel, dict) else ():
        asked = document.asked(f"kernel.{key}", trust=trust)
        value = kernel.get(key) if isinstance(kernel, dict) else None
        if not isinstance(value, str) or (names_code(value) and not asked.trust):
            continue
        try:
            find(value, asked)
        except ConfigError as error:
            yield from (_located(document, problem) for problem in error.problems)


def _located(document: Document, problem: Problem) -> Problem:
    if problem.where or not problem.key:
        return problem
    return document.problem(problem.key, problem.message, problem.remedy, problem.value)
