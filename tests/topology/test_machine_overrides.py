"""`--set machine.KEY=VALUE`: which keys there are, what they change, and what is refused."""

from decimal import Decimal

import pytest

from coalsim.errors import ConfigError
from coalsim.topology.distance import Distance
from coalsim.topology.presets import load_preset
from coalsim.units import NS, CpuId, NodeId


def test_the_clock_carries_what_counts_in_cycles() -> None:
    """Cycles become longer, nanoseconds stay; the number is the user's now."""
    icx = load_preset("icx2")
    slow = icx.with_overrides({"clock_ghz": "2.2"})
    assert slow.cycles(22) == 10_000
    assert slow.transfer_row(CpuId(0))[0] == round(16_000 / Decimal("2.2"))
    assert slow.transfer_row(CpuId(0))[1] == icx.transfer_row(CpuId(0))[1]
    assert (slow.clock_ghz.status, slow.clock_ghz.source) == ("assumed", "set by the user")
    assert icx.clock_ghz.value == Decimal("2.9"), "the original is as it was"


def test_a_bare_number_takes_the_unit_of_the_old_one() -> None:
    """And a unit may be given instead."""
    wex = load_preset("wex8")
    assert wex.with_overrides({"line_transfer.socket": "240"}).transfer_row(CpuId(0))[1] == 100 * NS
    assert wex.with_overrides({"line_transfer.socket": "70 ns"}).transfer_row(CpuId(0))[1] == 70 * NS


def test_an_occupancy_that_was_filled_in_follows_its_latency() -> None:
    """A measured one stays."""
    coal = load_preset("coal").with_overrides({"line_transfer.cross": "99ns"})
    assert coal.occupancy_row(CpuId(0))[2] == 99 * NS
    wex = load_preset("wex8")
    changed = wex.with_overrides({"line_transfer.cross": "99ns"})
    assert changed.line_occupancy == wex.line_occupancy


def test_broad_keys_reach_all_nodes_and_narrow_ones_win() -> None:
    """Whatever their order on the command line."""
    coal = load_preset("coal").with_overrides(
        {
            "node.1.memory": "8GiB",
            "memory": "1GiB",
            "bandwidth": "30",
            "dram.1.0": "200",
            "dram.remote": "150",
        }
    )
    assert [node.memory for node in coal.nodes] == [1 << 30, 8 << 30]
    assert [node.bandwidth.value for node in coal.nodes] == [30, 30]
    assert coal.dram_latency(NodeId(0), NodeId(1)) == 150 * NS
    assert coal.dram_latency(NodeId(1), NodeId(0)) == 200 * NS
    assert coal.dram_latency(NodeId(0), NodeId(0)) == 80 * NS


def test_every_key_that_is_shown_can_be_set() -> None:
    """`parameters` and the keys of overrides are one list (the layout aside)."""
    machine = load_preset("clx2-snc")
    for key, number in machine.parameters():
        if not key.startswith("layout."):
            changed = machine.with_overrides({key: "4096" if key.endswith("memory") else str(number.value)})
            assert dict(changed.parameters())[key].source == "set by the user"


def test_all_mistakes_are_told_with_the_nearest_key() -> None:
    """One line each."""
    with pytest.raises(ConfigError) as refused:
        load_preset("coal").with_overrides(
            {
                "clok_ghz": "2",
                "memory": "-4GiB",
                "ipi_flight.cross": "5 lightyears",
                "node.0.bandwidth": "fast",
            }
        )
    told = str(refused.value)
    assert len(refused.value.problems) == 4
    assert "machine.clok_ghz = 2: no such number of a machine; did you mean clock_ghz?" in told
    assert "machine.memory = -4GiB: '-4GiB' is not a size" in told
    assert "machine.ipi_flight.cross = 5 lightyears: the unit lightyears does not fit" in told
    assert "machine.node.0.bandwidth = fast: not a number; write it like 20 GB/s" in told


@pytest.mark.parametrize("clock", ["0", "0.0001", "5000"])
def test_a_clock_that_cannot_be_is_refused(clock: str) -> None:
    """No division by a clock that stands still."""
    with pytest.raises(ConfigError, match=r"give a clock from 0\.001 to 1000 GHz"):
        load_preset("coal").with_overrides({"clock_ghz": clock})


@pytest.mark.parametrize(
    ("key", "text", "told"),
    [
        ("memory", "0", "a machine without memory; give at least one node some"),
        ("clock_ghz", "0", "not a cost that a machine can have; give a clock from 0.001 to 1000 GHz"),
        ("bandwidth", "0", "not a cost that a machine can have; give a bandwidth above 0 in GB/s"),
        (
            "dram.local",
            "0",
            "not a cost that a machine can have; nothing crosses in no time: give at least 1 ps",
        ),
        ("line_transfer.cross", "2000000000", "not a cost that a machine can have; give less than a second"),
    ],
)
def test_a_value_that_no_machine_can_have_is_told_once_and_of_its_key(key: str, text: str, told: str) -> None:
    """Not of the machine, nor of each of the numbers that a broad key reaches."""
    with pytest.raises(ConfigError) as refused:
        load_preset("coal").with_overrides({key: text})
    (problem,) = refused.value.problems
    assert (problem.where, problem.key, problem.value) == ("", f"machine.{key}", text)
    assert str(problem) == f"machine.{key} = {text}: {told}"


def test_a_distance_that_does_not_occur_cannot_be_set() -> None:
    """`coal` has no second hop."""
    machine = load_preset("coal")
    assert Distance.CROSS2 not in machine.line_transfer
    with pytest.raises(ConfigError, match="no such number of a machine"):
        machine.with_overrides({"line_transfer.cross2": "1"})
