"""Study files with mistakes: all of them in one go, each with its line and what to do."""

from pathlib import Path

import pytest

from coalsim.errors import ConfigError, Problem
from coalsim.study.overrides import parse_settings
from coalsim.sweep.sweep_spec import SweepSpec, open_sweep

GOOD = """\
machine = "icx2"
[workload]
kind = "lock_loop"
[run]
duration = "1ms"
"""

BAD = """\
machine = "icx3"
titel = "misplaced"

[study]
nam = "x"

[kernel]
pcp_bach = 31

[workload]
kind = "lock_loop"
cpus = "many"

[run]
duration = "2"

[[axis]]
key = "workload.cpu"
values = [1, 2]

[[axis]]
key = "kernel.lock"
values = [
  "mcs",
  "qspinlok",
]

[[axis]]
key = "kernel.hz"
from = 0
to = 1000
count = 4
scale = "log"

[[axis]]
keys = ["workload.reads", "workload.locks"]
values = [[0, 1], [90]]

[show]
metrics = ["throughput.ops_per_sec", "latency_ns.p98"]

[stop]
relative = 2

[quick.axis."kernel.lok"]
values = ["mcs"]
"""


def opened(
    folder: Path, text: str, *settings: str, axes: tuple[str, ...] = (), quick: bool = False
) -> SweepSpec:
    path = folder / "study.toml"
    path.write_text(text, encoding="utf-8")
    return open_sweep(str(path), parse_settings(settings), axes=axes, quick=quick)


def mistakes(folder: Path, text: str, *settings: str, axes: tuple[str, ...] = ()) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as refused:
        opened(folder, text, *settings, axes=axes)
    return refused.value.problems


def test_fourteen_mistakes_are_told_in_one_go_each_at_its_line(tmp_path: Path) -> None:
    """Of every section, of values of axes, and of what is shown; with the word that was probably meant."""
    told = [(problem.line, problem.key, problem.remedy) for problem in mistakes(tmp_path, BAD)]

    wanted = [
        (1, "machine", "did you mean icx2?"),
        (2, "titel", "use one of study"),
        (5, "study.nam", "did you mean name?"),
        (8, "kernel.pcp_bach", "did you mean kernel.pcp_batch?"),
        (12, "workload.cpus", "write it like 4"),
        (15, "run.duration", "write ps, ns, us, ms or s"),
        (18, "workload.cpu", "did you mean cpus?"),
        (25, "kernel.lock", "did you mean qspinlock?"),
        (30, "axis.2.from", "begin above it"),
        (37, "axis.3.values.1", "give a list of 2"),
        (40, "show.metrics.0", "did you mean throughput.ops_per_s?"),
        (40, "show.metrics.1", "did you mean latency_ns.p99?"),
        (43, "stop.relative", "give a number below 1"),
        (45, "quick.axis.kernel.lok", "did you mean kernel.lock?"),
    ]
    assert [(line, key) for line, key, _ in told] == [(line, key) for line, key, _ in wanted]
    for (_, _, remedy), (_, _, word) in zip(told, wanted, strict=True):
        assert word in remedy


def test_a_value_of_an_axis_that_only_one_point_cannot_have_is_told_at_its_line(tmp_path: Path) -> None:
    """64 CPUs fit the larger machine, not the smaller: nothing runs before that is said."""
    text = GOOD + (
        '[[axis]]\nkey = "machine"\nvalues = ["icx2", "coal"]\n'
        '[[axis]]\nkey = "workload.cpus"\nvalues = [\n 1,\n 64,\n]\n'
    )
    (problem,) = mistakes(tmp_path, text)
    assert (problem.line, problem.key, problem.value) == (13, "workload.cpus", "64")
    assert problem.message.startswith("machine coal has")


