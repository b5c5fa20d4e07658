"""Short cuts of the engine do not show, under any policy: the oracle's findings included."""

from dataclasses import replace

import pytest

from coalsim.boot import System, SystemConfig
from coalsim.mm.shootdown.registry import SHOOTDOWNS
from coalsim.study.conformance import system_for
from coalsim.study.random_memory import Program
from coalsim.units import US, CpuId

PLAIN = {"run_ahead": False, "fast_paths": False, "tick_events": True}
OTHERS = [
    {"run_ahead": False, "fast_paths": False, "tick_events": False},
    {"run_ahead": False, "fast_paths": True, "tick_events": False},
    {"run_ahead": True, "fast_paths": False, "tick_events": False},
    {"run_ahead": True, "fast_paths": True, "tick_events": True},
]
ALL_SHORT_CUTS = {"run_ahead": True, "fast_paths": True, "tick_events": False}
SAMPLE = 400 * US


def play(config: SystemConfig, mode: dict[str, bool], seed: int, steps: int) -> tuple[object, ...]:
    """Run a random program; everything that may be compared."""
    system = System(replace(config, **mode))  # type: ignore[arg-type]
    vm = system.vm
    program = Program(vm, [CpuId(cpu) for cpu in range(len(system.cpus))], seed, steps=steps)
    program.start()
    system.boot()
    accounts: list[object] = []
    system.env.declare_barrier(SAMPLE, lambda: accounts.append(system.time_by_cause(SAMPLE)))
    system.run(system.finished)
    vm.judge_all()
    oracle, counts = vm.kernel.oracle, vm.flush_counts
    assert oracle is not None
    return (
        accounts,
        system.env.now,
        {name: getattr(counts, name) for name in counts.FIELDS},
        {name: kind.by_cause for name, kind in vm.kernel.operations.kinds.items()},
        (oracle.checked, oracle.stale, oracle.broken, oracle.worst_stale),
        oracle.findings(),
    )


@pytest.mark.fast_one_in(3)
@pytest.mark.parametrize("name", SHOOTDOWNS)
def test_all_short_cuts_together_do_not_show(name: str) -> None:
    """One program for each policy, on few processors."""
    config = system_for(SHOOTDOWNS[name], 4, "new", 7, "linux-6.18").config
    assert play(config, PLAIN, 7, 40) == play(config, ALL_SHORT_CUTS, 7, 40)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["new", "old", "two tags"])
@pytest.mark.parametrize("name", SHOOTDOWNS)
def test_no_short_cut_shows(name: str, kernel: str) -> None:
    """Each by itself, on several machines."""
    for cpus, seed in ((3, 1), (8, 2), (16, 3)):
        config = system_for(SHOOTDOWNS[name], cpus, kernel, seed, "linux-6.18").config
        plain = play(config, PLAIN, seed, 40)
        for mode in (*OTHERS, ALL_SHORT_CUTS):
            assert play(config, mode, seed, 40) == plain, f"{cpus} CPUs, seed {seed}, {mode}"
