"""Microarchitectures and ways to interrupt: published sizes, bad values, files, overrides and views."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner

from coalsim.cli.machines import machines
from coalsim.errors import ConfigError
from coalsim.topology.costs import assumed_costs
from coalsim.topology.interrupts import GUEST_KEYS, IPI_MODELS
from coalsim.topology.machine import Machine
from coalsim.topology.machine_file import read_machine_file
from coalsim.topology.machine_writer import machine_file_text
from coalsim.topology.mmu import MMU_KEYS
from coalsim.topology.mmu_file import FOLDER, mmu_named, mmu_names, read_mmu_file
from coalsim.topology.presets import PRESETS, load_machine, load_preset, preset_names

# name: 4 KiB pages L1 entries and ways, L2 entries and ways; 2 MiB pages L1 entries and ways, in L2 too.
# Ways 0: fully associative.
GEOMETRY = {
    "westmere": (64, 4, 512, 4, 32, 4, 0),
    "ivy-bridge": (64, 4, 512, 4, 32, 4, 0),
    "haswell": (64, 4, 1024, 8, 32, 4, 1),
    "broadwell": (64, 4, 1536, 6, 32, 4, 1),
    "skylake-sp": (64, 4, 1536, 12, 32, 4, 1),
    "ice-lake-sp": (64, 4, 2048, 16, 32, 4, 1),
    "sapphire-rapids": (96, 6, 2048, 16, 32, 4, 1),
    "zen2": (64, 0, 2048, 16, 64, 0, 1),
    "zen3": (64, 0, 2048, 16, 64, 0, 1),
    "zen5": (96, 0, 4096, 16, 96, 0, 1),
    "neoverse-n1": (48, 0, 1280, 5, 48, 0, 1),
    "neoverse-v1": (48, 0, 2048, 8, 48, 0, 1),
    "tsv110": (32, 0, 1024, 4, 32, 0, 1),
    "coal": (64, 4, 1536, 12, 32, 4, 1),
    "ideal": (64, 4, 1536, 12, 32, 4, 1),
}
SIZES = (
    "l1_entries",
    "l1_ways",
    "l2_entries",
    "l2_ways",
    "l1_large_entries",
    "l1_large_ways",
    "l2_holds_large",
)

PRESET_MMU = {
    "altra2": "neoverse-n1",
    "bdx2": "broadwell",
    "clx2": "skylake-sp",
    "clx2-snc": "skylake-sp",
    "coal": "coal",
    "e7v3-4s": "haswell",
    "gnr2-snc3": "sapphire-rapids",
    "graviton2": "neoverse-n1",
    "graviton3": "neoverse-v1",
    "hsx2": "haswell",
    "icx2": "ice-lake-sp",
    "ideal": "ideal",
    "ivb-laptop": "ivy-bridge",
    "ivx8": "ivy-bridge",
    "kunpeng920": "tsv110",
    "kvm80": "skylake-sp",
    "milan2-nps4": "zen3",
    "rome2-nps4": "zen2",
    "westmere-ep": "westmere",
    "wex8": "westmere",
}

# What somebody has read in a source; everything else is assumed, or derived from these.
READ = {
    "westmere": ("l1_entries", "l1_ways", "l2_entries", "l2_ways", "l1_large_entries", "l2_holds_large"),
    "ivy-bridge": ("l2_entries", "l2_hit", "invlpg", "cr3_flush", "global_flush"),
    "haswell": (
        *("l1_entries", "l2_entries", "l1_large_entries", "l2_holds_large", "l2_hit"),
        *("invlpg", "cr3_flush", "global_flush"),
    ),
    "broadwell": ("l2_entries", "invlpg", "cr3_flush", "global_flush"),
    "sapphire-rapids": ("has_rar",),
    "zen2": ("l1_entries", "l1_ways", "l2_entries", "l1_large_entries", "l1_large_ways", "l2_holds_large"),
    "zen3": ("l1_entries", "l1_ways", "l1_large_entries", "l1_large_ways", "has_invlpgb"),
}

COAL = (PRESETS / "coal.toml").read_text(encoding="utf-8")


def read(folder: Path, text: str) -> Machine:
    file = folder / "machine.toml"
    file.write_text(text, encoding="utf-8")
    return read_machine_file(file)


# -- what the files say --------------------------------------------------------------------


def test_the_microarchitectures_are_those() -> None:
    """None is missing, none is left untested, and each preset has its own."""
    assert mmu_names() == tuple(sorted(GEOMETRY))
    assert {name: load_preset(name).mmu.name for name in preset_names()} == PRESET_MMU


@pytest.mark.parametrize("name", GEOMETRY)
def test_sizes_and_associativities_are_the_published_ones(name: str) -> None:
    """Both levels, both page sizes; the ways divide the entries."""
    mmu = mmu_named(name)
    assert tuple(mmu.count(key) for key in SIZES) == GEOMETRY[name]
    for level in ("l1", "l2", "l1_large"):
        entries, ways = mmu.count(f"{level}_entries"), mmu.count(f"{level}_ways")
        assert entries % (ways or entries) == 0


@pytest.mark.parametrize("preset", PRESET_MMU)
def test_a_preset_has_the_tlb_of_its_microarchitecture(preset: str) -> None:
    """What a preset replaces is not a size of its TLB."""
    mmu = load_preset(preset).mmu
    assert tuple(mmu.count(key) for key in SIZES) == GEOMETRY[PRESET_MMU[preset]]


@pytest.mark.parametrize("name", GEOMETRY)
def test_every_number_has_its_source_and_an_honest_status(name: str) -> None:
    """Measured is what was read of that microarchitecture, or of an unnamed one of its time."""
    numbers = dict(mmu_named(name).numbers())
    assert tuple(numbers) == MMU_KEYS
    assert {key for key, number in numbers.items() if number.status == "measured"} == set(READ.get(name, ()))
    assert {key for key, number in numbers.items() if number.status == "derived"} <= {"invlpg_next"}
    assert all(number.source.strip() and "@" not in number.source for number in numbers.values())


def test_flush_costs_are_the_published_ones() -> None:
    """INVLPG, the next one, CR3, CR4: cycles on a newer Intel and an older AMD CPU (Molnar 2015)."""
    keys = ("invlpg", "invlpg_next", "cr3_flush", "global_flush")
    assert [mmu_named("ivy-bridge")[key].value for key in keys] == [230, 225, 150, 940]
    assert [mmu_named("zen3")[key].value for key in keys] == [94, 93, 127, 590]
    assert {mmu_named(name)["invlpg"].value for name in GEOMETRY if "lake" in name} == {Decimal(230)}


def test_who_can_broadcast() -> None:
    """AMD since Zen 3, Arm always, Intel's remote action requests since Sapphire Rapids."""

    def having(key: str) -> set[str]:
        return {name for name in mmu_names() if mmu_named(name).count(key)}

    assert having("has_invlpgb") == {"zen3", "zen5"}
    assert having("has_tlbi") == {"neoverse-n1", "neoverse-v1", "tsv110"}
    assert having("has_rar") == {"sapphire-rapids"}