@pytest.mark.parametrize(
    ("axis", "says"),
    [
        ('key = "run.seed"\nvalues = [1, 2]', "cannot be an axis"),
        ('key = "study.name"\nvalues = ["a"]', "cannot be an axis"),
        ("values = [1]", "no key"),
        ('key = "workload.cpus"', "no values"),
        ('key = "workload.cpus"\nvalues = []', "least 1"),
        ('key = "workload.cpus"\nvalues = [1, 1]', "given twice"),
        ('key = "workload.cpus"\nvalues = [1]\nfrom = 2', "both values and a range"),
        ('key = "workload.cpus"\nvalues = [{a = 1}]', "not a value"),
        ('key = "workload.cpus"\nvalues = [1979-05-27]', "not a value"),
        ('key = "workload.cpus"\nfrom = 1\nto = "2ms"\ncount = 3', "different kinds"),
        ('key = "workload.cpus"\nfrom = 1\nto = 9\ncount = 3\nscale = "loga"', "no such choice"),
        ('keys = ["workload.cpus"]\nvalues = [[1]]', "one key does not change together"),
        ('keys = ["workload.cpus", "kernel.hz"]\nfrom = 1\nto = 2\ncount = 2', "several keys have no range"),
        ('key = "workload.cpus.x"\nvalues = [1]', "workload.cpus is not a table"),
    ],
)
def test_an_axis_that_makes_no_sense_is_refused(tmp_path: Path, axis: str, says: str) -> None:
    """With its line and without a traceback."""
    text = GOOD.replace('lock_loop"', 'lock_loop"\ncpus = 2')
    problems = mistakes(tmp_path, f"{text}[[axis]]\n{axis}\n")
    assert any(says in problem.message and problem.line >= 7 for problem in problems), problems


@pytest.mark.parametrize(
    "text", ["axis = 3\n" + GOOD, "axis = [1]\n" + GOOD, "show = 1\nstop = 2\nquick = 3\n" + GOOD]
)
def test_what_is_no_table_is_told(tmp_path: Path, text: str) -> None:
    """Each section that is something else."""
    assert all("not a" in problem.message for problem in mistakes(tmp_path, text))


def test_two_axes_of_one_key_are_refused(tmp_path: Path) -> None:
    """`machine` and `machine.name` are one key."""
    axes = ('machine"\nvalues = ["coal"]', 'machine.name"\nvalues = ["icx2"]')
    (problem,) = mistakes(tmp_path, GOOD + "".join(f'[[axis]]\nkey = "{axis}\n' for axis in axes))
    assert "another axis" in problem.message


def test_options_are_named_where_they_are_wrong(tmp_path: Path) -> None:
    """A value of --axis, its key, and a key that is both set and varied."""
    (problem,) = mistakes(tmp_path, GOOD, axes=("kernel.lock=mcs,tiket",))
    assert (problem.where, problem.line) == ("--axis kernel.lock=mcs,tiket", 0)
    assert "did you mean ticket?" in problem.remedy
    assert "not KEY=VALUE,VALUE" in mistakes(tmp_path, GOOD, axes=("nonsense",))[0].message
    (both,) = mistakes(tmp_path, GOOD, "kernel.hz=0", axes=("kernel.hz=1,2",))
    assert both.message == "set as well as varied"


def test_a_grid_that_nobody_can_run_is_refused_before_it_is_planned(tmp_path: Path) -> None:
    """100 x 100 x 100 points."""
    axes = "".join(
        f'[[axis]]\nkey = "workload.{key}"\nfrom = 1\nto = 100\ncount = 100\n'
        for key in ("cpus", "reads", "locks")
    )
    (problem,) = mistakes(tmp_path, GOOD + axes)
    assert problem.message == "the axes make 1,000,000 points"


def test_a_class_of_an_axis_needs_trust_and_a_typed_one_does_not(tmp_path: Path) -> None:
    """What the file says may not run code by itself; what a person types may."""
    text = GOOD + '[[axis]]\nkey = "kernel.lock"\nvalues = ["mcs", "./own.py:Own"]\n'
    assert any("--trust" in problem.remedy for problem in mistakes(tmp_path, text))
    (tmp_path / "own.py").write_text("from coalsim.locks.mcs import McsLock\nclass Own(McsLock):\n    pass\n")
    typed = opened(tmp_path, GOOD, axes=(f"kernel.lock=mcs,{tmp_path}/own.py:Own",))
    assert typed.trust
    assert not opened(tmp_path, GOOD).trust
