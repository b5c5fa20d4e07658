"""An OOM storm as a study: victims are those that the formula names, in every mode of the engine."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pytest

from coalsim.boot import System
from coalsim.observe.document import ResultDocument
from coalsim.study.overrides import parse_settings
from coalsim.study.planning import open_study
from coalsim.study.run import run_study

SMALL: Mapping[str, object] = {
    "machine.name": "pack:2 numa:1 core:4 pu:1",
    "machine.memory": "6MiB",
    "workload.cpus": 8,
    "workload.processes": 12,
    "workload.mib": 6,
    "workload.unkillable": 1,
    "kernel.oom_reaper_delay": "10ms",
}
STORM: Mapping[str, object] = {
    "machine.memory": "6MiB",
    "workload.mib": 4,
    "kernel.oom_reaper_delay": "20ms",
}
"""64 CPUs, 40 processes and 4 nodes, with less memory each, so that a hundred take minutes."""
MODES: tuple[Mapping[str, object], ...] = (
    {},
    {"engine.run_ahead": 0},
    {"engine.fast_paths": 0},
    {"engine.tick_events": 1},
)
REFERENCE: Mapping[str, object] = {"engine.run_ahead": 0, "engine.fast_paths": 0, "engine.tick_events": 1}
ROW = re.compile(
    r"\[ *(?P<pid>\d+)\] +0 +\d+ +(?P<vm>\d+) +(?P<rss>\d+) +\d+ +0 +0 +(?P<tables>\d+) +0 "
    r"+(?P<adj>-?\d+) (?P<name>\S+)$"
)
KILLED = re.compile(
    r"Out of memory: Killed process (\d+) \((\S+)\) total-vm:(\d+)kB, anon-rss:(\d+)kB, file-rss:0kB, "
    r"shmem-rss:0kB, UID:0 pgtables:(\d+)kB oom_score_adj:(-?\d+)$"
)
LAYOUT = (
    r"\S+ invoked oom-killer: gfp_mask=0x[0-9a-f]+\([A-Z_|]+\), order=\d, oom_score_adj=-?\d+",
    r"CPU: \d+ UID: 0 PID: \d+ Comm: \S+",
    r"Call Trace:",
    r" \S.*",
    r"Mem-Info:",
    r"(Node \d \w+ free:\d+kB boost:0kB min:\d+kB low:\d+kB high:\d+kB managed:\d+kB\n"
    r"lowmem_reserve\[\]:( \d+)+\n)+"
    r"(Node \d \w+: (\d+\*\d+kB ){11}= \d+kB\n)+\d+ pages RAM",
    r"Tasks state \(memory values in pages\):",
    r"\[  pid  \]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents "
    r"oom_score_adj name",
    r"(\[ *\d+\] {5}0 +\d+ +\d+ +\d+ +\d+ +0 +0 +\d+ +0 +-?\d+ \S+\n)+"
    r"oom-kill:constraint=CONSTRAINT_NONE,nodemask=\(null\),cpuset=/,mems_allowed=0(-\d)?,global_oom,task_memcg=/,task=\S+,pid=\d+,uid=0",
    r"Out of memory: Killed process .*",
)
"""Line by line as dump_header, dump_tasks and __oom_kill_process of mm/oom_kill.c print it in 6.18."""


def storm(settings: Mapping[str, object]) -> ResultDocument:
    """The document of one storm."""
    asked = parse_settings([f"{key}={value}" for key, value in settings.items()])
    return run_study(open_study("oom_storm", asked))


def compared(document: ResultDocument) -> str:
    """What all modes have to agree on."""
    return json.dumps(
        {key: value for key, value in document.items() if key not in ("events", "host_s", "config")}
    )


@dataclass(frozen=True)
class Told:
    """What a report says, read from its text alone."""

    lines: tuple[str, ...]
    tasks: tuple[dict[str, str], ...]
    victim: int

    @staticmethod
    def of(text: str) -> "Told":
        """A report without its time stamps."""
        lines = tuple(re.sub(r"^\[ *\d+\.\d{6}\] ", "", line) for line in text.splitlines())
        tasks = tuple(match.groupdict() for line in lines if (match := ROW.match(line)))
        killed = KILLED.match(lines[-1])
        return Told(lines, tasks, int(killed[1]) if killed else -1)

    def by_the_formula(self, total: int) -> int:
        """The process with the most points, the last of equal ones."""
        points = [
            (int(row["rss"]) + int(row["tables"]) // 4096 + int(row["adj"]) * (total // 1000), number)
            for number, row in enumerate(self.tasks)
            if row["adj"] != "-1000"
        ]
        return int(self.tasks[max(points)[1]]["pid"])


def check_kills(document: ResultDocument, total: int) -> None:
    """Victims are those that the formula names, once each, none of them unkillable, one after the other."""
    kills = document["pressure"]["kills"]
    reports = [entry["text"] for entry in document["kernel_log"] if "invoked oom-killer" in entry["text"]]
    assert len(reports) == len(kills) > 0
    dead: list[int] = []
    for text, kill in zip(reports, kills, strict=True):
        told = Told.of(text)
        # a victim that has lost its memory and not yet gone is still in the table, and cannot be chosen again
        still = Told(told.lines, tuple(row for row in told.tasks if int(row["pid"]) not in dead), told.victim)
        assert still.by_the_formula(total) == told.victim == kill["pid"]
        assert kill["points"] >= kill["runner_up"]
        dead.append(told.victim)
    assert len(dict.fromkeys(dead)) == len(dead)
    for before, after in pairwise(kills):
        assert before["time_ns"] < after["time_ns"]


def test_the_report_has_the_layout_of_the_kernels_log() -> None:
    """Each part as the kernel's format strings make it; the columns of the table have the kernel's widths."""
    document = storm(SMALL)
    text = document["kernel_log"][0]["text"]
    assert all(re.match(r"\[ *\d{1,5}\.\d{6}\]  ?\S", line) for line in text.splitlines())
    told = Told.of(text)
    assert re.fullmatch("\n".join(LAYOUT), "\n".join(told.lines))
    row = next(line for line in told.lines if ROW.match(line))
    parts = ROW.match(row)
    assert parts is not None
    # "[%7d] %5d %5d %8lu %8lu %8lu %8lu %9lu %8ld %8lu         %5hd %s"
    pid, vm, rss, tables, adj, name = (parts[key] for key in ("pid", "vm", "rss", "tables", "adj", "name"))
    numbers = (0, int(pid), int(vm), int(rss), int(rss), 0, 0, int(tables), 0)
    widths = (5, 5, 8, 8, 8, 8, 9, 8, 8)
    columns = " ".join(f"{number:{width}}" for number, width in zip(numbers, widths, strict=True))
    assert row == f"[{int(pid):7}] {columns}         {int(adj):5} {name}"


@pytest.mark.fast_one_in(4)
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("seed", [1, 2])
def test_victims_are_those_that_the_formula_names(seed: int, threads: int) -> None:
    """Recomputed from the table of tasks in each report."""
    document = storm({**SMALL, "run.seed": seed, "workload.threads": threads})
    check_kills(document, 2 * 6 * 256)
    assert "panic" not in document


@pytest.mark.fast_one_in(2)
@pytest.mark.parametrize(
    ("threads", "delay", "by", "locking"),
    [(1, "0", "remote", "rwsem"), (3, "10ms", "work", "per_vma")],
)
def test_the_reference_says_the_same(threads: int, delay: str, by: str, locking: str) -> None:
    """The whole document."""
    start = dict(SMALL) | {"workload.processes": 8, "machine.memory": "4MiB"}
    assert_modes_agree(start, threads, delay, by, locking, (MODES[0], REFERENCE))


@pytest.mark.slow
@pytest.mark.parametrize("locking", ["rwsem", "per_vma"])
@pytest.mark.parametrize("by", ["remote", "work"])
@pytest.mark.parametrize("delay", ["0", "10ms"])
@pytest.mark.parametrize("threads", [1, 3])
def test_every_mode_says_the_same_in_all_combinations(
    threads: int, delay: str, by: str, locking: str
) -> None:
    """Locks, drains, reapers and threads, each with each."""
    assert_modes_agree(SMALL, threads, delay, by, locking)


def assert_modes_agree(
    start: Mapping[str, object],
    threads: int,
    delay: str,
    by: str,
    locking: str,
    modes: Sequence[Mapping[str, object]] = MODES,
) -> None:
    """One storm in all modes, or in some."""
    settings = {
        **start,
        "workload.threads": threads,
        "kernel.mmap_lock": locking,
        "kernel.pcp_drain_by": by,
        "kernel.oom_reaper_delay": delay,
    }
    first, *others = (compared(storm({**settings, **mode})) for mode in modes)
    assert all(other == first for other in others)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 10))
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("profile", ["coal", "linux-6.0", "linux-6.18"])
def test_every_mode_says_the_same_for_many_seeds(profile: str, threads: int, seed: int) -> None:
    """With other allocators, too."""
    by = "work" if seed % 2 else "remote"
    settings = {**SMALL, "workload.threads": threads, "run.seed": seed, "kernel.profile": profile}
    settings["kernel.pcp_drain_by"] = by
    first, *others = (compared(storm({**settings, **mode})) for mode in MODES)
    assert all(other == first for other in others)


def watched(settings: Mapping[str, object]) -> tuple[ResultDocument, System]:
    """A storm and its system after the end."""
    asked = parse_settings([f"{key}={value}" for key, value in settings.items()])
    systems: list[System] = []
    document = run_study(open_study("oom_storm", asked), lambda system, _: systems.append(system))
    return document, systems[-1]


def check_frames_and_locks(system: System) -> None:
    """No frame is lost, and no lock of a dead process is held; after the run."""
    pages = system.memory.pages
    free = sum(zone.source.free_frames + zone.source.unheld_frames() for zone in pages.zones)
    held = pages.listed_pages() + pages.taken_pages() + pages.moving_pages()
    assert free + held == sum(zone.frames for zone in pages.zones)
    for process in system.vm.processes:
        if process.is_over:
            assert process.space.mmap_lock.is_free
            assert not process.space.faults_to_end
            assert process.space.is_dead


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 101))
def test_a_hundred_storms_all_end(seed: int) -> None:
    """64 CPUs, 40 processes, 4 nodes: victims by the formula, no frame lost, survivors finish."""
    threads = 1 + seed % 2 * 2
    locking = "rwsem" if seed % 3 else "per_vma"
    document, system = watched(
        {**STORM, "run.seed": seed, "workload.threads": threads, "kernel.mmap_lock": locking}
    )
    check_kills(document, 4 * 6 * 256)
    check_frames_and_locks(system)
    dead = {kill["pid"] for kill in document["pressure"]["kills"]}
    assert system.pressure is not None
    let_go = system.pressure.oom.let_go
    assert all(process.is_over for process in system.vm.processes)
    for process in system.vm.processes:
        assert process.is_victim == (process.pid in dead or process.pid in let_go)
        if process.pid not in dead:
            assert not any(task.signal for task in process.tasks)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 9))
def test_storms_that_are_told_to_panic_do(seed: int) -> None:
    """The first shortage that nothing helps ends the run, and everything is conserved at that moment."""
    document, system = watched({**STORM, "run.seed": seed, "kernel.oom": "panic"})
    assert document["panic"].endswith(
        "Kernel panic - not syncing: Out of memory: system-wide panic_on_oom is enabled"
    )
    assert not document["pressure"]["kills"]
    check_frames_and_locks(system)