def test_the_ideal_microarchitecture_is_free() -> None:
    """Nothing takes time but the flight of a broadcast, which is the lookahead."""
    mmu = mmu_named("ideal")
    costs = {key: number.picoseconds(Decimal(1)) for key, number in mmu.numbers() if number.unit}
    assert {key for key, cost in costs.items() if cost} == {"broadcast_flight"}
    assert costs["broadcast_flight"] == 1_000_000


def test_a_guest_leaves_for_its_interrupts() -> None:
    """Exit, work and kick are the 2,239 ns one way that were measured on KVM."""
    kvm = load_preset("kvm80")
    assert (kvm.ipi_model, kvm.ipi.status) == ("kvm_exit", "measured")
    assert "4180bf1b655a" in kvm.ipi.source
    guest = kvm.guest
    assert guest is not None
    assert guest.vm_exit.value + guest.per_target.value + guest.kick.value == 2239
    assert guest.hypercall.value - guest.vm_exit.value == 2286 - 2239
    assert [name for name in preset_names() if load_preset(name).guest] == ["kvm80"]
    assert {load_preset(name).ipi_model for name in preset_names() if name != "kvm80"} == {"x2apic_cluster"}


# -- files ---------------------------------------------------------------------------------


def test_a_machine_file_may_replace_single_numbers(tmp_path: Path) -> None:
    """What it does not name stays as on the microarchitecture; it reads back equal."""
    own = (
        '\n[mmu_values]\nl2_entries = { value = 768, unit = "", source = "datasheet", status = "measured" }\n'
    )
    machine = read(tmp_path, COAL + own)
    assert (machine.mmu.name, machine.mmu.count("l2_entries")) == ("coal", 768)
    assert (machine.mmu.l2_entries.source, machine.mmu.l2_entries.status) == ("datasheet", "measured")
    assert machine.mmu.l2_ways == mmu_named("coal").l2_ways
    assert read(tmp_path, machine_file_text(machine)) == machine


def test_a_guest_reads_back_equal(tmp_path: Path) -> None:
    """Also one that became a guest by a setting."""
    machine = load_preset("coal").with_overrides({"ipi_model": "kvm_pv", "guest.resume": "1us"})
    assert read(tmp_path, machine_file_text(machine)) == machine


