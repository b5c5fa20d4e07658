"""The planted memory errors: all are found, nothing else is, and each report names its owner or culprit."""

import pytest
from load_bench import MODES, build, run, system, text

from coalsim.boot import System
from coalsim.errors import KernelBug
from coalsim.observe.document import ResultDocument
from coalsim.observe.safety_document import SafetyEntry
from coalsim.units import US
from coalsim.workloads.synthetic.memory_errors import KINDS

pytestmark = pytest.mark.fast_one_in(2, in_turn=True)

DEBUG = {"debug_redzone": "on", "debug_poison": "on", "debug_quarantine": "32"}
EACH = 20
KERNELS = [("coal", {}), ("linux-6.0", {}), ("linux-6.18", {}), ("linux-6.18", {"slab": "sheaves"})]


def planted(
    profile: str, switches: dict[str, str], *, mode: dict[str, bool] | None = None, **parameters: object
) -> tuple[System, ResultDocument]:
    """A run of the load on four CPUs."""
    asked = {"cpus": 4, "rounds": 500, "errors": EACH, "most": 2000, **parameters}
    made = system("coal", profile, {**DEBUG, **switches}, machine_changes={"memory": "96MiB"}, mode=mode)
    return made, run(made, build("memory_errors", asked))


def culprit_of(entry: SafetyEntry) -> str:
    """The name of the planted mistake that a report leads to: by its owner, and by the wrong free's site."""
    assert "allocated" in entry
    owner = entry["allocated"]["site"]
    assert owner.startswith("owner_"), f"invented: {entry['text']}"
    if entry["kind"] in ("double free", "wrong cache", "interior free"):
        assert entry["site"] == owner.replace("owner_", "plant_")
    if entry["kind"] in ("use after free", "double free"):
        assert "freed" in entry
        assert entry["freed"]["site"] == owner.replace("owner_", "free_")
    return owner.removeprefix("owner_")


@pytest.mark.parametrize(("profile", "switches"), KERNELS)
def test_twenty_of_each_kind_are_all_found_and_none_is_invented(
    profile: str, switches: dict[str, str]
) -> None:
    """Among thousands of allocations; once each, under its own kind, with what a kernel can know."""
    made, result = planted(profile, switches)
    found = result["safety"]
    wanted = {f"{kind.replace(' ', '_')}_{number}": kind for kind in KINDS for number in range(EACH)}
    names = [culprit_of(entry) for entry in found]
    assert sorted(names) == sorted(wanted)
    assert all(wanted[name] == entry["kind"] for name, entry in zip(names, found, strict=True))
    assert sum(row["allocs"] for row in result["memory"]["magazines"]) > 2000
    assert [entry["time_ns"] for entry in found] == sorted(entry["time_ns"] for entry in found)
    made.memory.validate()


@pytest.mark.parametrize(("profile", "switches"), KERNELS)
def test_a_program_without_mistakes_is_not_accused(profile: str, switches: dict[str, str]) -> None:
    """No finding, no object left, and what looking takes shows under its own causes."""
    made, result = planted(profile, switches, errors=0)
    assert result["safety"] == []
    debug = made.memory.debug
    assert debug is not None
    assert made.memory.objects.held_objects == debug.held_back <= 4 * 32
    spent = result["time"]["0"]
    for cause in ("debug:redzone", "debug:poison", "debug:quarantine", "debug:track"):
        assert spent[cause] > 0
    assert "warnings" not in result


@pytest.mark.fast_one_in(2)
@pytest.mark.parametrize(
    ("profile", "switches"),
    [
        ("coal", {"debug_guard_pages": "on", "hz": "10000"}),
        ("linux-6.18", {"debug_quarantine": "0"}),
        ("linux-6.0", {"debug_redzone": "off", "leak_tracking": "on"}),
        ("linux-6.18", {"slab": "sheaves", "debug_poison": "off"}),
    ],
)
def test_every_path_through_the_engine_finds_the_same_at_the_same_time(
    profile: str, switches: dict[str, str]
) -> None:
    """All bytes of the document, reports and addresses included."""
    texts = [text(planted(profile, switches, mode=mode, rounds=80, errors=4)[1]) for mode in MODES]
    assert all(other == texts[0] for other in texts[1:])


@pytest.mark.parametrize(
    ("kind", "parameters", "duration"),
    [
        ("larson", {"cpus": 4, "slots": 40, "rounds": 25, "most": 20_000}, 60 * US),
        ("kmalloc_remote_free", {"cpus": 4, "size": 64, "slots": 2}, 60 * US),
        ("fork_cow", {"cpus": 3, "rounds": 1, "pages": 16}, 0),
    ],
)
def test_loads_under_all_debug_modes_are_the_same_whichever_path(
    kind: str, parameters: dict[str, object], duration: int
) -> None:
    """Guarded allocations, stacks of tasks, a run cut off in the middle; and nobody is accused."""
    switches = {**DEBUG, "debug_guard_pages": "on", "hz": "10000"}
    documents = []
    for mode in (MODES[0], {}):
        made = system("coal", "linux-6.18", switches, machine_changes={"memory": "128MiB"}, mode=mode)
        documents.append(run(made, build(kind, parameters), duration))
    assert text(documents[0]) == text(documents[1])
    assert documents[0]["safety"] == []
    modes = documents[0]["debug_modes"]
    assert modes["guarded_areas"] > 0 or kind == "fork_cow"
    if kind == "kmalloc_remote_free":
        assert modes["bytes_around_objects"] > 0
        assert 0 < modes["held_back"] <= 4 * 32


def test_without_debug_modes_damage_is_silent_and_a_wrong_free_is_fatal() -> None:
    """What the modes are for."""
    off = {"debug_redzone": "off", "debug_poison": "off", "debug_quarantine": "0"}
    made, result = planted("linux-6.18", off, kinds=["overflow", "underflow", "use after free"])
    assert "safety" not in result
    made.memory.validate()
    with pytest.raises(KernelBug):
        planted("linux-6.18", off, kinds=["double free"])


@pytest.mark.parametrize(
    ("fatal", "words"), [("guard", "Allocated in owner_guard"), ("stack", "stack guard page was hit")]
)
def test_a_fatal_mistake_ends_the_run_with_its_report_and_all_findings(fatal: str, words: str) -> None:
    """The document holds what was found up to then."""
    from coalsim.study.overrides import parse_settings
    from coalsim.study.planning import open_study
    from coalsim.study.run import run_study

    settings = ("workload.rounds=60", "workload.errors=2", f"workload.fatal={fatal}")
    result = run_study(open_study("memory_errors", parse_settings(settings)))
    assert words in result["panic"]
    assert result["panic"].endswith("Kernel panic - not syncing: Fatal exception")
    assert {entry["kind"] for entry in result["safety"]} == {*KINDS}
