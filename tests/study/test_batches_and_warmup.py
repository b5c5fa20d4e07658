"""Runs in batches, the warm-up that a pilot finds, and percentiles over all runs."""

import json
from itertools import accumulate
from pathlib import Path

import pytest

from coalsim.errors import ConfigError
from coalsim.observe.document import ResultDocument, dump
from coalsim.observe.histogram import Histogram
from coalsim.observe.schema import faults
from coalsim.observe.summary import summary
from coalsim.study.overrides import Setting
from coalsim.study.planning import open_study
from coalsim.study.run import run_study
from coalsim.study.sections import RunSection

SMALL = {
    "machine": "pack:1 core:4 pu:1",
    "workload.cpus": 4,
    "run.duration": "400us",
    "run.warmup": "20us",
}


def run(study: str = "lock_loop", **settings: object) -> ResultDocument:
    """A short run; keys of [run], or of another table with two underscores for the dot."""
    asked = SMALL | {
        key.replace("__", ".") if "__" in key else f"run.{key}": settings[key] for key in settings
    }
    return run_study(
        open_study(
            study,
            [Setting(key=key, value=value, option=f"--set {key}={value}") for key, value in asked.items()],
        )
    )


def without_host(document: ResultDocument) -> dict[str, object]:
    """What must not differ between two ways of running one thing; batches themselves left out."""
    return {
        key: value for key, value in document.items() if key not in ("host_s", "events", "config", "batches")
    }


def test_batches_change_nothing_and_add_up() -> None:
    """A run in batches has the results of one without, and its batches are all of it."""
    plain, divided = run(), run(batches=30)

    assert without_host(divided) == without_host(plain)
    assert "batches" not in plain
    assert "batches" not in plain["config"]["run"]  # type: ignore[operator]
    batches = divided["batches"]
    assert len(batches["ops"]) == 30
    assert sum(batches["ops"]) == sum(batches["latency_count"]) == divided["throughput"]["ops"]
    mean = sum(batches["latency_total_ns"]) / sum(batches["latency_count"])
    assert mean == pytest.approx(divided["latency_ns"]["mean"])
    assert batches["length_ps"] == pytest.approx(400_000_000 / 30)
    assert min(batches["ops"]) > 0


@pytest.mark.parametrize("study", ["lock_loop", "kmalloc_pairs"])
def test_batches_are_the_same_in_every_mode(study: str) -> None:
    """Running ahead and computed sections count an operation in the batch of the plain mode."""
    fast = run(study, batches=40, duration="60us")
    plain = run(
        study, batches=40, duration="60us", engine__run_ahead=0, engine__fast_paths=0, engine__tick_events=1
    )
    assert fast["batches"] == plain["batches"]


def test_finer_batches_add_up_to_coarser_ones() -> None:
    """Every second of forty ends where one of twenty ends."""
    coarse, fine = run(batches=20)["batches"], run(batches=40)["batches"]
    assert [*accumulate(fine["ops"])][1::2] == [*accumulate(coarse["ops"])]


def test_the_summary_has_the_interval_of_the_batches_and_the_verdict() -> None:
    """For one run both numbers; for several, how many pass."""
    one, several = summary(run(batches=40)), summary(run(batches=40, replications=3))

    lines = [line for line in one.splitlines() if line.startswith("batches: ")]
    assert len(lines) == 2
    assert all("% (95 % confidence), 40 batches" in line and "independent" in line for line in lines)
    (line,) = [line for line in several.splitlines() if line.startswith("batches: ")]
    assert line.startswith("batches: 40 in each run")
    assert line.endswith("of 3 runs")


def test_the_summary_says_when_batches_cannot_be_trusted() -> None:
    """Four are too few to tell; those of a load that ends halfway are anything but independent."""
    assert "4 batches: too few to tell" in summary(run(batches=4))
    ended = run("page_bulk", batches=40, warmup=0, workload__frames_per_cpu=200)
    assert "NOT independent" in summary(ended)


def test_documents_with_batches_and_warm_up_fit_their_schema() -> None:
    """Stored and read again, alone and over replications."""
    for replications in (1, 2):
        document = run(batches=20, warmup="auto", histogram="on", replications=replications)
        assert not list(faults(json.loads(dump(document)), ResultDocument))
        assert ("batches" in document) == (replications == 1)


def test_a_pilot_finds_a_warm_up_that_is_there() -> None:
    """All CPUs begin by thinking for 40 us; from then on the lock is always held, for 20 us each time."""
    settings = {"workload__think": "const:40us", "workload__hold": "const:20us", "duration": "2ms"}
    found = run(warmup="auto", **settings)
    warmup = found["warmup"]

    assert warmup["method"] == "mser5"
    assert 40_000_000 <= warmup["cut_ps"] <= 400_000_000
    assert warmup["cut_ps"] % warmup["batch_ps"] == 0
    assert not warmup["half_cut"]
    given = run(warmup=f"{warmup['cut_ps']}ps", **settings)
    assert without_host(given) == {
        key: value for key, value in without_host(found).items() if key != "warmup"
    }
    (line,) = [line for line in summary(found).splitlines() if line.startswith("warm-up: ")]
    assert f"seed {warmup['pilot_seed']}" in line
    assert "MSER-5" in line


