"""Core-to-core matrices: medians by class, and what does not fit."""

from decimal import Decimal
from pathlib import Path

import pytest

from coalsim.errors import ConfigError, InputError
from coalsim.topology.c2c import read_matrix, with_core_to_core
from coalsim.topology.distance import Distance
from coalsim.topology.presets import load_machine, load_preset
from coalsim.units import NS, CpuId

WESTMERE = Path(__file__).parent.parent / "data" / "topology" / "westmere_ep_x5650_2s.csv"


def write(folder: Path, text: str) -> Path:
    file = folder / "c2c.csv"
    file.write_text(text)
    return file


def test_a_real_matrix_gives_the_published_medians() -> None:
    """Two Xeon X5650: 7.1 within a core, 37.2 to 37.3 within a socket, 73.8 ns across."""
    flat = load_preset("westmere-ep").with_overrides(
        {"line_transfer.smt": "1", "line_transfer.socket": "1", "line_transfer.cross": "1"}
    )
    machine = with_core_to_core(flat, WESTMERE)
    assert machine.line_transfer[Distance.SMT].value == Decimal("7.1")
    assert Decimal("37.2") <= machine.line_transfer[Distance.SOCKET].value <= Decimal("37.3")
    assert machine.line_transfer[Distance.CROSS].value == Decimal("73.75")
    assert machine.line_transfer[Distance.CROSS].status == "derived"
    assert "median of 144 pairs" in machine.line_transfer[Distance.CROSS].source
    assert machine.line_transfer[Distance.SELF] == flat.line_transfer[Distance.SELF]
    assert machine.occupancy_row(CpuId(0))[6] == 73.75 * NS


def test_half_a_matrix_is_enough(tmp_path: Path) -> None:
    """An empty cell means its mirror image, as the measuring program writes it."""
    file = write(tmp_path, ",,,\n50,,,\n130,131,,\n129,130,52,\n")
    machine = with_core_to_core(load_preset("coal"), file)
    assert machine.line_transfer[Distance.SOCKET].value == 51
    assert machine.line_transfer[Distance.CROSS].value == 130


def test_the_number_of_cpus_must_agree() -> None:
    """A matrix of another machine is refused."""
    with pytest.raises(InputError, match="24 CPUs in the matrix, 4 in coal; measure the machine itself"):
        with_core_to_core(load_machine("coal"), WESTMERE)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the file is empty"),
        ("0,1\n1,x\n", "c2c.csv:2: x: not a number"),
        ("0,1\n1\n", "row 2 has 1 cells in a matrix of 2 rows"),
        ("0,-1\n-1,0\n", "c2c.csv:1: -1: not a latency in ns"),
        ("0,nan\n1,0\n", "c2c.csv:1: nan: not a latency in ns"),
        ("0,1e99\n1,0\n", "not a latency in ns"),
        ("a,b\nc,d\n", "c2c.csv:2: c: not a number"),
    ],
)
def test_what_is_no_matrix_is_refused(tmp_path: Path, text: str, told: str) -> None:
    """With its line."""
    with pytest.raises(InputError) as refused:
        read_matrix(write(tmp_path, text))
    assert told in str(refused.value)


def test_a_matrix_of_zeros_is_no_machine(tmp_path: Path) -> None:
    """Nothing crosses in no time."""
    with pytest.raises(ConfigError, match="nothing crosses in no time"):
        with_core_to_core(load_preset("coal"), write(tmp_path, "0,0,0,0\n" * 4))
