"""Virtual speed-ups: exact, the same in all engine modes, free when they are off."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from coalsim.analysis.cases import Cases
from coalsim.analysis.stacks import stack_of
from coalsim.analysis.what_if import compared, next_bottlenecks, predict, slept_for_locks
from coalsim.boot import System
from coalsim.cli import main as command_line
from coalsim.cpus.cpu import Cpu
from coalsim.errors import ConfigError, Problem
from coalsim.locks.sped import LockSpeeds, names_lock
from coalsim.observe.document import ResultDocument
from coalsim.study.overrides import Setting, parse_settings
from coalsim.study.planning import open_study
from coalsim.study.run import run_study
from coalsim.study.what_if import Change, WhatIf, parse_options, parse_what_if
from coalsim.sweep.pools import Serial
from coalsim.sweep.sweep_spec import open_sweep

LOOP = ("run.warmup=20us", "run.duration=150us")
MUNMAP = ("workload.rounds=1", "workload.cpus=3", "run.warmup=0", "run.duration=0", "machine=coal")


def run(study: str, texts: tuple[str, ...], **factors: str) -> ResultDocument:
    """A run with some costs scaled."""
    asked = [*parse_settings(texts)]
    if factors:
        asked.append(Setting(key="what_if", value={key.replace("__", ":"): f for key, f in factors.items()}))
    return run_study(open_study(study, asked))


def bare(document: ResultDocument) -> dict[str, object]:
    """What two ways of asking for the same have in common."""
    left_out = ("host_s", "events", "config")
    return {key: value for key, value in document.items() if key not in left_out}


def test_a_lock_that_is_twice_as_fast_is_one_whose_holds_are_half_as_long() -> None:
    """The document equals that of the other law, but for what it says of itself."""
    sped = run("lock_loop", LOOP, lock__lock_loop="0.5")
    real = run("lock_loop", (*LOOP, "workload.hold=const:500ns"))
    base = run("lock_loop", (*LOOP, "workload.hold=const:1us"), lock__lock_loop="0.5")
    assert bare(base) == bare(real)
    assert sped["throughput"]["ops"] != real["throughput"]["ops"], "the laws differ"


@pytest.mark.parametrize("study", ["lock_loop", "munmap_shared"])
def test_all_engine_modes_give_the_same(study: str) -> None:
    """Locks that are computed, taken by events, and held across interrupts."""
    texts = LOOP if study == "lock_loop" else MUNMAP
    factors = {"lock__lock_loop": "0.3"} if study == "lock_loop" else {"lock__mmap": "0.3", "ipi": "0.5"}
    expected = bare(run(study, texts, **factors))
    for mode in (("engine.run_ahead=0",), ("engine.fast_paths=false", "engine.tick_events=1")):
        assert bare(run(study, (*texts, *mode), **factors)) == expected
    assert expected != bare(run(study, texts)), "else nothing was shown"


@pytest.mark.parametrize("study", ["lock_loop", "munmap_shared"])
def test_a_factor_of_one_changes_nothing(study: str) -> None:
    """Playing every charge under a lock by itself gives what the short cuts give."""
    texts = LOOP if study == "lock_loop" else MUNMAP
    assert bare(run(study, texts, **{"lock__*": "1"})) == bare(run(study, texts))


def test_without_speed_ups_processors_are_the_plain_ones() -> None:
    """Nothing is asked at a charge of a system that has none."""
    system = System(open_study("lock_loop", ()).config)
    assert type(system.cpus[0]) is Cpu
    assert type(system.cpus[0]).charge is Cpu.charge
    assert system.env.fast_paths


def test_locks_go_by_pattern_and_by_short_name() -> None:
    """Factors of patterns that mean one class multiply; others are left alone."""
    assert names_lock("zone", "zone->lock")
    assert names_lock("mmap", "mmap_lock")
    assert not names_lock("zone", "zones")
    factors = WhatIf(
        changes=(
            Change(target="lock:zone", factor=Decimal("0.5")),
            Change(target="lock:z*", factor=Decimal("0.5")),
        )
    ).lock_speeds()
    speeds = LockSpeeds(factors)
    assert speeds.scaled(100, "lock:zone->lock:hold", ()) == 25
    assert speeds.scaled(103, "lock:zone->lock:read", ()) == 25, "rounded down, each time"
    assert speeds.scaled(100, "lock:zone->lock:wait", ()) == 100
    assert speeds.scaled(100, "lock:ptlock:hold", ()) == 100


def test_a_parameter_that_is_scaled_is_the_parameter_that_was_set() -> None:
    """Costs and numbers of the machine, by pattern."""
    texts = ("workload.frames_per_cpu=100",)
    assert bare(run("page_bulk", texts, cost__refill_per_page="0.5")) == bare(
        run("page_bulk", (*texts, "kernel.cost.refill_per_page=10.05ns"))
    )
    scaled = bare(run("page_bulk", texts, **{"machine__line_transfer.socket": "2"}))
    assert scaled == bare(run("page_bulk", (*texts, "machine.line_transfer.socket=102.6ns")))


def test_every_mistake_is_told_with_what_was_meant() -> None:
    """Options, targets and factors; and numbers that the machine cannot have."""
    with pytest.raises(ConfigError) as error:
        parse_options(
            ("zone", "lock:zone=fast", "lok:zone=1", "ipi:x=1", "cost:=1", "ipi=1e9", "lock:zone=1")
        )
    assert len(error.value.problems) == 7
    problems: list[Problem] = []
    parse_what_if({"ipi": "-1", "lock:a": "0.5"}, problems)
    assert [problem.key for problem in problems] == ["what_if.ipi"]
    for target, word in (("cost:pcp_pup", "cost:pcp_pop"), ("machine:ipi_sned", "machine:ipi_send")):
        with pytest.raises(ConfigError, match=word):
            open_study("lock_loop", [Setting(key="what_if", value={target: "1"}, option="--what-if")])
    document = run("lock_loop", LOOP, lock__lok_loop="0.5")
    assert any("did you mean lock_loop?" in text for text in document["warnings"])


def test_the_configuration_keeps_the_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """config.json asks for the same run, so a changed run can be repeated and compared."""
    out = str(tmp_path / "changed")
    short = [f"--set={text}" for text in LOOP]
    assert (
        command_line.run(["run", "lock_loop", *short, "--what-if", "lock:lock_loop=0.5", "--out", out]) == 0
    )
    capsys.readouterr()
    config = json.loads((tmp_path / "changed" / "config.json").read_text())
    assert config["what_if"] == {"lock:lock_loop": "0.5"}
    assert command_line.run(["run", f"{out}/config.json", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert bare(again) == bare(json.loads((tmp_path / "changed" / "result.json").read_text()))


def test_predictions_come_in_pairs_and_those_beyond_a_bound_are_marked() -> None:
    """A gain with its interval, its bound; and the same gain with operations that cannot be."""
    spec = open_sweep("lock_loop", parse_settings((*LOOP, "workload.cpus=16")))
    with Serial() as pool:
        cases = Cases(spec, spec.points[0], pool)
        half = WhatIf(changes=(Change(target="lock:lock_loop", factor=Decimal("0.5")),))
        found = predict(cases, half, 3)
        assert found.ratio is not None
        assert found.ratio.low > 1.3
        assert found.bound is not None
        assert found.bound.rate > found.changed[0]
        assert not found.flags
        base, changed = cases.documents(cases.base, 3), cases.documents(half, 3)
        for document in changed:
            document["throughput"]["ops_per_s"] *= 5
        assert any("breaks the bound of" in flag for flag in compared(half, base, changed).flags)
        steps = next_bottlenecks(cases, 1, 2)
    assert steps[0].group == "lock:lock_loop"
    assert steps[0].prediction is not None
    assert steps[0].prediction.gain > 1


def test_cpus_that_idle_while_readers_sleep_for_a_lock_are_counted_for_it() -> None:
    """Nearly all of the idle time: there is nothing else that a thread of this load could wait for."""
    settings = ("workload.cpus=4", "workload.hold=const:40us", "run.duration=1ms")
    spec = open_sweep("lock_loop", parse_settings((*settings, "kernel.lock=rwsem", "workload.reads=90")))
    with Serial() as pool:
        cases = Cases(spec, spec.points[0], pool)
        (run,) = cases.documents(cases.base, 1)
        (step,) = next_bottlenecks(cases, 1, 1)
    idle = sum(run["time"][str(cpu)].get("idle", 0) for cpu in range(4))
    slept = slept_for_locks([run])
    assert idle > 500_000_000, "of four milliseconds"
    assert 0.9 * idle <= slept["lock:lock_loop"] <= idle
    spent = stack_of([run])
    assert step.group == "lock:lock_loop"
    assert step.share > float((spent.times[step.group] + slept[step.group]) / spent.spent) - 1e-9
    spinning = open_study("lock_loop", parse_settings((*settings[:2], "run.duration=200us")))
    assert slept_for_locks([run_study(spinning)]) == {}


@pytest.mark.slow
def test_the_command_prints_predictions_and_writes_folders_to_compare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each change by itself and both together; base and changed runs are results like others."""
    out = str(tmp_path / "out")
    short = [f"--set={text}" for text in LOOP]
    changes = ["--what-if", "lock:lock_loop=0.5", "--what-if", "ipi=0.5"]
    assert (
        command_line.run(["whatif", "lock_loop", *short, *changes, "--replications", "2", "--out", out]) == 0
    )
    text = capsys.readouterr().out
    assert "lock:lock_loop=0.5 ipi=0.5" in text
    assert "no change" in text, "this load sends no interrupts"
    assert command_line.run(["compare", f"{out}/base", f"{out}/changed-1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (compared_to,) = document["comparisons"]
    assert compared_to["changed"] == [{"key": "what_if.lock:lock_loop", "first": None, "second": "0.5"}]
    assert compared_to["points"][0]["metrics"]["throughput.ops_per_s"]["pairs"] == 2
    assert command_line.run(["whatif", "locks_by_cpus", "--next"]) == 2
    assert "choose one with --set" in capsys.readouterr().err
