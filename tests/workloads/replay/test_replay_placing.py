"""Where the CPUs of a trace run, and which CPUs a trace has."""

import gzip
from pathlib import Path

import pytest
from replaying import FTRACE, PERF, kfree, line, new_system

from coalsim.cpus.cpu import Cpu
from coalsim.errors import ConfigError, InputError
from coalsim.workloads.replay.census import refuse_pipe, take_census
from coalsim.workloads.replay.placing import Placing, place


@pytest.fixture(scope="module")
def cpus() -> list[Cpu]:
    """Two nodes of four CPUs."""
    return new_system("pack:2 numa:1 core:4 pu:1").cpus


@pytest.mark.parametrize(
    ("placing", "expected"),
    [
        ("compact", [[0, 1, 2], [3, 4, 5]]),
        ("scatter", [[0, 4, 1], [5, 2, 6]]),
        ("node", [[0, 1, 2], [4, 5, 6]]),
    ],
)
def test_copies_of_three_cpus_on_two_nodes_of_four(
    cpus: list[Cpu], placing: Placing, expected: list[list[int]]
) -> None:
    """Each way of placing, copy by copy."""
    assert [[cpu.id for cpu in seats] for seats in place(cpus, 3, 2, placing)] == expected


def test_copies_share_nodes_when_they_have_to(cpus: list[Cpu]) -> None:
    """The third copy goes back to the first node, if that has room for all of it."""
    placed = [[cpu.id for cpu in seats] for seats in place(cpus, 2, 3, "node")]
    assert placed == [[0, 1], [4, 5], [2, 3]]
    with pytest.raises(ConfigError, match="only 2 of 3 copies of 3 CPUs"):
        place([*cpus, cpus[0]], 3, 3, "node")


def test_too_few_cpus_name_the_clones_that_would_fit(cpus: list[Cpu]) -> None:
    """The message says what is needed, what is there, and what to do."""
    with pytest.raises(
        ConfigError, match=r"4 times 3 CPUs.* has 8; use --clone 2, or --machine with at least 12"
    ):
        place(cpus, 3, 4, "compact")


@pytest.mark.parametrize("path", [PERF, FTRACE])
def test_the_census_of_a_recording(path: Path) -> None:
    """Two CPUs, and the length of the unpacked text."""
    census = take_census(path)
    assert census.cpus == (0, 1)
    with gzip.open(path) as text:
        assert census.bytes == len(text.read())


def test_the_census_finds_late_cpus_and_is_not_fooled_by_command_names(tmp_path: Path) -> None:
    """A CPU on the last line, without a newline, is found; brackets in a command's name are none."""
    path = tmp_path / "trace.txt"
    odd = line(5, 2, "kfree", "call_site=f ptr=0x1").replace("task", "kworker [77] x")
    many = kfree(9, 0, 1) * 9000  # several blocks of text
    last = "  t 1 [1023] d..2.  1.000000: kfree: call_site=f ptr=0x1"
    path.write_text(odd + many + kfree(7, 3, 1) + many + last, encoding="utf-8")
    assert take_census(path).cpus == (0, 2, 3, 1023)


def test_a_census_is_bounded(tmp_path: Path) -> None:
    """Neither a line without end nor CPUs without end make it grow."""
    path = tmp_path / "trace.txt"
    path.write_text("[" * 1_000_000, encoding="utf-8")
    assert take_census(path).cpus == ()
    path.write_text("".join(f"t 1 [{cpu}] 1.000000: \n" for cpu in range(9000)), encoding="utf-8")
    with pytest.raises(InputError, match="more than 8192 CPUs"):
        take_census(path)


def test_a_pipe_is_refused_before_anything_is_read() -> None:
    """A trace is read twice, so it has to be a file."""
    with pytest.raises(InputError, match="read only once; write the trace to a file"):
        refuse_pipe(Path("/dev/null"))
