"""Common random numbers: pairs of runs find a small effect that runs of their own seeds do not."""

from pathlib import Path

import pytest
from known_answers import Loop

from coalsim.stats.effects import hedges_g, paired_effect, ratio_interval
from coalsim.stats.student import paired_difference, unpaired_difference

PAIRS = 10
FASTER = 1.01


REPETITIONS = 20


class Trial:
    """Ten runs before the change, ten after it with the same seeds, ten after it with others."""

    def __init__(self, folder: Path, repetition: int) -> None:
        before = Loop(folder, "exp:1us")
        after = Loop(folder, f"exp:{1_000_000 / FASTER:.0f}ps", think=f"exp:{4_000_000 / FASTER:.0f}ps")
        first = 1_000 * repetition
        self.base = list(before.throughputs(range(first, first + PAIRS)))
        self.paired = list(after.throughputs(range(first, first + PAIRS)))
        self.alone = list(after.throughputs(range(first + 500, first + 500 + PAIRS)))


def test_pairs_find_one_percent_where_unpaired_runs_do_not(tmp_path: Path) -> None:
    """All times 1 % shorter give 1 % more throughput, and ten runs see it only with the same seeds."""
    trial = Trial(tmp_path, 0)

    assert paired_difference(trial.base, trial.paired).low > 0
    assert unpaired_difference(trial.base, trial.alone).holds(0)
    ratio = ratio_interval(trial.base, trial.paired)
    assert 1 < ratio.low < FASTER < ratio.high < 1.03
    assert paired_effect(trial.base, trial.paired) > 1 > hedges_g(trial.base, trial.paired)


@pytest.mark.slow
def test_pairs_find_it_every_time_and_unpaired_runs_hardly_more_often_than_by_chance(tmp_path: Path) -> None:
    """Twenty repetitions; a 95 % interval misses zero in one of twenty where there is no effect at all."""
    trials = [Trial(tmp_path, repetition) for repetition in range(REPETITIONS)]

    assert all(paired_difference(trial.base, trial.paired).low > 0 for trial in trials)
    found = sum(not unpaired_difference(trial.base, trial.alone).holds(0) for trial in trials)
    assert found <= 3
