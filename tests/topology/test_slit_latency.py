"""Latencies from firmware's distances: only for those who ask."""

from pathlib import Path

import pytest

from coalsim.errors import ConfigError
from coalsim.topology.presets import load_machine
from coalsim.topology.slit_latency import with_slit_latencies

LISTING = Path(__file__).parent.parent / "data" / "topology" / "numactl-2nodes.txt"


def test_ratios_scale_the_own_nodes_latency() -> None:
    """10 / 21 becomes 1 : 2.1, assumed, and the machine warns of it."""
    machine = with_slit_latencies(load_machine(str(LISTING)))
    local, remote = machine.dram[0]
    assert remote.value == local.value * 21 / 10
    assert remote.status == "assumed"
    assert "distance 21 / 10" in remote.source
    assert machine.warnings[-1] == "memory latencies between nodes were made from distances"


def test_a_machine_without_distances_cannot() -> None:
    """`coal` has none."""
    with pytest.raises(ConfigError, match="no node distances are known"):
        with_slit_latencies(load_machine("coal"))
