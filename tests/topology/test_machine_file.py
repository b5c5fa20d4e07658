"""Machine files: what is written reads back equal, and every mistake has its line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coalsim.errors import ConfigError
from coalsim.topology.machine import Machine
from coalsim.topology.machine_file import read_machine_file
from coalsim.topology.machine_writer import machine_file_text
from coalsim.topology.presets import PRESETS, load_machine, load_preset, preset_names
from coalsim.topology.toml_text import key_lines, line_of

COAL = (PRESETS / "coal.toml").read_text(encoding="utf-8")


def read(folder: Path, text: str) -> Machine:
    file = folder / "machine.toml"
    file.write_text(text, encoding="utf-8")
    return read_machine_file(file)


def refused(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as refusal:
        read(folder, text)
    return [str(problem).removeprefix(f"{folder}/") for problem in refusal.value.problems]


@pytest.mark.parametrize("name", [*preset_names(), "pack:2 numa:2 l3:2 core:2 pu:2"])
def test_every_machine_reads_back_equal(tmp_path: Path, name: str) -> None:
    """Written out core by core and read again: the same machine, sources and warnings included."""
    machine = load_machine(name)
    assert read(tmp_path, machine_file_text(machine)) == machine


def test_a_changed_machine_reads_back_equal(tmp_path: Path) -> None:
    """Also with quotes in its texts and numbers that the user set."""
    machine = load_preset("wex8").with_overrides({"dram.0.1": "123.25ns", "memory": "1GiB"})
    machine = machine.with_warnings('a "quoted" warning with a \\ in it')
    assert read(tmp_path, machine_file_text(machine)) == machine


@given(value=st.decimals(min_value="0.001", max_value="1000", allow_nan=False, places=6))
def test_no_digit_is_lost(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    """Whatever the number, it comes back exactly."""
    machine = load_preset("coal").with_overrides({"line_transfer.cross": f"{value} ns"})
    assert read(tmp_path_factory.mktemp("file"), machine_file_text(machine)) == machine


def test_all_mistakes_of_a_file_come_together_with_their_lines(tmp_path: Path) -> None:
    """A misspelt key, a negative size, a missing status, a lost source: one line each."""
    text = COAL.replace("[line_transfer]", "[line_transfr]").replace("value = 2,", "value = -2,")
    text = text.replace('"GHz", source = "@estimate", status = "assumed"', '"GHz", source = "@nobody"')
    told = "\n".join(refused(tmp_path, text))
    lines = {key: line_of(key_lines(text), key) for key in ("line_transfr", "node.memory", "clock_ghz")}
    assert (
        f"machine.toml:{lines['line_transfr']}: line_transfr: unknown key; did you mean line_transfer?"
        in told
    )
    assert f"machine.toml:{lines['node.memory']}: node.memory: -2 is negative" in told
    assert f"machine.toml:{lines['clock_ghz']}: clock_ghz: status missing" in told
    assert "line_transfer: missing" in told


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("sockets = 2", "sockets = 0", "layout.sockets = 0: not a whole number from 1 up"),
        ("sockets = 2", "sockets = 10_000_000_000", "layout: 20000000000 CPUs are too many"),
        ("cores_per_socket = 2\n", "", "layout.cores_per_socket: missing"),
        ("value = 2,", "value = 0,", "node: a machine without memory"),
        ("value = 2,", "value = 0.3,", "not a size that a node can have"),
        ("value = 2.5,", "value = nan,", "clock_ghz = NaN: not a finite number"),
        ("value = 2.5,", "value = 0,", "clock_ghz = 0 GHz: not a cost"),
        ("value = 2.5,", 'value = "fast",', "clock_ghz: 'fast' is not a number"),
        ("value = 80\n", "value = 1e300\n", "not a cost that a machine can have"),
        ('between = "local"', 'between = "nearby"', "dram.0.between = nearby: no such class"),
        ('between = "cross"', "pairs = [[0, 1]]", "dram: some pairs of nodes have no latency"),
        ('between = "cross"', "pairs = [[0, 7]]", "dram.1.pairs = [0, 7]: not a pair of nodes"),
        (
            "nodes_per_socket = 1",
            "nodes_per_socket = 3",
            "layout.nodes_per_socket: more than there are cores",
        ),
        ('name = "coal"', 'name = "a\\u001b[31m"', "name: not a text on one line"),
        ('"@barearm"', '"@elsewhere"', "@elsewhere is not in [sources]"),
        ("[node] #", "[[node]] #", "node: not one table per node"),
    ],
)
def test_each_mistake_is_named(tmp_path: Path, old: str, new: str, told: str) -> None:
    """One change to a good file, one message about it."""
    assert old in COAL
    assert told in "\n".join(refused(tmp_path, COAL.replace(old, new)))


def test_a_distance_without_its_cost_is_named(tmp_path: Path) -> None:
    """Clusters exist, their hand-over does not."""
    text = COAL.replace("cores_per_socket = 2", "cores_per_socket = 4")
    text = text.replace("clusters_per_socket = 1", "clusters_per_socket = 2")
    told = refused(tmp_path, text)
    assert any("line_transfer.cluster: missing, though such pairs of CPUs exist" in line for line in told)


def test_bad_syntax_has_its_line(tmp_path: Path) -> None:
    """tomllib's own message, on the right line."""
    (told,) = refused(tmp_path, 'name = "x"\ntitle = = 3\n')
    assert told.startswith("machine.toml:2: not TOML: ")


def test_other_files_are_not_machines(tmp_path: Path) -> None:
    """Empty, binary, deeply nested."""
    assert "layout: source or status missing" in "\n".join(refused(tmp_path, ""))
    file = tmp_path / "machine.toml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8 text"):
        read_machine_file(file)
    with pytest.raises(ConfigError, match="not TOML"):
        read(tmp_path, "a = " + "[" * 100_000)


def test_keys_are_found_in_the_text() -> None:
    """Tables, arrays of tables and quoted keys; an unknown key falls back on what is around it."""
    lines = key_lines('a = 1\n[b]\n"c" = 2\n[[d]]\ne = 1\n[[d]] # more\ne = 2\n')
    assert [line_of(lines, key) for key in ("a", "b.c", "d.0.e", "d.1.e", "b.nothing", "z")] == [
        1,
        3,
        5,
        7,
        2,
        0,
    ]


def test_the_example_in_the_manual_is_a_machine(tmp_path: Path) -> None:
    """What docs/machines.md shows can be copied."""
    manual = (Path(__file__).parents[2] / "docs" / "machines.md").read_text(encoding="utf-8")
    example = manual.split("```toml\n")[1].split("```")[0]
    machine = read(tmp_path, example)
    assert (machine.num_sockets, machine.num_cpus) == (2, 32)
    assert machine.clock_ghz.source == "product data"
    assert machine.ipi_send.source == "estimate, not measured"