def test_without_a_microarchitecture_one_is_assumed_with_a_warning(tmp_path: Path) -> None:
    """In files by hand and in imports alike, and nothing of it counts as measured."""
    by_hand = read(tmp_path, COAL.replace('mmu = "coal"\n', ""))
    for machine in (by_hand, load_machine("pack:2 core:4 pu:2")):
        assert machine.mmu == assumed_costs().mmu
        assert machine.mmu.name == "skylake-sp"
        assert all(number.status == "assumed" for _, number in machine.mmu.numbers())
        assert sum("TLBs and flushes of skylake-sp are assumed" in text for text in machine.warnings) == 1
        assert read(tmp_path, machine_file_text(machine)) == machine
    assert not any("skylake-sp" in text for text in read(tmp_path, COAL).warnings)


def test_without_a_model_of_interrupts_the_usual_one_is_assumed(tmp_path: Path) -> None:
    """One write for each cluster of 16."""
    lines = [line for line in COAL.splitlines() if not line.startswith("ipi_model")]
    machine = read(tmp_path, "\n".join(lines))
    assert (machine.ipi_model, machine.ipi.status, machine.guest) == ("x2apic_cluster", "assumed", None)


GOOD = 'value = 7, unit = "cycles", source = "s", status = "assumed"'
COUNT = GOOD.replace("cycles", "")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('mmu = "coal"', 'mmu = "skylake"', "mmu = skylake: no microarchitecture of that name; did you mean"),
        ('mmu = "coal"', "mmu = 7", "mmu: not a text on one line"),
        ('"x2apic_cluster"', '"x2apic_clustr"', "ipi_model = x2apic_clustr: no model of interrupts"),
        ('"x2apic_cluster"', "7", "ipi_model: not a model with its provenance"),
        (
            "[line_transfer]",
            f"[mmu_values]\nl3_hit = {{ {GOOD} }}\n[line_transfer]",
            "mmu_values.l3_hit: unknown",
        ),
        (
            "[line_transfer]",
            f"[mmu_values]\nl1_entries = {{ {GOOD} }}\n[line_transfer]",
            "mmu_values.l1_entries: unit 'cycles' does not fit",
        ),
        (
            "[line_transfer]",
            f"[mmu_values]\nl1_entries = {{ {COUNT} }}\n[line_transfer]",
            "mmu.l1_ways = 4: 4 ways do not divide 7 entries",
        ),
        (
            "[line_transfer]",
            f"[mmu_values]\nl1_ways = {{ {COUNT.replace('7', '2.5')} }}\n[line_transfer]",
            "mmu.l1_ways = 2.5: not a count that a TLB can have",
        ),
        (
            "[line_transfer]",
            f"[mmu_values]\nhas_rar = {{ {COUNT} }}\n[line_transfer]",
            "mmu.has_rar = 7: not a count that a TLB can have; give a whole number from 0 to 1",
        ),
        ("[line_transfer]", f"[guest]\nkick = {{ {GOOD} }}\n[line_transfer]", "guest.vm_exit: missing"),
    ],
)
def test_each_mistake_is_named(tmp_path: Path, old: str, new: str, told: str) -> None:
    """One change to a good file; the message has the file, a line and the key."""
    assert COAL.count(old) == 1
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, COAL.replace(old, new))
    assert any(told in str(problem) for problem in refused.value.problems), str(refused.value)
    assert all(problem.where.endswith("machine.toml") and problem.line for problem in refused.value.problems)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("l2_ways = ", "l2_wais = ", "values.l2_wais: unknown key; did you mean l2_ways?"),
        ("l2_ways = ", "l2_wais = ", "values.l2_ways: missing"),
        ("value = 1536", "value = -1536", "values.l2_entries: -1536 is negative"),
        ("[values]", "[vaules]", "vaules: unknown key; did you mean values?"),
        ("value = 940,", 'value = "much",', "values.global_flush: 'much' is not a number"),
        ('source = "@definition"', 'source = "@nobody"', "@nobody is not in [sources]"),
    ],
)
def test_a_bad_microarchitecture_is_refused(tmp_path: Path, old: str, new: str, told: str) -> None:
    """Each mistake with file, line and key."""
    text = (FOLDER / "coal.toml").read_text(encoding="utf-8")
    file = tmp_path / "mine.toml"
    file.write_text(text.replace(old, new), encoding="utf-8")
    assert old in text
    with pytest.raises(ConfigError) as refused:
        read_mmu_file(file)
    assert any(told in str(problem) for problem in refused.value.problems)
    assert all(problem.where == str(file) for problem in refused.value.problems)


# -- settings ------------------------------------------------------------------------------