def test_the_pilot_is_that_of_the_study_in_every_replication() -> None:
    """A resolved configuration names its seed, so another run of it with another seed cuts the same."""
    first = run(warmup="auto", seed=5)
    config = first["config"]["run"]
    assert config["warmup"] == "auto"  # type: ignore[index]
    seed = config["pilot_seed"]  # type: ignore[index]
    assert seed == first["warmup"]["pilot_seed"]
    assert run(warmup="auto", seed=6, pilot_seed=seed)["warmup"] == first["warmup"]
    assert run(warmup="auto", seed=6)["warmup"]["pilot_seed"] != seed


def test_a_pilot_never_has_the_seed_of_a_replication() -> None:
    """And it depends on the study's seed alone."""
    for seed in range(200):
        section = RunSection(warmup="auto", seed=seed)
        assert not seed <= section.seed_of_pilot < seed + 100_000
        assert section.seed_of_pilot == RunSection(warmup="auto", seed=seed, replications=9).seed_of_pilot


def test_a_pilot_too_short_for_its_warm_up_is_warned_of() -> None:
    """All CPUs think for three quarters of it."""
    found = run(warmup="auto", workload__think="const:300us", workload__hold="exp:1us")
    assert found["warmup"]["half_cut"]
    assert any("no end of the warm-up was found" in text for text in found["warnings"])
    assert "NOT to be trusted" in summary(found)


@pytest.mark.parametrize(
    ("study", "settings", "key", "says"),
    [
        ("lock_loop", {"warmup": "auto", "duration": 0}, "run.warmup", "a pilot run needs a length"),
        ("lock_loop", {"warmup": "auto", "duration": "300ps"}, "run.warmup", "has no 500 batches"),
        ("lock_loop", {"batches": 1}, "run.batches", "one batch is the whole run"),
        ("lock_loop", {"batches": -1}, "run.batches", "too small"),
        ("lock_loop", {"batches": 20, "duration": "10ps"}, "run.batches", "20 batches in 10 ps"),
        ("page_bulk", {"batches": 20, "duration": 0}, "run.batches", "cannot be divided beforehand"),
        ("lock_loop", {"warmup": "automatic"}, "run.warmup", "not a time"),
        ("lock_loop", {"warmup": "auto", "workload__think": "const:1s"}, "run.warmup", "no operation ended"),
        ("page_bulk", {"warmup": "auto", "workload__frames_per_cpu": 5}, "run.warmup", "the load ended"),
    ],
)
def test_what_cannot_work_is_refused_at_its_key(
    study: str, settings: dict[str, object], key: str, says: str
) -> None:
    """Each with the option that asked for it."""
    with pytest.raises(ConfigError) as refused:
        run(study, **settings)
    (problem,) = [problem for problem in refused.value.problems if problem.key == key]
    assert says in problem.message
    assert problem.where.startswith(f"--set {key}=")
    assert problem.remedy


@pytest.mark.slow
def test_a_panic_leaves_no_batches_and_no_pilot() -> None:
    """A run cut short has no equal parts; a pilot cut short finds nothing."""
    storm = {
        "machine": "pack:2 numa:1 core:4 pu:1",
        "machine.memory": "8MiB",
        "kernel.oom": "panic",
        "kernel.reserve_pages": 64,
        "workload.processes": 10,
        "workload.mib": 8,
        "workload.cpus": 8,
        "run.duration": "40ms",
    }

    def stormy(key: str, value: object) -> ResultDocument:
        asked = {**storm, key: value}
        given = [Setting(key=name, value=asked[name], option=f"--set {name}={asked[name]}") for name in asked]
        return run_study(open_study("oom_storm", given))

    ended = stormy("run.batches", 20)
    assert "panic" in ended
    assert "batches" not in ended
    with pytest.raises(ConfigError, match="the kernel panicked in the pilot run"):
        stormy("run.warmup", "auto")


def test_a_replay_has_no_pilot() -> None:
    """A recording is replayed from its beginning."""
    trace = Path(__file__).parent.parent / "data" / "compile_excerpt.perf.txt.gz"
    from coalsim.study.replay import open_replay

    with pytest.raises(ConfigError, match="replayed from its beginning"):
        open_replay(str(trace), (Setting(key="run.warmup", value="auto", option="--set run.warmup=auto"),))


def test_pooled_percentiles_are_those_of_all_operations() -> None:
    """Merged in any order; the means over runs beside them stay as they are without the switch."""
    plain, kept = run(replications=4), run(replications=4, histogram="on")
    assert "pooled_latency_ns" not in plain
    assert kept["latency_ns"] == plain["latency_ns"]

    backwards = Histogram()
    for one in reversed(kept["runs"]):
        backwards.merge(Histogram.from_dict({**one["latency_histogram_ps"]}))
    assert kept["latency_histogram_ps"] == backwards.to_dict()
    pooled = kept["pooled_latency_ns"]
    assert pooled["count"] == sum(one["latency_ns"]["count"] for one in kept["runs"])
    assert pooled["max"] == max(one["latency_ns"]["max"] for one in kept["runs"])
    assert pooled["p99"] == backwards.percentile(99) / 1000
    assert "all runs as one: " in summary(kept)
