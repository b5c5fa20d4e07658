"""`coalsim machines`: list, show and import, for people and for programs."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from coalsim.cli.machines import machines
from coalsim.errors import ConfigError
from coalsim.topology.presets import load_machine, preset_names

DATA = Path(__file__).parent.parent / "data" / "topology"


def run(*arguments: str) -> str:
    result: Result = CliRunner().invoke(machines, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_list_names_every_machine() -> None:
    """One row each, within a hundred columns."""
    lines = run("list").splitlines()
    assert [line.split()[0] for line in lines[1 : 1 + len(preset_names())]] == list(preset_names())
    assert max(map(len, lines)) <= 100


def test_list_as_json_is_one_document() -> None:
    """With sizes, and how many numbers were measured."""
    found = {machine["name"]: machine for machine in json.loads(run("list", "--json"))["machines"]}
    assert list(found) == list(preset_names())
    assert found["wex8"]["num_cpus"] == 80
    assert found["coal"]["numbers"]["measured"] == 0
    assert found["clx2"]["numbers"]["measured"] > 0


def test_show_draws_and_tells_the_sources() -> None:
    """Both on one page."""
    text = run("show", "clx2-snc")
    assert "┌─ socket 0 ─" in text
    assert "measured  dram (16): plantegg (blog), Intel Memory Latency Checker" in text


def test_show_as_json_holds_everything() -> None:
    """Matrix, tables, places and every number with its provenance."""
    document = json.loads(run("show", "clx2-snc", "--json"))
    assert document["dram_ns"][0] == [77.3, 81.6, 129.8, 136.1]
    assert document["line_transfer_ns"]["cross"] == 141
    assert document["cpus"][52] == {"cpu": 52, "node": 0, "socket": 0, "cluster": 0, "core": 0, "thread": 1}
    assert all({"key", "value", "unit", "source", "status"} == set(row) for row in document["parameters"])


def test_show_draws_an_svg_file(tmp_path: Path) -> None:
    """And says so; with --json it is silent about it."""
    file = tmp_path / "coal.svg"
    assert f"drawn into {file}" in run("show", "coal", "--svg", str(file))
    assert ElementTree.parse(file).getroot().tag.endswith("svg")
    json.loads(run("show", "coal", "--svg", str(file), "--json"))


def test_numbers_can_be_set() -> None:
    """With or without the word `machine`."""
    for key in ("clock_ghz", "machine.clock_ghz"):
        assert json.loads(run("show", "icx2", "--set", f"{key}=2.2", "--json"))["clock_ghz"] == 2.2


def test_an_import_can_be_used_as_a_machine(tmp_path: Path) -> None:
    """Written to a file, loaded, and equal to what was shown."""
    out = tmp_path / "mine.toml"
    text = run("import", str(DATA / "lstopo-2pack-4numa.xml"), "--name", "mine", "--out", str(out))
    assert f"written to {out}" in text
    assert "warning   not in the file, so assumed" in text
    machine = load_machine(str(out))
    assert (machine.name, machine.num_cpus, machine.num_nodes) == ("mine", 16, 4)


def test_an_import_takes_a_core_to_core_matrix() -> None:
    """The shape of one file, the hand-over of another."""
    arguments = ("pack:2 core:6 pu:2", "--c2c", str(DATA / "westmere_ep_x5650_2s.csv"), "--json")
    document = json.loads(run("import", *arguments))
    assert document["num_cpus"] == 24
    assert 30 < document["line_transfer_ns"]["cross"] < 80


def test_distances_make_latencies_only_on_demand() -> None:
    """The flag is the only way."""
    listing = str(DATA / "numactl-2nodes.txt")
    plain = json.loads(run("import", listing, "--json"))["dram_ns"]
    asked = json.loads(run("import", listing, "--slit-latencies", "--json"))["dram_ns"]
    assert plain[0][1] == 140
    assert asked[0][1] == asked[0][0] * 2.1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("show", "clx"), "did you mean clx2"),
        (("show", "coal", "--set", "clock_ghz"), "--set = clock_ghz: no value"),
        (("show", "coal", "--max-input", "much"), "'much' is not a size"),
        (("show", "coal", "--svg", "no/such/folder/x.svg"), "cannot be written"),
        (("import", "nothing.xml"), "nothing.xml: no such file"),
        (("import", "coal", "--out", "coal.json"), "not the name of a machine file"),
        (
            ("import", str(DATA / "README.md")),
            "describes no machine in any way that is known; give lstopo XML",
        ),
    ],
)
def test_mistakes_are_raised_for_the_main_program(arguments: tuple[str, ...], told: str) -> None:
    """Which prints them, one per line, and exits with 2."""
    with pytest.raises(ConfigError) as refused:
        run(*arguments)
    assert told in str(refused.value)
