"""`coalsim where --op`: one operation's latency by cause, as table, document and folded stacks."""

import json
from pathlib import Path

import pytest
from command import accepted, json_of, refused
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coalsim.cli import main as command_line
from coalsim.cli.resultfile import load_result
from coalsim.errors import ConfigError
from coalsim.observe.document import dump
from coalsim.observe.operations import folded_operation, operation_text
from coalsim.observe.summary import summary

DATA = Path(__file__).parent.parent / "data"
SMALL = (
    *("run", "munmap_shared", "--machine", "ivb-laptop", "--set", "workload.cpus=3"),
    *("--set", "run.warmup=0", "--set", "run.duration=60us", "--set", "run.replications=2"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder of a small run with replications."""
    made = tmp_path_factory.mktemp("where") / "result"
    assert command_line.run([*SMALL, "--quiet", "--out", str(made)]) == 0
    return made


def test_an_operation_is_shown_by_cause(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Total, share and time per operation; of the means or of one run."""
    lines = accepted(capsys, "where", str(folder), "--op", "munmap").splitlines()
    assert lines[0].startswith("munmap: ")
    assert lines[1].split() == ["cause", "total-us", "share%", "per-op-ns"]
    assert lines[-2].split()[:3:2] == ["total", "100.0"]
    assert lines[-1] == "the causes add up to the latencies of all operations"

    assert accepted(capsys, "where", str(folder), "--op", "fault", "--run", "2").startswith("fault: ")


def test_json_is_one_document_with_that_operation(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As the result has it, with what it belongs to."""
    document = json_of(capsys, "where", str(folder), "--op", "munmap")
    stored = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert document["operations"] == {"munmap": stored["operations"]["munmap"]}
    assert document["machine"] == "ivb-laptop"
    assert "time" not in document


def test_folded_stacks_go_to_a_file_or_instead_of_the_table(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The operation is the root, each word of a cause a frame."""
    file = tmp_path / "munmap.folded"
    asked = ("where", str(folder), "--op", "munmap")

    assert accepted(capsys, *asked, "--folded", str(file)) == accepted(capsys, *asked)
    stacks = accepted(capsys, *asked, "--folded", "-")
    assert stacks == file.read_text(encoding="utf-8")
    assert all(line.startswith("munmap;") and line.count(" ") == 1 for line in stacks.splitlines())
    assert "munmap;shootdown;flight " in stacks
    assert "cpu0;shootdown;flight " in accepted(capsys, "where", str(folder), "--folded", "-")


def test_an_unknown_operation_is_refused_with_those_that_there_are(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the one that was probably meant; a result without operations says how to get some."""
    (line,) = refused(capsys, "where", str(folder), "--op", "unmap")
    assert "--op = unmap: no such operation in the result; did you mean munmap?" in line
    assert line.endswith("it has exec, fault, futex, mmap, munmap")

    (line,) = refused(capsys, "where", str(DATA / "result"), "--op", "munmap")
    assert "the result has no operations; run a study whose tasks have address spaces" in line

    (line,) = refused(capsys, "where", str(folder), "--op", "munmap", "--per-cpu")
    assert line.startswith("--op and --per-cpu:")


def test_a_damaged_operation_is_refused_with_its_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its shape is checked like everything else in a result."""
    wrong = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    del wrong["operations"]["munmap"]["latency_ns"]["mean"]
    wrong["oracle"]["findings"] = {}
    (tmp_path / "result.json").write_text(dump(wrong), encoding="utf-8")

    lines = refused(capsys, "where", str(tmp_path), "--op", "munmap")

    assert "operations.munmap.latency_ns.mean: missing" in lines[0]
    assert "oracle.findings: should be a list, not an object" in lines[1]


PARTS = ("operations", "oracle", "vm", "shootdown_ns")
oddities = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1, 10**29, 0.5, -0.5, 1e29, 1e-300]),
    st.text(max_size=5),
    st.sampled_from([[], {}, [[]], [{}], {"": 0}, {"": ""}, ["\x1b[31m"], [0], [-5, 10**29]]),
)


def paths(value: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every place in nested objects."""
    inner = value.items() if isinstance(value, dict) else ()
    return [path, *(found for key, item in inner for found in paths(item, (*path, key)))]


@settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=60)
@given(data=st.data())
def test_whatever_is_accepted_of_virtual_memory_can_be_printed(
    folder: Path, tmp_path: Path, data: st.DataObject
) -> None:
    """Odd values in any place are refused as bad input, or printed; nothing else happens."""
    value = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    del value["runs"]
    places = [path for path in paths({part: value[part] for part in PARTS}) if path]
    for path in data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=3)):
        place = value
        for step in path[:-1]:
            place = place.get(step, {}) if isinstance(place, dict) else {}
        if isinstance(place, dict):
            place[path[-1]] = data.draw(oddities)
    file = tmp_path / "result.json"
    file.write_text(dump(value), encoding="utf-8")
    try:
        document = load_result(file)
    except ConfigError:
        return
    texts = [summary(document)]
    for name, entry in document.get("operations", {}).items():
        texts += [operation_text(name, entry), folded_operation(name, entry)]
    assert all("\x1b" not in text for text in texts)
