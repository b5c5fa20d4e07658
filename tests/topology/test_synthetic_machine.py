"""hwloc synthetic strings."""

from pathlib import Path

import pytest

from coalsim.errors import ConfigError
from coalsim.topology.hwloc import machine_from_hwloc
from coalsim.topology.presets import load_machine
from coalsim.topology.synthetic import machine_from_synthetic
from coalsim.units import GIB

SAMPLE = Path(__file__).parent.parent / "data" / "topology" / "lstopo-2pack-4numa.xml"


def test_a_string_gives_what_lstopo_makes_of_it() -> None:
    """The sample file was made by lstopo from this string: places and sizes agree."""
    here, there = machine_from_synthetic("pack:2 numa:2 l3:1 core:2 pu:2"), machine_from_hwloc(SAMPLE)
    assert here.cpus == there.cpus
    assert [node.memory for node in here.nodes] == [node.memory for node in there.nodes]
    assert [node.socket for node in here.nodes] == [node.socket for node in there.nodes]


@pytest.mark.parametrize(
    ("text", "sockets", "nodes", "cores", "cpus"),
    [
        ("pu:1", 1, 1, 1, 1),
        ("core:4 pu:2", 1, 1, 4, 8),
        ("Package:2 Core:3 PU:1", 2, 1, 6, 6),
        ("numa:2 pack:1 core:2 pu:1", 2, 2, 4, 4),
        ("pack:2 [numa] l3:2 core:4 pu:1", 2, 2, 16, 16),
        ("group:2 pack:2 l3Cache:1(size=8MB) l2:2 l1d:1 core:1 pu:2", 4, 1, 8, 16),
        ("machine:1 pack:1 die:2 core:2 pu:1", 1, 1, 4, 4),
    ],
)
def test_levels_multiply(text: str, sockets: int, nodes: int, cores: int, cpus: int) -> None:
    """Case, long names and caches make no difference."""
    machine = load_machine(text)
    assert (machine.num_sockets, machine.num_nodes, machine.num_cores, machine.num_cpus) == (
        sockets,
        nodes,
        cores,
        cpus,
    )


def test_memory_may_be_given() -> None:
    """On the level or on the child; 1 GiB otherwise, as in hwloc."""
    assert load_machine("pack:2 numa:1(memory=4GB) core:1 pu:1").nodes[1].memory == 4 * GIB
    assert load_machine("pack:2 [numa(memory=512MB)] core:1 pu:1").memory == GIB
    assert load_machine("pack:2 core:1 pu:1").memory == GIB


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("pack:2 core:2", "it does not end in one pu level"),
        ("pack:0 pu:1", "a level of none"),
        ("pack:2 pack:2 pu:1", "pack is there 2 times"),
        ("core:2 pack:2 pu:1", "a package inside its own parts"),
        ("pack:9999 pu:9999", "more than 8192 CPUs"),
        ("pack:2 corn:2 pu:1", "'corn' is no level"),
        ("pack:2 core pu:1", "'core' is not a level; write levels like core:4"),
        ("pack:-2 pu:1", "is not a level"),
        ("numa:1(memory=lots) pu:1", "is not a size"),
        ("numa:1(color=red) pu:1", "'color' is not an attribute"),
        ("numa:1(memory=0) pu:1", "a machine without memory"),
        ("pack:" + "9" * 2000, "this long"),
    ],
)
def test_mistakes_are_named(text: str, told: str) -> None:
    """With the string they are in."""
    with pytest.raises(ConfigError) as refused:
        load_machine(text)
    assert told in str(refused.value)


def test_several_mistakes_come_together() -> None:
    """One line each."""
    with pytest.raises(ConfigError) as refused:
        load_machine("pack:0 pack:2 core:2")
    assert len(refused.value.problems) == 3
