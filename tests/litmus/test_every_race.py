"""The list of classic races, and that each has its litmus test.

The docstring of a test begins with the name of the race that it plays: "window: ..." or
"oracle_ahead at a tie: ...".
"""

import ast
from pathlib import Path

import pytest

RACES = {
    "in_flight": "a message on its way bounds what its target may look at",
    "straddle": "a handler delays what was charged before it came",
    "tie_order": "two processors reach a lock at one time",
    "zero": "what takes no time keeps its order",
    "release_tie": "a lock is released at the instant of an arrival",
    "held_by_irq": "an interrupt lengthens a section",
    "waiter_in_handler": "a waiter is granted a lock while it handles an interrupt",
    "window": "an interrupt comes within a computed section",
    "nested_off": "interrupts are off twice",
    "irq_on_ahead": "interrupts go on past an arrival that is not delivered yet",
    "pipe": "a swap is under way when a computed section arrives",
    "mixed_lock": "blocking and short sections share a lock",
    "ticket_late": "a waiter comes after the grant was computed",
    "lockless_read": "a guarded count is read without its lock",
    "barrier_section": "a sample falls between an arrival and its grant",
    "end_of_run": "processors have run ahead of the end",
    "pushed_over": "a tick pushes a charge over a sample",
    "hot_counter": "a line is taken from an owner that runs ahead",
    "lazy_flag": "a flag that others read changes ahead of time",
    "remote_high": "a private setting is changed by another processor",
    "broadcast": "an effect arrives sooner than any interrupt",
    "walk_ahead": "an entry of a page table is read ahead of time",
    "bandwidth": "a server is used ahead of time",
    "late_fill": "an invalidation arrives during a walk",
    "oracle_ahead": "hits ahead of time are judged",
    "mutual": "two processors shoot at each other",
    "tick_then_ipi": "a tick delays the interrupt behind it",
    "coalesce": "requests join a handler that has not started",
    "lost_ticks": "ticks fall due with interrupts off",
    "spin_off_deadlock": "a spinner with interrupts off is waited for",
}
WITH_TRANSLATIONS = (
    "in_flight",
    "straddle",
    "lazy_flag",
    "broadcast",
    "walk_ahead",
    "bandwidth",
    "late_fill",
    "oracle_ahead",
    "mutual",
    "coalesce",
)


def races_in(*files: Path) -> dict[str, list[str]]:
    """By race: its tests."""
    found: dict[str, list[str]] = {}
    for file in files:
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                race, colon, _ = (ast.get_docstring(node) or "").partition(":")
                if colon and (word := race.split()[0].rstrip(",")) in RACES:
                    found.setdefault(word, []).append(f"{file.stem}.{node.name}")
    return found


HERE = Path(__file__).parent


@pytest.mark.parametrize("race", RACES)
def test_every_race_has_its_test(race: str) -> None:
    """Whatever can go wrong with time is played at least once."""
    assert races_in(*sorted(HERE.glob("test_*.py"))).get(race), RACES[race]


@pytest.mark.parametrize("race", WITH_TRANSLATIONS)
def test_every_race_of_translations_is_played_with_the_real_parts(race: str) -> None:
    """Not only with a flag that stands for a page."""
    assert races_in(HERE / "test_translations.py").get(race), RACES[race]
