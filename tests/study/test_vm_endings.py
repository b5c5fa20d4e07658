"""How a run tells what became of its tasks: signals of programs, a panic of the kernel, intervals."""

import io
import re
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from coalsim.cli.options import CommonOptions
from coalsim.cli.output import deliver
from coalsim.engine.clock import Op
from coalsim.errors import KernelPanic
from coalsim.mm.paging import layout
from coalsim.mm.paging.geometry import GEOMETRIES
from coalsim.mm.virt.area import READ
from coalsim.mm.virt.task import Task
from coalsim.observe.document import ResultDocument
from coalsim.study.measuring import SIGNALS_TOLD
from coalsim.study.overrides import parse_settings
from coalsim.study.planning import open_study
from coalsim.study.pressure_outcome import check_panic
from coalsim.study.run import SAME_RUNS, run_study
from coalsim.units import PAGE_SIZE, CpuId
from coalsim.workloads.base import VirtualHost

Program = Callable[[Task], Op[None]]
GEOMETRY = GEOMETRIES["x86-64"]
WINDOW = layout.window(GEOMETRY)


@dataclass(frozen=True)
class Programs:
    """A load of programs, one task each; it counts one operation, for a run without any warns of that."""

    programs: Mapping[str, Program]
    endless = False
    headline = ""

    def start(self, host: VirtualHost) -> None:
        """All on the first processors, in turn."""
        host.meter.cpu(CpuId(0), "").latencies.record(1)
        for number, (name, program) in enumerate(self.programs.items()):
            cpu = CpuId(number % len(host.cpus))
            host.vm.run_task(host.vm.new_process(name), cpu, name, program)

    def results(self) -> Mapping[str, object]:
        """Nothing."""
        return {}


def run(*settings: str, **programs: Program) -> ResultDocument:
    """The outcome of some programs on a small machine under Linux."""
    small = ("machine=ivb-laptop", "kernel.profile=linux-6.18", "run.warmup=0", "run.duration=0")
    asked = parse_settings((*small, "workload.rounds=1", *settings))
    planned = open_study("munmap_shared", asked)
    return run_study(replace(planned, load=lambda _: Programs(programs)))


def wild(task: Task) -> Op[None]:
    """Writes where nothing is mapped."""
    yield from task.touch(0xDEAD_0000)


def careless(task: Task) -> Op[None]:
    """Writes what it may only read."""
    area = yield from task.mmap(PAGE_SIZE, rights=READ)
    yield from task.touch(area, write=False)
    yield from task.touch(area)


def nosy(task: Task) -> Op[None]:
    """Reads the kernel's side."""
    yield from task.touch(WINDOW, write=False)


def good(task: Task) -> Op[None]:
    """Does nothing wrong."""
    area = yield from task.mmap(2 * PAGE_SIZE)
    yield from task.sequential(area, 2 * PAGE_SIZE, write=True)
    yield from task.munmap(area, 2 * PAGE_SIZE)


def test_a_program_that_touches_an_unmapped_page_gets_its_signal() -> None:
    """The run goes on to its end and warns, with task, signal and address; other tasks are not named."""
    result = run(wild=wild, careless=careless, nosy=nosy, good=good)

    first, second, third = result["warnings"]
    assert (
        first == "a signal ended task wild: SIGSEGV: no memory is mapped there (SEGV_MAPERR), at 0xdead0000"
    )
    assert second.startswith(
        "a signal ended task careless: SIGSEGV: the area does not allow it (SEGV_ACCERR), at 0x"
    )
    assert third == (
        f"a signal ended task nosy: SIGSEGV: user code may not touch the kernel's side, at {WINDOW:#x}"
    )
    assert result["vm"]["faults"]["signals"] == 3
    assert len(result["vm"]["signals"]) == 3


def test_a_signal_is_a_warning_and_no_failure() -> None:
    """The command ends as usual, and its summary has the line."""
    common = CommonOptions(
        machine=None, seed=None, settings=(), out=None, as_json=False, quiet=True, max_input=1, trust=False,
        progress="none",
    )  # fmt: skip
    printed = io.StringIO()
    with redirect_stdout(printed):
        deliver(common, run(wild=wild))
    assert "\nwarning: a signal ended task wild: SIGSEGV" in printed.getvalue()


def test_many_signals_are_counted() -> None:
    """The first ones are named."""
    result = run(**{f"wild{number}": wild for number in range(SIGNALS_TOLD + 3)})
    assert len(result["warnings"]) == SIGNALS_TOLD + 1
    assert result["warnings"][-1] == "signals ended 3 more tasks"
    assert len(result["vm"]["signals"]) == SIGNALS_TOLD + 3


