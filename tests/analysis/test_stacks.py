"""Scalability stacks add up, and name what eats the added CPUs."""

import json
from fractions import Fraction
from pathlib import Path

import pytest
from short_studies import SHORT

from coalsim.analysis.stack_text import printed_shares, stacks_folded, stacks_text
from coalsim.analysis.stacks import Stack, StackCurve, group_of, stack_curves, stack_of
from coalsim.cli import main as command_line
from coalsim.errors import InputError
from coalsim.observe.document import ResultDocument
from coalsim.observe.where import used_cpus
from coalsim.study.overrides import parse_settings
from coalsim.study.planning import open_study
from coalsim.study.run import run_study
from coalsim.sweep.results import load_results

QUICK = ("lock_loop", "page_random")


def run_of(name: str, *more: str) -> ResultDocument:
    """A short run of a named study."""
    texts = [*(f"{key}={value}" for key, value in SHORT[name].items()), *more]
    return run_study(open_study(name, parse_settings(texts)))


def check_whole(run: ResultDocument) -> None:
    """The groups of a run's stack add up to its used CPUs' time, and their shares to 1, exactly."""
    stack = stack_of(run.get("runs", [run]))
    runs = run.get("runs", [run])
    spent = sum(len(used_cpus(one["time"])) * one["sim_time_ps"] for one in runs)
    assert stack.is_whole
    assert sum(stack.times.values()) == stack.spent == spent
    assert all(time.denominator == 1 for time in stack.times.values()), "whole picoseconds"
    assert sum(stack.shares().values()) == 1
    shown = tuple(stack.shares())[:3]
    assert sum(printed_shares(stack, shown, has_rest=True)) == 1000


@pytest.mark.parametrize("name", QUICK)
def test_stacks_add_up_to_the_whole(name: str) -> None:
    """To the picosecond, and what is printed to 100.0 %."""
    check_whole(run_of(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SHORT if name not in QUICK])
def test_stacks_add_up_to_the_whole_in_every_study(name: str) -> None:
    """The rest of the studies that coalsim brings along."""
    check_whole(run_of(name))


def test_stacks_over_an_axis_add_up_at_every_point_and_say_what_eats_the_cpus(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sweep over CPUs of one lock: its waiting is what grows, CPU time per operation is N / X."""
    out = str(tmp_path / "sweep")
    axes = ("--axis", "workload.cpus=1,4,16", "--axis", "kernel.lock=mcs,ticket")
    short = ("--set", "run.duration=300us", "--set", "run.warmup=100us", "--jobs", "0", "-q")
    assert command_line.run(["run", "lock_loop", *axes, *short, "--out", out]) == 0
    capsys.readouterr()
    results = load_results(Path(out))
    curves = stack_curves(results, "workload.cpus")
    assert [curve.fixed for curve in curves] == [(("kernel.lock", "mcs"),), (("kernel.lock", "ticket"),)]
    for curve in curves:
        assert [one.value for one in curve.stacks] == [1, 4, 16]
        assert all(one.is_whole and sum(one.shares().values()) == 1 for one in curve.stacks)
        last = [*curve.growths()][-1]
        assert last.groups[0][0] == "lock:lock_loop"
        assert "lock:lock_loop" in last.words()
    for point in results.points:
        (run,) = point.runs
        whole = sum(stack_of([run]).per_operation().values(), Fraction(0))
        cpus = dict(point.point.settings)["workload.cpus"]
        assert isinstance(cpus, int)
        assert float(whole) == pytest.approx(cpus * 1e9 / run["throughput"]["ops_per_s"], rel=1e-12)
    assert command_line.run(["where", out, "--over", "workload.cpus"]) == 0
    assert "adds up to 100 % exactly" in capsys.readouterr().out
    assert command_line.run(["where", out, "--over", "workload.cpus", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    for told in document["curves"]:
        assert all(sum(one["time_ps"].values()) == one["spent_ps"] for one in told["points"])
    assert command_line.run(["where", out, "--over", "workload.cpus", "--folded", "-"]) == 0
    assert "kernel.lock=mcs_workload.cpus=4;lock;lock_loop " in capsys.readouterr().out
    with pytest.raises(InputError, match="does not vary that"):
        stack_curves(results, "workload.cps")


def test_work_that_scales_eats_no_cpu() -> None:
    """Twice the CPUs, twice the operations: nothing was eaten; and one cause that grows is named."""

    def stack(cpus: int, lock: int) -> Stack:
        times = {"user": Fraction(cpus * 1000), "lock:a": Fraction(lock)}
        return Stack(
            value=cpus,
            times=times,
            spent=Fraction(cpus * 1000 + lock),
            operations=Fraction(cpus),
            cpus=Fraction(cpus),
        )

    scales = StackCurve(axis="n", fixed=(), stacks=(stack(1, 100), stack(2, 200)))
    assert "what was added is used" in next(scales.growths()).words()
    eaten = StackCurve(axis="n", fixed=(), stacks=(stack(1, 100), stack(2, 2000)))
    assert "eats 45 % of the CPUs: lock:a" in next(eaten.growths()).words()
    assert "n=2;lock;a 1000" in stacks_folded([eaten])
    assert "DOES NOT ADD UP" not in stacks_text([eaten])


def test_groups_of_causes() -> None:
    """A lock is one group whatever colons its name has; all else goes by its first word."""
    assert group_of("lock:n->list_lock:hand-over") == "lock:n->list_lock"
    assert group_of("lock:a:b:wait") == "lock:a:b"
    assert (group_of("line:queue"), group_of("idle"), group_of("lock")) == ("line", "idle", "lock")
