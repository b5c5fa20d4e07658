"""`--json`: every command prints one document and nothing else, with the promised keys and meanings."""

import json
from pathlib import Path

import pytest
from command import accepted, json_of
from short_studies import SHORT as BRIEF

from coalsim.observe.document import ResultDocument
from coalsim.study.document import named_studies
from coalsim.units import NS, SEC

DATA = Path(__file__).parents[1] / "data"
EXCERPT = str(DATA / "compile_excerpt.perf.txt.gz")
SHORT = ("--set", "run.warmup=0", "--set", "run.duration=30us")
LOCK_STAT = {
    *("con_bounces", "contentions", "waittime_min", "waittime_max", "waittime_total", "waittime_avg"),
    *("acq_bounces", "acquisitions", "holdtime_min", "holdtime_max", "holdtime_total", "holdtime_avg"),
}


def study(capsys: pytest.CaptureFixture[str], name: str, *arguments: str) -> ResultDocument:
    """The document of a short run of a named study."""
    short = [part for key, value in BRIEF[name].items() for part in ("--set", f"{key}={value}")]
    document: ResultDocument = json.loads(accepted(capsys, "run", name, *short, *arguments, "--json"))
    return document


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder of a replay, which has all parts that a result can have."""
    from coalsim.cli import main as command_line

    made = tmp_path_factory.mktemp("replay") / "result"
    assert command_line.run(["replay", EXCERPT, "--machine", "clx2", "--clone", "8", "--out", str(made)]) == 0
    return made


@pytest.mark.parametrize(
    "command",
    [
        ("locks",),
        ("locks", "-t"),
        ("locks", "-l"),
        ("locks", "-E", "2", "-k", "wait_max"),
        ("mem",),
        *(("mem", f"--{section}") for section in ("bytes", "pagelists", "magazines", "numa", "remote-frees")),
        *(("mem", f"--{section}") for section in ("fragmentation", "buddyinfo", "slabinfo")),
        ("where",),
        ("where", "--per-cpu"),
    ],
    ids=" ".join,
)
def test_commands_on_a_result_print_text_and_one_document(
    command: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With all their options, on a folder and on the file in it."""
    arguments = (command[0], str(folder), *command[1:])
    assert accepted(capsys, *arguments).strip()
    document = json_of(capsys, *arguments)
    assert document["machine"] == "clx2"
    assert document == json_of(capsys, command[0], str(folder / "result.json"), *command[1:])


@pytest.mark.parametrize(
    "command",
    [
        ("machines", "list"),
        ("machines", "show", "clx2-snc"),
        ("machines", "import", "pack:2 numa:1 core:4 pu:2"),
        ("validate",),
        ("validate", "page_bulk", "--points", "1"),
        ("replay", EXCERPT),
    ],
    ids=" ".join,
)
def test_other_commands_print_one_document(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """A JSON object each, or for a list of names an array."""
    text = accepted(capsys, *command, "--json")
    assert json.loads(text)
    assert text.endswith("\n")


@pytest.mark.fast_one_in(4)
@pytest.mark.parametrize("name", named_studies())
def test_every_study_has_the_promised_keys(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And they fit each other: time adds up to the picosecond, rates are counts by time."""
    document = study(capsys, name)
    assert document["study"] == name
    assert document["seed"] == 1
    assert document["events"] > 0
    assert document["host_s"] > 0
    elapsed = document["sim_time_ps"]
    for causes in document["time"].values():
        assert sum(causes.values()) == elapsed
        assert all(isinstance(time, int) and time > 0 for time in causes.values())
    throughput = document["throughput"]
    assert throughput["ops"] > 0
    assert throughput["ops_per_s"] == pytest.approx(throughput["ops"] * SEC / elapsed)
    parts = [document, *document.get("phases", {}).values()]  # a replay has latencies of its phases only
    latencies = [part["latency_ns"] for part in parts if "latency_ns" in part]
    assert latencies
    for latency in latencies:
        assert latency["count"] > 0
        assert latency["p50"] <= latency["p99"] <= latency["max"]
        assert 0 < latency["mean"] <= latency["max"]
    for lock in document["locks"]:
        assert lock.keys() >= LOCK_STAT | {"name", "type"}
        assert sum(waiter["contentions"] for waiter in lock["waiters"]) == lock["contentions"]
        assert sum(holder["count"] for holder in lock["holders"]) == lock["contentions"]
    assert [lock["name"] for lock in document["locks"]] == sorted(lock["name"] for lock in document["locks"])


@pytest.mark.parametrize("name", ["page_bulk", "page_random"])
def test_lock_table_and_time_table_agree(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Lock time is CPU time, plus what handlers took of it, where no wait was cut off by an end."""
    document = study(capsys, name)
    for lock in document["locks"]:
        cause = f"lock:{lock['name']}:"
        spent = sum(
            time
            for causes in document["time"].values()
            for key, time in causes.items()
            if key[: len(cause)] == cause
        )
        assert spent == round((lock["waittime_total"] + lock["holdtime_total"] - lock["stolen"]) * NS)


def test_replications_are_a_list_and_their_means(capsys: pytest.CaptureFixture[str]) -> None:
    """Seeds count up; the top level holds means."""
    document = study(capsys, "lock_loop", "--set", "run.replications=3", "--seed", "5")
    runs = document["runs"]
    assert [run["seed"] for run in runs] == [5, 6, 7]
    assert document["seed"] == 5
    mean = sum(run["throughput"]["ops"] for run in runs) / 3
    assert document["throughput"]["ops"] == pytest.approx(mean)
    assert len({run["throughput"]["ops"] for run in runs}) > 1
    single = study(capsys, "lock_loop", "--seed", "6")
    for key in ("throughput", "latency_ns", "locks", "time"):
        assert single[key] == runs[1][key], "a replication is the run with its seed"


def test_phases_name_both_halves_of_the_bulk_load(capsys: pytest.CaptureFixture[str]) -> None:
    """The top level's latency is the allocation's, and its rate counts both."""
    document = study(capsys, "page_bulk")
    alloc, free = document["phases"]["alloc"], document["phases"]["free"]
    assert document["latency_ns"] == alloc["latency_ns"]
    assert document["throughput"]["ops"] == alloc["throughput"]["ops"] + free["throughput"]["ops"]
    random = study(capsys, "page_random")
    assert random["latency_ns"] == random["phases"]["free"]["latency_ns"]


def test_progress_goes_to_stderr_only(capsys: pytest.CaptureFixture[str]) -> None:
    """Asked for in any form, stdout still holds one document."""
    from coalsim.cli import main as command_line

    for style in ("plain", "json"):
        for command in (("run", "lock_loop", *SHORT), ("validate", "line_contention", "--points", "1,2")):
            assert command_line.run([*command, "--progress", style, "--json"]) == 0
            told = capsys.readouterr()
            json.loads(told.out)
            assert told.err.replace("\n", "").isprintable(), "nothing that only a terminal understands"
            if style == "json":
                assert all(json.loads(line) for line in told.err.splitlines())
