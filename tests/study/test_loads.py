"""The parameters of the loads: what is accepted, what is refused, that studies name them."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from short_studies import SHORT

from coalsim.engine.laws import parse_law
from coalsim.errors import ConfigError
from coalsim.observe.document import ResultDocument
from coalsim.study.document import named_studies, read_document
from coalsim.study.loads import WORKLOADS, law_text
from coalsim.study.overrides import Setting, parse_settings, with_settings
from coalsim.study.planning import open_study, plan
from coalsim.study.run import run_study
from coalsim.study.spec import StudySpec, parse_spec

NAMED = tuple(SHORT)


def spec_of(name: str, settings: Sequence[str] = ()) -> StudySpec:
    document = with_settings(read_document(named_studies()[name]), parse_settings(settings))
    return parse_spec(document, workloads=WORKLOADS)


def short(name: str) -> list[str]:
    return [f"{key}={value}" for key, value in SHORT[name].items()]


def result_of(name: str, *settings: str) -> ResultDocument:
    return run_study(plan(spec_of(name, [*short(name), *settings])))


def mistakes(name: str, *settings: str) -> list[str]:
    with pytest.raises(ConfigError) as refusal:
        result_of(name, *settings)
    return [str(problem) for problem in refusal.value.problems]


@pytest.mark.fast_one_in(5)
@pytest.mark.parametrize("name", [name for name in NAMED if name != "replay_by_kernel"])
def test_every_named_study_runs_on_any_machine_with_any_lock(name: str) -> None:
    """The settings that all of them take: machine, CPUs, lock; with what a result must say.

    A replay has the CPUs of its trace.

    What it says on the study's own machine is in the tests of the documents that `--json` prints.
    """
    for settings in (["machine=coal", "workload.cpus=4", "kernel.lock=ticket"], ["machine.name=wex8"]):
        result = result_of(name, *settings)
        assert result["study"] == name
        assert result["throughput"]["ops"] > 0
        assert result["latency_ns"]["count"] > 0
        assert result["latency_ns"]["p50"] <= result["latency_ns"]["p99"]


@pytest.mark.parametrize("name", NAMED)
def test_every_named_study_opens_with_question_setup_expectation_and_guide(name: str) -> None:
    """The comment says what is asked, and the keys say it again."""
    text = named_studies()[name].read_text(encoding="utf-8")
    question = spec_of(name).question
    assert text.startswith(f"# Question: {question[0].lower()}{question[1:]}\n")
    for part in ("\n# Setup: ", "\n# Expectation: ", "\n# Reading it: "):
        assert part in text


@pytest.mark.parametrize("name", NAMED)
def test_what_was_resolved_asks_for_the_same_again(name: str, tmp_path: Path) -> None:
    """The resolved configuration, written as JSON, is a study with the same result."""
    spec = spec_of(name, short(name))
    path = tmp_path / "resolved.json"
    path.write_text(json.dumps(spec.resolved()), encoding="utf-8")
    again = parse_spec(read_document(path), workloads=WORKLOADS)
    assert again.resolved() == spec.resolved()
    assert again.workload == spec.workload


@pytest.mark.parametrize(
    "text",
    ["exp:1234567ps", "const:37.7ns", "uniform:1234567ps:2345678ps", "erlang:4:1us", "hyper:4.123456789:1us"],
)
def test_a_law_is_written_so_that_it_is_read_back_exactly(text: str) -> None:
    """To the picosecond, and to the last digit of its shape."""
    law = parse_law(text)
    assert parse_law(law_text(law)) == law


def test_bulk_reports_both_phases_and_the_allocation_as_its_latency() -> None:
    """latency_ns is that of the allocation; the mean over the threads stands beside it."""
    result = result_of("page_bulk", "workload.cpus=4")
    alloc, free = result["phases"]["alloc"], result["phases"]["free"]
    assert result["latency_ns"] == alloc["latency_ns"]
    assert alloc["latency_ns"]["count"] == free["latency_ns"]["count"] == 1200
    assert result["throughput"]["ops"] == 2400
    for phase in (alloc, free):
        mean = phase["thread_mean_ns"]  # type: ignore[typeddict-item]
        assert mean == pytest.approx(phase["latency_ns"]["mean"])


@pytest.mark.parametrize("lock", ["mutex", "rwsem", "seqlock", "rcu"])
def test_a_lock_loop_measures_locks_that_cannot_guard_memory(lock: str) -> None:
    """They are used by the loop alone; readers are counted apart."""
    result = result_of("lock_loop", f"kernel.lock={lock}", "workload.reads=50", "run.duration=300us")
    types = [row["type"] for row in result["locks"]]
    assert types == (["mutex"] if lock == "mutex" else [f"{lock}:R"] + [f"{lock}:W"] * (lock != "rcu"))


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("lock_loop", ["workload.cpus=0"], ["workload.cpus = 0: too small; give a number from 1 up"]),
        (
            "lock_loop",
            ["workload.cpus=257"],
            ["--set workload.cpus=257: workload.cpus = 257: machine ideal has 256 CPUs; use at most 256"],
        ),
        ("lock_loop", ["workload.spred=node"], ["workload.spred: no such key; did you mean spread?"]),
        (
            "lock_loop",
            ["workload.think=5", "workload.hold=exp:3"],
            [
                "workload.think = 5: not a law; write it as text, like exp:56.3ns or const:37.7ns",
                "workload.hold.0 = exp:3: '3' has no time unit; write ps, ns, us, ms or s behind the number",
            ],
        ),
        (
            "lock_loop",
            ["workload.locks=3", 'workload.hold=["exp:1us", "exp:2us"]'],
            ["2 laws of hold for 3 locks; give one law, or one for each lock"],
        ),
        (
            "lock_loop",
            ["workload.locks=3", "workload.weights=[1, 2]"],
            ["2 weights for 3 locks; give each lock a weight, or none"],
        ),
        (
            "lock_loop",
            ["workload.reads=101"],
            ["workload.reads = 101: too large; give a number up to 100"],
        ),
        (
            "line_contention",
            ["workload.mode=xx"],
            ["no such choice; use one of 'ww', 'rw', 'rr', 'wx' or 'rx'"],
        ),
        ("kmalloc_pairs", ["workload.size=-4"], ["workload.size = -4: too small; give a number from 1 up"]),
        ("kmalloc_pairs", ["workload.size=4x"], ["'4x' has no size unit that is known; use B, KiB, MiB"]),
        (
            "kmalloc_remote_free",
            ["workload.cpus=3"],
            ["workload.cpus = 3: an odd number; half of them produce, half consume: use 2 or 4"],
        ),
        ("page_bulk", ["workload.frames_per_cpu=0"], ["too small; give a number from 1 up"]),
        ("page_repeat", ["workload.order=-1"], ["workload.order = -1: too small; give a number from 0 up"]),
        ("page_repeat", ["run.duration=0"], ["this load never ends by itself; give a time such as 2ms"]),
    ],
)
def test_every_mistake_is_told_with_its_remedy(name: str, settings: list[str], says: list[str]) -> None:
    """One line for each, all in one go, with what to write instead."""
    told = mistakes(name, *settings)
    assert len(told) == len(says)
    for line, part in zip(told, says, strict=True):
        assert part in line


@pytest.mark.parametrize("name", ["page_bulk", "page_repeat", "page_random"])
def test_an_order_that_the_kernel_does_not_have_is_refused(name: str) -> None:
    """Requests for it would fail in no time, for ever."""
    (told,) = mistakes(name, "workload.order=11")
    assert told.endswith(
        "11: the kernel's largest blocks have order 10; use 0 to 10, or raise kernel.max_order"
    )


def test_larson_can_be_run_from_a_file(tmp_path: Path) -> None:
    """A load without a named study of its own; sizes as text, least above most refused."""
    path = tmp_path / "larson.toml"
    text = 'machine = "coal"\n[workload]\nkind = "larson"\ncpus = 4\nslots = 20\nrounds = 10\nleast = "16"\n'
    path.write_text(text + 'most = "1KiB"\n[run]\nduration = "50us"\n', encoding="utf-8")
    result = run_study(plan(parse_spec(read_document(path), workloads=WORKLOADS)))
    assert result["memory"]["remote_frees"]["objects_remote"]
    path.write_text(text + 'most = "8"\n[run]\nduration = "50us"\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="the least size 16 is above the most 8; swap them"):
        parse_spec(read_document(path), workloads=WORKLOADS)


def test_a_load_that_ends_in_its_warm_up_is_refused() -> None:
    """Its numbers would silently be those of the warm-up."""
    settings = [
        Setting(key="workload.frames_per_cpu", value=50, option="--set"),
        Setting(key="run.warmup", value="1s", option="--set run.warmup=1s"),
    ]

    with pytest.raises(ConfigError, match=r"run\.warmup = .* ended before the warm-up"):
        run_study(open_study("page_bulk", settings))


def test_a_load_that_ends_before_its_measured_time_says_so() -> None:
    """Its rates are over time in which nothing was left to do; with no end given they are not."""
    settings = [
        Setting(key="workload.rounds", value=3, option="--set"),
        Setting(key="run.warmup", value="0", option="--set"),
    ]
    whole = run_study(open_study("brk1", settings))
    (warning,) = whole["warnings"]
    assert "the load was over after 63.26 us of the 2 ms that were measured" in warning

    alone = run_study(open_study("brk1", [*settings, Setting(key="run.duration", value="0", option="--set")]))
    assert "warnings" not in alone
    assert alone["throughput"]["ops"] == whole["throughput"]["ops"]