def test_a_microarchitecture_and_its_numbers_can_be_set() -> None:
    """The name first, whatever the order, and numbers that only fit together all at once."""
    machine = load_preset("coal").with_overrides(
        {"mmu.l1_ways": "9", "mmu.l1_entries": "90", "mmu.invlpg": "100ns", "mmu": "zen3"}
    )
    assert machine.mmu.name == "zen3"
    assert (machine.mmu.count("l1_entries"), machine.mmu.count("l1_ways")) == (90, 9)
    assert (machine.mmu.invlpg.unit, machine.mmu.invlpg.source) == ("ns", "set by the user")
    assert machine.mmu.l2_entries == mmu_named("zen3").l2_entries


def test_a_machine_becomes_a_guest_by_a_setting() -> None:
    """What is not set is assumed."""
    machine = load_preset("coal").with_overrides({"ipi_model": "kvm_pv", "guest.preempted_share": "0.2"})
    assert machine.guest is not None
    assert machine.ipi_model == "kvm_pv"
    assert machine.guest.preempted_share.value == Decimal("0.2")
    assert machine.guest.vm_exit == assumed_costs().guest.vm_exit


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("mmu", "zen4", "machine.mmu = zen4: no microarchitecture of that name; did you mean zen"),
        ("ipi_model", "pigeon", "no model of interrupts of that name; known are x2apic_cluster"),
        (
            "mmu.l1_entires",
            "64",
            "machine.mmu.l1_entires = 64: no such number of a machine; did you mean mmu.l1",
        ),
        ("mmu.l1_entries", "65", "machine.mmu.l1_ways = 4: 4 ways do not divide 65 entries"),
        ("mmu.l1_entries", "0", "machine.mmu.l1_entries = 0: not a count that a TLB can have"),
        ("mmu.l1_entries", "64 cycles", "the unit cycles does not fit; give a plain number"),
        ("mmu.l1_entries", "many", "machine.mmu.l1_entries = many: not a number; write it like 64"),
        ("mmu.asids", "65537", "give a whole number from 0 to 65536"),
        ("mmu.has_invlpgb", "2", "give a whole number from 0 to 1"),
        ("mmu.broadcast_flight", "0", "nothing crosses in no time; give at least 1 ps"),
        ("mmu.invlpg", "2000000000 us", "machine.mmu.invlpg = 2000000000 us: not a cost"),
        ("guest.preempted_share", "1", "machine.guest.preempted_share = 1: not a cost that a hypervisor can"),
        ("guest.kick", "0", "nothing crosses in no time: give at least 1 ps"),
    ],
)
def test_settings_that_cannot_be_are_refused(key: str, value: str, told: str) -> None:
    """Each names its key and says what would do."""
    with pytest.raises(ConfigError) as refused:
        load_preset("coal").with_overrides({key: value})
    assert told in str(refused.value)


# -- views ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["kvm80", "coal"])
def test_parameters_and_json_hold_every_number(name: str) -> None:
    """Once each, with the prefix of its group; names stand by themselves."""
    shown = CliRunner().invoke(machines, ["show", name, "--json"], catch_exceptions=False)
    document = json.loads(shown.stdout)
    keys = [row["key"] for row in document["parameters"]]
    assert [key for key in keys if key.startswith("mmu.")] == [f"mmu.{key}" for key in MMU_KEYS]
    assert document["mmu"]["name"] == PRESET_MMU[name]
    assert (document["mmu"]["l1_entries"], document["mmu"]["l2_ways"]) == (64, 12)
    assert document["ipi_model"]["name"] in IPI_MODELS
    assert (document["guest"] is None) == (name == "coal")
    if name == "kvm80":
        assert tuple(document["guest"]) == tuple(sorted(GUEST_KEYS))
        assert [key for key in keys if key.startswith("guest.")] == [f"guest.{key}" for key in GUEST_KEYS]


def test_the_text_groups_what_has_one_source() -> None:
    """The numbers of a microarchitecture take few lines: the prefix is written once a group."""
    text = CliRunner().invoke(machines, ["show", "bdx2"], catch_exceptions=False).stdout
    assert "L1 64 4-way; L2 1,536 6-way, 9 cycles more" in text
    assert "mmu.invlpg, cr3_flush" not in text, "their sources differ"
    assert "mmu.walk_fixed, cache_l1_hit, cache_l2_hit, cache_l3_hit: engineering estimate" in text
    assert text.count("mmu.") < len(MMU_KEYS) / 2


def test_the_graph_knows_the_names() -> None:
    """For programs that compare machines by their shape."""
    graph = load_preset("wex8").graph().graph
    assert (graph["mmu"], graph["ipi_model"]) == ("westmere", "x2apic_cluster")