@pytest.mark.parametrize(
    ("address", "write", "error"),
    [
        (WINDOW + (1 << 40), False, "0x0000"),
        (WINDOW + (1 << 40), True, "0x0002"),
        (0xDEAD_0000, True, "0x0002"),
        (1 << 60, False, "0x0000"),
    ],
    ids=["kernel side, read", "kernel side, write", "user side", "not canonical"],
)
def test_a_kernel_that_touches_unmapped_memory_panics(address: int, write: bool, error: str) -> None:
    """With registers, fault address, error bits, and the last operations of that CPU."""

    def program(task: Task) -> Op[None]:
        yield from good(task)
        yield from task.kernel_access(address, write=write)

    result = run(driver=program, other=good)
    with pytest.raises(KernelPanic) as panic:
        check_panic(result)
    assert result["vm"]["faults"]["faults"] > 0  # everything up to then is there

    lines = str(panic.value).splitlines()
    assert lines[0] == f"BUG: unable to handle page fault for address: {address:#x}"
    assert lines[1] == f"#PF: supervisor {'write' if write else 'read'} access in kernel mode"
    assert lines[2] == f"#PF: error_code({error}) - not-present page"
    assert re.fullmatch(r"CPU: 0 PID: 1 Comm: driver at [\d.]+ ns", lines[3])
    assert re.match(rf"CR2: {address:#018x} CR3: 0x[0-9a-f]{{16}} ASID: \d+ entry: 0x0 ", lines[4])
    assert lines[5] == "last operations of this CPU:"
    assert [line.split()[0] for line in lines[6:-1]] == ["exec", "mmap", "fault", "fault", "munmap"]
    assert lines[-1] == "Kernel panic - not syncing: Fatal exception"


def test_a_kernel_that_touches_its_own_memory_goes_on() -> None:
    """Its window is mapped and writable."""

    def program(task: Task) -> Op[None]:
        yield from task.kernel_access(WINDOW, write=True)

    assert "warnings" not in run(driver=program)


def test_operations_and_shootdowns_get_intervals() -> None:
    """Over the runs' own means, in a run with replications."""
    settings = ("machine=ivb-laptop", "workload.cpus=3", "run.warmup=0", "run.duration=60us")
    result = run_study(open_study("munmap_shared", parse_settings((*settings, "run.replications=3"))))

    for key in (
        "shootdown_ns.mean",
        "shootdown_ns.p50",
        "shootdown_ns.p99",
        "operations.munmap.latency_ns.mean",
    ):
        assert result["intervals"][key]["count"] == 3
    mean = sum(run["shootdown_ns"]["p99"] for run in result["runs"]) / 3
    assert result["intervals"]["shootdown_ns.p99"]["mean"] == pytest.approx(mean)
    assert result["shootdown_ns"]["p99"] == pytest.approx(mean)


def _replicated(*settings: str) -> ResultDocument:
    """Three runs of a load of will-it-scale."""
    small = ("machine=ivb-laptop", "workload.cpus=2", "workload.mode=threads", "run.warmup=0")
    asked = parse_settings((*small, "run.duration=60us", "run.replications=3", *settings))
    return run_study(open_study("mmap1", asked))


def test_replications_that_are_all_the_same_are_told() -> None:
    """Their intervals have no width, which must not be taken for precision."""
    result = _replicated()
    assert result["intervals"]["latency_ns.mean"]["half_width"] == 0
    assert [text for text in result["warnings"] if text == SAME_RUNS]


def test_replications_differ_when_tasks_start_spread() -> None:
    """The offsets come from the seed, so each run meets another order of the tasks."""
    result = _replicated("workload.start=spread")
    assert result["intervals"]["latency_ns.mean"]["half_width"]
    assert "warnings" not in result
    again = _replicated("workload.start=spread")
    assert again["runs"][0]["latency_ns"] == result["runs"][0]["latency_ns"]


def test_a_users_policy_is_called_by_what_it_is(tmp_path: Path) -> None:
    """A subclass that gives itself no name is not told as the policy that it changes."""
    (tmp_path / "mine.py").write_text(
        "from coalsim.mm.shootdown.linux import LinuxShootdown\nclass Mine(LinuxShootdown): pass\n"
    )
    assert run(f"kernel.shootdown={tmp_path}/mine.py:Mine", good=good)["vm"]["policy"] == "Mine"
    assert run("kernel.shootdown=serial", good=good)["vm"]["policy"] == "serial"
