"""Which CPUs a load uses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coalsim.errors import ConfigError
from coalsim.topology.presets import load_machine
from coalsim.workloads.synthetic.places import Spread, choose_cpus


def test_compact_fills_the_first_hardware_threads_node_after_node() -> None:
    """Two sockets of 32 cores with two threads: all cores first, socket 0 before socket 1."""
    machine = load_machine("icx2")
    chosen = [machine.cpus[cpu] for cpu in choose_cpus(machine, 128, "compact")]
    assert [place.core for place in chosen[:64]] == list(range(64))
    assert {place.thread for place in chosen[:64]} == {0}
    assert {place.node for place in chosen[:32]} == {0}
    assert {place.thread for place in chosen[64:]} == {1}


def test_node_uses_all_hardware_threads_of_a_node_first() -> None:
    """Its cores before their second threads, then the next node."""
    machine = load_machine("icx2")
    chosen = [machine.cpus[cpu] for cpu in choose_cpus(machine, 128, "node")]
    assert {place.node for place in chosen[:64]} == {0}
    assert [place.thread for place in chosen[:64]] == [0] * 32 + [1] * 32


def test_scatter_takes_one_cpu_of_each_node_in_turn() -> None:
    """Eight nodes: the first eight CPUs lie on eight nodes, each on a core of its own."""
    machine = load_machine("rome2-nps4")
    chosen = [machine.cpus[cpu] for cpu in choose_cpus(machine, 16, "scatter")]
    assert [place.node for place in chosen] == [*range(8)] * 2
    assert {place.thread for place in chosen} == {0}
    assert len({place.core for place in chosen}) == 16


@given(
    name=st.sampled_from(["coal", "rome2-nps4", "wex8", "ivb-laptop"]),
    spread=st.sampled_from(["compact", "node", "scatter"]),
    share=st.floats(0, 1),
)
def test_more_cpus_are_the_same_ones_and_others(name: str, spread: Spread, share: float) -> None:
    """Each CPU once, all of them in the end, and a larger load keeps the places of a smaller one."""
    machine = load_machine(name)
    every = choose_cpus(machine, machine.num_cpus, spread)
    assert sorted(every) == list(range(machine.num_cpus))
    count = round(share * machine.num_cpus)
    assert choose_cpus(machine, count, spread) == every[:count]


@pytest.mark.parametrize("spread", ["compact", "node", "scatter"])
def test_more_cpus_than_there_are_is_refused_with_what_there_is(spread: Spread) -> None:
    """The error names the machine and its CPUs."""
    with pytest.raises(ConfigError, match="machine coal has 4 CPUs; use at most 4, or a larger machine"):
        choose_cpus(load_machine("coal"), 5, spread)
