"""`coalsim replay`: what it prints, what it writes, and what it says about bad input."""

import gzip
import json
from pathlib import Path

import pytest

from coalsim.cli import main as command_line
from coalsim.observe.document import dump
from coalsim.study.document import read_document
from coalsim.study.planning import plan
from coalsim.study.replay_load import ReplayLoad
from coalsim.study.run import run_study
from coalsim.study.spec import parse_spec

DATA = Path(__file__).parents[1] / "data"
PERF = DATA / "compile_excerpt.perf.txt.gz"
FTRACE = DATA / "compile_excerpt.ftrace.txt.gz"
SNAPSHOTS = DATA / "compile_excerpt.snapshots.txt.gz"
ONE_NODE = "pack:1 numa:1 core:2 pu:1"


def json_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    """The document that a command prints; it prints nothing else."""
    assert command_line.run(["replay", *arguments, "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    document: dict[str, object] = json.loads(printed.out)
    return document


def mistakes_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """The lines on stderr of a command that is refused."""
    assert command_line.run(["replay", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err.splitlines()


def test_the_summary_says_what_was_replayed_and_what_it_cost(capsys: pytest.CaptureFixture[str]) -> None:
    """Machine, kernel, trace, locks, page lists and time, on the defaults."""
    assert command_line.run(["replay", str(PERF)]) == 0
    text = capsys.readouterr().out
    assert "replay of compile_excerpt.perf.txt.gz on coal (4 CPUs), profile linux-6.18" in text
    assert "trace (perf): 6341 events in 0.0480671 s" in text
    assert "kmem:mm_page_alloc 1256" in text
    for part in ("zone->lock", "per-CPU page lists", "time by cause", "think", "unmatched frees"):
        assert part in text


def test_json_has_the_promised_keys(capsys: pytest.CaptureFixture[str]) -> None:
    """One document, with the trace's counts and everything that each run has."""
    document = json_of(capsys, str(PERF))
    trace = document["trace"]
    assert isinstance(trace, dict)
    promised = (
        *("format", "events", "span_s", "unmatched_frees", "implied_frees", "live_objects", "live_bytes"),
        *("unmatched_page_frees", "implied_page_frees", "live_pages", "lost", "slab_overlap"),
        *("operations", "dependency_waits", "late_operations", "late_mean_ns", "late_max_ns"),
        *("recorded_refill_pages", "simulated_refill_pages", "recorded_drain_pages", "simulated_drain_pages"),
    )
    assert set(promised) <= set(trace)
    assert trace["format"] == "perf"
    assert trace["events"]["kmem:kfree"] == 178
    assert {"seed", "events", "sim_time_ps", "host_s", "throughput", "locks", "time"} <= set(document)


@pytest.mark.parametrize("machine", ["coal", "clx2"])
def test_both_formats_report_the_same_lifetimes(capsys: pytest.CaptureFixture[str], machine: str) -> None:
    """The excerpt's two texts hold the same events."""
    perf, ftrace = (json_of(capsys, str(path), "--machine", machine)["trace"] for path in (PERF, FTRACE))
    assert isinstance(perf, dict)
    assert isinstance(ftrace, dict)
    for key in ("events", "unmatched_frees", "implied_frees", "live_objects", "live_bytes", "live_pages"):
        assert perf[key] == ftrace[key]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--layer=pages", "--mode=closed", "--clone=2", "--map=scatter"],
        [f"--set=replay.{setting}" for setting in ("layer=pages", "mode=closed", "clone=2", "map=scatter")],
        [f"--set=workload.{setting}" for setting in ("layer=pages", "mode=closed", "clone=2", "map=scatter")],
    ],
)
def test_options_and_both_spellings_of_keys_mean_the_same(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """The resolved configuration shows what was understood."""
    config = json_of(capsys, str(PERF), *arguments)["config"]
    assert isinstance(config, dict)
    workload = config["workload"]
    assert (workload["layer"], workload["mode"], workload["clone"]) == ("pages", "closed", 2)
    assert (workload["map"], workload["kind"], workload["trace"]) == ("scatter", "replay", str(PERF))


def test_kernel_machine_engine_and_seed_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    """Every key that a study has."""
    document = json_of(
        capsys,
        *(str(PERF), "--machine", "icx2", "--seed", "7", "--set", "kernel.profile=linux-6.0"),
        *("--set", "kernel.lock=ticket", "--set", "engine.run_ahead=0", "--set", "replay.overhead=1us"),
    )
    assert (document["machine"], document["profile"], document["seed"]) == ("icx2", "linux-6.0", 7)
    config = document["config"]
    assert isinstance(config, dict)
    assert config["kernel"]["lock"] == "ticket"
    assert config["engine"]["run_ahead"] is False


def test_the_output_folder_is_a_study_that_repeats_the_replay(
    tmp_path: Path,
) -> None:
    """config.json asks the same again, and gives the same result but for host time."""
    folder = tmp_path / "result"
    assert command_line.run(["replay", str(PERF), "-q", "--clone", "2", "--out", str(folder)]) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "result.json", "summary.txt"]
    document = read_document(folder / "config.json")
    again = run_study(plan(parse_spec(document, workloads={"replay": ReplayLoad})))
    first = json.loads((folder / "result.json").read_text())
    assert {**json.loads(dump(again)), "host_s": 0} == {**first, "host_s": 0}


def test_a_replay_can_start_from_the_recorded_fill(capsys: pytest.CaptureFixture[str]) -> None:
    """The machine gets the memory that the recorded zones need."""
    arguments = (str(PERF), "--snapshots", str(SNAPSHOTS), "--machine", ONE_NODE)
    trace = json_of(capsys, *arguments)["trace"]
    assert isinstance(trace, dict)
    assert trace["earlier_pages_freed"] > 500
    assert trace["earlier_blocks_missing"] == 0


def test_progress_tells_how_far_the_replay_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As JSON lines on stderr, with the time left from the share of the trace that has been read."""
    monkeypatch.setattr("coalsim.cli.progress.PERIOD_S", 0.01)
    arguments = ["replay", str(PERF), "--clone", "50", "--machine", "clx2", "--progress", "json", "--json"]
    assert command_line.run(arguments) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["trace"]["clones"] == 50
    reports = [json.loads(report) for report in printed.err.splitlines()]
    assert all({"sim_time_ps", "events_per_s", "left_s"} <= set(report) for report in reports)
    assert any(report["left_s"] is not None for report in reports)


def damaged(folder: Path, kind: str) -> Path:
    """A file that is no trace."""
    path = folder / "trace.txt"
    good = gzip.decompress(PERF.read_bytes())
    contents = {
        "truncated": PERF.read_bytes()[:9_000],
        "binary": b"\x7fELF\x02\x01\x01\x00" * 100,
        "prose": b"This is no trace.\n" * 5,
        "no memory": b"\n".join(line for line in good.split(b"\n") if b"sched_switch" in line),
        "perf.data": b"PERFILE2" + b"\x00" * 100,
        "long line": b"x" * 70_000 + b"\n" + good,
        "empty": b"",
    }
    path.write_bytes(contents[kind])
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("truncated", "the gzip ends too early; copy the file again"),
        ("binary", "binary data, not text; give perf script, ftrace or trace-cmd text"),
        ("prose", "no line of perf script, ftrace or trace-cmd text in it"),
        (
            "no memory",
            "none of its events allocates or frees memory (sched:sched_switch 22); record the kmem",
        ),
        ("perf.data", "a perf.data recording, not its text; turn it into text: perf script"),
        ("long line", "a line longer than 64 KiB"),
        ("empty", "the file is empty"),
    ],
)
def test_a_damaged_trace_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, kind: str, message: str
) -> None:
    """What is wrong with which file, and what to do."""
    path = damaged(tmp_path, kind)
    (mistake,) = mistakes_of(capsys, str(path))
    assert mistake.startswith(f"error: {path}")
    assert message in mistake


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.txt"], "nowhere.txt: no such file; check the path"),
        (
            [str(PERF), "--clone", "3"],
            "3 times 2 CPUs; this machine has 4; use --clone 2, or --machine with at",
        ),
        ([str(PERF), "--machine", "nonesuch"], "nonesuch"),
        ([str(PERF), "--max-input", "100KiB"], "more than 100 KiB unpacked; raise --max-input"),
        ([str(PERF), "--format", "ftrace"], "no line of ftrace text in it"),
        ([str(PERF), "--set", "replay.layr=pages"], "no such key; did you mean layer?"),
        ([str(PERF), "--set", "replay.layer=page"], "no such choice"),
        ([str(PERF), "--clone", "0"], "--clone 0: workload.clone = 0: too small"),
        ([str(PERF), "--set", "run.warmup=1ms"], "a recording is replayed from its beginning; leave it out"),
        ([str(PERF), "--snapshots", "nowhere.txt"], "nowhere.txt: no such file"),
        ([str(PERF), "--snapshots", str(SNAPSHOTS)], "one memory node; this machine has 2"),
        (
            [str(PERF), "--snapshots", str(SNAPSHOTS), "--machine", ONE_NODE, "--set", "kernel.profile=coal"],
            "no zones like those of Linux, or no buddy allocator; use a Linux profile",
        ),
        (["/dev/null"], "/dev/null: not a file: it can be read only once; write the trace to a file first"),
    ],
)
def test_mistakes_are_named_with_a_remedy(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """Exit code 2 and one line."""
    (mistake,) = mistakes_of(capsys, *arguments)
    assert message in mistake


def test_all_mistakes_come_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """A machine that does not exist and a trace that does not either."""
    mistakes = mistakes_of(capsys, "nowhere.txt", "--machine", "nonesuch", "--set", "kernel.lock=padlock")
    assert len(mistakes) == 3
