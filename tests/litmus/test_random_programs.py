"""All modes of the engine give the same bytes, shown by random programs.

`random_programs.py` says what a program may do.  Most mistakes in the rules of time
show within 25 seeds; the rarest need hundreds, which the slow test runs.
"""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from bench import REFERENCE, Mode
from random_programs import Shape, Worker, run_program, seen_in_all_modes

FEW = range(25)
MANY = range(25, 625)


@pytest.mark.fast_one_in(3)
@pytest.mark.parametrize("seed", FEW)
def test_all_modes_give_the_same_bytes(seed: int) -> None:
    """Logs, samples, lock tables, counters and the division of every processor's time are equal."""
    seen_in_all_modes(seed, run_program)


@pytest.mark.slow
@pytest.mark.parametrize("seed", MANY)
def test_all_modes_give_the_same_bytes_for_many_more_programs(seed: int) -> None:
    """The same for the mistakes that only one program in hundreds shows."""
    seen_in_all_modes(seed, run_program)


def test_the_programs_do_what_they_are_meant_to_try() -> None:
    """The fast seeds cover every operation, contention, handlers in waits, lost ticks and migration."""
    did = Counter[str]()
    kinds = dict.fromkeys(kind for seed in FEW for kind in Shape(seed).kinds)
    assert set(kinds) == set(Worker.OPERATIONS)
    for seed in FEW:
        seen = run_program(seed, REFERENCE)
        last = seen.samples[-1]
        did.update(seen.record_kinds())
        did["contended"] += sum(row.contentions for row in last.locks)
        did["stolen"] += sum(row.stolen for row in last.locks)
        did["ticks lost"] += sum(int(str(row[1])) for row in last.counters)
        did["switches"] += sum(int(str(row[2])) for row in last.counters)
    for name in ("touch", "section", "body", "answered", "called", "count", "bell", "unparked", "moved"):
        assert did[name] > 50, (name, did)
    for name in ("contended", "stolen", "ticks lost", "switches", "went on", "on", "word", "line0"):
        assert did[name] > 50, (name, did)


def test_hash_randomisation_changes_nothing() -> None:
    """One seed gives the same bytes in two interpreters with different hash seeds."""
    script = (
        "import hashlib; from bench import MODES; from random_programs import run_program\n"
        "for seed in (3, 8): print(hashlib.sha256(repr(run_program(seed, MODES[4])).encode()).hexdigest())"
    )
    here = Path(__file__).parent
    modules = os.pathsep.join([str(here), str(here.parent)])
    printed = []
    for hash_seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": modules}
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=environment,
            cwd=here.parent.parent,
            capture_output=True,
            text=True,
            check=True,
        )
        printed.append(done.stdout)
    assert printed[0] == printed[1]
    assert len(printed[0].split()) == 2


def test_one_seed_gives_the_same_bytes_twice() -> None:
    """Nothing is left over from one run that another could see."""
    mode = Mode(run_ahead=True, fast_paths=True, tick_events=False)
    assert repr(run_program(7, mode)) == repr(run_program(7, mode))
