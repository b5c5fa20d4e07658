"""Mistakes: one line for each on stderr, with place and remedy; nothing on stdout; the right exit code."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command import accepted, json_of, refused

DATA = Path(__file__).parents[1] / "data"
EXCERPT = DATA / "compile_excerpt.perf.txt.gz"
LSTOPO = DATA / "topology" / "lstopo-2pack-4numa.xml"

STUDY_WITH_MISTAKES = """\
machine = "clx3"
[study]
nam = "x"
[kernel]
profile = "linux-9"
lok = "mcs"
hz = "fast"
[kernel.cost]
pcp_pop = "12"
pcp_pup = "12ns"
[workload]
kind = "lock_loop"
cpus = -3
thinkk = "exp:1us"
think = "exp"
hold = 4
[engine]
runahead = 1
run_ahead = "maybe"
[run]
duration = 5
replications = 0
seed = -1
[extra]
a = 1
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with one file of each bad kind."""
    (tmp_path / "truncated.gz").write_bytes(EXCERPT.read_bytes()[:5000])
    (tmp_path / "binary.txt").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "prose.txt").write_text("It was a dark and stormy night.\n" * 10)
    (tmp_path / "empty.txt").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "other.xml").write_text('<?xml version="1.0"?><svg><g/></svg>')
    (tmp_path / "broken.xml").write_bytes(LSTOPO.read_bytes()[:900])
    (tmp_path / "broken.toml").write_text('[workload]\nkind = "lock_loop\n')
    (tmp_path / "zip.txt").write_bytes(gzip.compress(b"PK\x03\x04\0\0"))
    return tmp_path


@pytest.mark.parametrize("json", [False, True])
@pytest.mark.parametrize(
    ("file", "mistake"),
    [
        ("missing.txt", "no such file; check the path"),
        ("truncated.gz", "the gzip ends too early; copy the file again: it is truncated"),
        ("binary.txt", "binary data, not text; give perf script, ftrace or trace-cmd text, plain or gzip"),
        ("zip.txt", "binary data, not text; give perf script, ftrace or trace-cmd text, plain or gzip"),
        ("empty.txt", "the file is empty; give perf script, ftrace or trace-cmd text, plain or gzip"),
        ("prose.txt", "no line of perf script, ftrace or trace-cmd text in it; give perf script, "),
        ("folder", "it is a directory; name a file in it"),
        ("other.xml", "no line of perf script, ftrace or trace-cmd text in it; give perf script, "),
    ],
)
def test_a_trace_that_cannot_be_one_is_refused(
    file: str, mistake: str, json: bool, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong, and what to do."""
    (line,) = refused(capsys, "replay", str(files / file), *(["--json"] if json else []))
    assert line.startswith(str(files / file))
    assert mistake in line


@pytest.mark.parametrize("command", [("run", "lock_loop", "--machine"), ("machines", "show")])
@pytest.mark.parametrize(
    ("file", "mistake"),
    [
        ("missing.xml", "no such file; check the path"),
        ("truncated.gz", "; copy the file again"),
        ("prose.txt", "describes no machine in any way that is known; give lstopo XML, numactl -H text, "),
        ("binary.txt", "describes no machine in any way that is known; give lstopo XML, numactl -H text, "),
        ("folder", "no devices/system/node in it; copy devices/system/node and "),
        ("other.xml", "; export with lstopo --of xml"),
        ("broken.xml", "; export with lstopo --of xml"),
    ],
)
def test_a_machine_file_of_another_kind_is_refused(
    file: str, mistake: str, command: tuple[str, ...], files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whichever command reads it."""
    (line,) = refused(capsys, *command, str(files / file))
    assert line.startswith(str(files / file))
    assert mistake in line


@pytest.mark.parametrize("json", [False, True])
def test_every_mistake_in_a_study_is_told_with_line_and_remedy(
    json: bool, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """All in one go, whichever section they are in."""
    study = tmp_path / "bad.toml"
    study.write_text(STUDY_WITH_MISTAKES)
    lines = refused(capsys, "run", str(study), *(["--json"] if json else []))
    told = sorted(line.removeprefix(f"{study}:") for line in lines)
    assert told == sorted(
        [
            "1: machine = clx3: no machine of that name, and no such file; did you mean clx2?",
            "24: extra: no such key; use one of study, machine, kernel, workload, engine, run, inject, "
            "what_if, "
            "axis, show, stop, quick",
            "3: study.nam: no such key; did you mean name?",
            "5: kernel.profile = linux-9: no such profile; did you mean linux-6.7?",
            "6: kernel.lok: no such key; did you mean kernel.lock?",
            "7: kernel.hz = fast: not a whole number; write it like 63",
            "9: kernel.cost.pcp_pop = 12: not a cost; write it like 12ns, 1.5us or 30cycles",
            "10: kernel.cost.pcp_pup: no such key; did you mean kernel.cost.pcp_pop?",
            "14: workload.thinkk: no such key; did you mean think?",
            "13: workload.cpus = -3: too small; give a number from 1 up",
            "15: workload.think = exp: 'exp' is not a law; write const:37.7ns, exp:56.3ns, "
            "uniform:10ns:20ns, erlang:4:1us, hyper:4:1us",
            "16: workload.hold.0 = 4: not a law; write it as text, like exp:56.3ns or const:37.7ns",
            "18: engine.runahead: no such key; did you mean run_ahead?",
            "19: engine.run_ahead = maybe: not a truth value; write true or false, 1 or 0",
            "21: run.duration = 5: no time unit; write it as text, like 2ms",
            "22: run.replications = 0: too small; give a number from 1 up",
            "23: run.seed = -1: too small; give a number from 0 up",
        ]
    )


@pytest.mark.parametrize(
    ("study", "mistake"),
    [
        ("lock_lop", "no such study; did you mean lock_loop?"),
        ("nothing_like_it", "no such study; use one of "),
        ("./missing.toml", "no such file; check the path"),
        ("folder", "it is a directory; name a file in it"),
        ("broken.toml", ":2: not TOML: "),
        ("prose.txt", ":1: not TOML: "),
        ("binary.txt", "; save it as UTF-8"),
        ("truncated.gz", "the gzip ends too early; "),
    ],
)
def test_a_study_that_is_none_is_refused(
    study: str,
    mistake: str,
    files: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By name, by path, by content."""
    monkeypatch.chdir(files)
    (line,) = refused(capsys, "run", study)
    assert line.startswith(study.removeprefix("./"))
    assert mistake in line


@pytest.mark.parametrize(
    ("setting", "mistake"),
    [
        ("workload.cpus", "not KEY=VALUE; write it like --set kernel.lock=mcs"),
        ("=1", "not KEY=VALUE; write it like --set kernel.lock=mcs"),
        ("a..b=1", "not KEY=VALUE; write it like --set kernel.lock=mcs"),
        ("workload.cpus=0", "workload.cpus = 0: too small; give a number from 1 up"),
        ("workload.cpus=-1", "workload.cpus = -1: too small; give a number from 1 up"),
        ("workload.cpus=2.5", "workload.cpus = 2.5: not a whole number; write it like 4"),
        ("workload.cpus=many", "workload.cpus = many: not a whole number; write it like 4"),
        ("workload.cpus=105", "machine clx2 has 104 CPUs; use at most 104, or a larger machine"),
        ("workload.cpu=1", "workload.cpu: no such key; did you mean cpus?"),
        ("workload.kind=nope", "workload.kind = nope: no such workload; use one of lock_loop, "),
        ("workload.size=-4", "workload.size = -4: too small; give a number from 1 up"),
        ("workload.size=-4KiB", "'-4KiB' is not a size; write it like 4KiB, 2GiB or 4096"),
        ("workload.size=5EiB", "; use B, KiB, MiB, GiB or TiB"),
        ("workload.think=gauss:5ns", "'gauss:5ns' is not a law; write const:37.7ns, "),
        ("workload.think=exp:-5ns", "'-5ns' is not a time; write it like 56.3ns, 4us or 2ms"),
        ("workload.think=uniform:5ns:1ns", "; swap them"),
        ("workload.think=hyper:0.5:1us", "squared variation above 1; "),
        ("workload.think=erlang:0:1us", "1 to 1000 whole phases; "),
        ("kernel.lock=nope", "kernel.lock = nope: no such lock; the names are tas, ttas, ticket, mcs, "),
        ("kernel.lock=mutex", "; choose one of tas, ttas, ticket, mcs, qspinlock, cna, seqlock; "),
        ("kernel.lock.x=1", "kernel.lock.x: no such key; did you mean kernel.lock?"),
        ("kernel.slab=foo", "kernel.slab = foo: no such choice; the choices are magazines, slub, sheaves"),
        ("kernel.profile=linux-9", "kernel.profile = linux-9: no such profile; did you mean linux-6.7?"),
        ("kernel.cost.pcp_pop=-5ns", "kernel.cost.pcp_pop = -5ns: not a cost; write it like 12ns, "),
        ("kernel.cost.pcp_pup=5ns", "kernel.cost.pcp_pup: no such key; did you mean kernel.cost.pcp_pop?"),
        ("machine.memory=0", "a machine without memory; give at least one node some"),
        ("machine.memory=-1GiB", "'-1GiB' is not a size; write it like 4KiB, 2GiB or 4096"),
        ("machine.clock_ghz=0", "; give a clock from 0.001 to 1000 GHz"),
        (
            "machine.guest.preempted_share=-0.1",
            "machine.guest.preempted_share = -0.1: below 0; write it like 0",
        ),
        ("machine.clock_ghz=nan", "machine.clock_ghz = nan: not a number; write it like 2.5 GHz"),
        ("machine.nokey=5", "; `coalsim machines show` lists the keys"),
        ("run.duration=0", "run.duration = 0: this load never ends by itself; give a time such as 2ms"),
        ("run.duration=-1ms", "'-1ms' is not a time; write it like 56.3ns, 4us or 2ms"),
        ("run.duration=1", "run.duration = 1: no time unit; write it as text, like 2ms"),
        ("run.replications=0", "run.replications = 0: too small; give a number from 1 up"),
        ("run.seed=x", "run.seed = x: not a whole number; write it like 4"),
        ("engine.run_ahead=maybe", "not a truth value; write true or false, 1 or 0"),
    ],
)
def test_a_bad_setting_is_refused_with_its_remedy(
    setting: str, mistake: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Named by the option as it was typed, wherever it turns out to be wrong."""
    (line,) = refused(capsys, "run", "kmalloc_pairs", "--set", setting, "--json")
    assert mistake in line
    if not setting.startswith(("machine.memory=0", "machine.clock_ghz=0")):
        assert line.startswith(f"--set {setting}: ")


@pytest.mark.parametrize(
    ("setting", "mistake"),
    [
        ("kernel.shootdown=linx", "no such shootdown policy; did you mean linux? the names are serial, "),
        ("kernel.shootdown=./none.py:Own", "none.py"),
        ("kernel.ipi=kvm", "no such interrupt model; did you mean kvm_pv? the names are machine, "),
        ("kernel.ipi=smoke", "no such interrupt model; the names are machine, x2apic_cluster, "),
        ("kernel.mmap_lock=per-vma", "no such choice; did you mean per_vma? the choices are rwsem, "),
        ("kernel.madvise_lock=area", "no such choice; the choices are mmap, vma"),
        ("kernel.table_replication=all", "no such choice; the choices are none, eager, lazy, per_cpu"),
        ("kernel.table_placement=node:2", "machine clx2 has no such node; use node:0 to node:1"),
        ("kernel.geometry=x86-32", "its entries reach 4 GiB, and machine clx2 has "),
        ("kernel.geometry=pae", "its entries reach 64 GiB, and machine clx2 has "),
        ("kernel.lru_lock=maybe", "not a truth value; write true or false, 1 or 0"),
        ("kernel.flush_ceiling=-1", "less than 0; use 0 (always all), or 33 as Linux does"),
        ("machine.guest.preempted_share=2", "give a share from 0 to below 1, without a unit"),
        ("workload.pages=0", "too small; give a number from 1 up"),
        ("workload.barrier=doze", "no such choice; use one of 'sleep' or 'spin'"),
    ],
)
def test_a_bad_setting_of_virtual_memory_is_refused_with_its_remedy(
    setting: str, mistake: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where only kernel and machine together show it."""
    command = ("run", "munmap_shared", "--machine", "clx2", "--set", setting, "--json")
    (line,) = refused(capsys, *command)
    assert mistake in line
    assert line.startswith(f"--set {setting}: ")


@pytest.mark.parametrize(("policy", "replication"), [("numapte", "lazy"), ("radixvm", "per_cpu")])
def test_a_policy_without_the_tables_that_it_is_made_for_says_so(
    policy: str, replication: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without them numaPTE is the concurrent policy under another name."""
    command = ("run", "munmap_shared", f"--set=kernel.shootdown={policy}", "--set=run.duration=50us")
    for tables, told in (("none", True), (replication, False)):
        printed = accepted(capsys, *command, f"--set=kernel.table_replication={tables}")
        assert (f"is made for kernel.table_replication={replication}" in printed) is told


def test_all_bad_options_of_a_command_line_are_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Machine, lock and two settings, in one go where they are looked at together."""
    lines = refused(capsys, "run", "lock_loop", "--set", "a", "--set", "b")
    assert len(lines) == 2
    lines = refused(capsys, "run", "lock_loop", "--set", "workload.cpus=0", "--set", "run.duration=1")
    assert len(lines) == 2
    lines = refused(capsys, "run", "lock_loop", "--machine", "nope", "--set", "kernel.lock=nope")
    assert [line.split(":")[0] for line in lines] == ["--machine nope", "--set kernel.lock=nope"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "lock_loop", "--seed", "x"),
        ("run", "lock_loop", "--seed", "-1"),
        ("run", "lock_loop", "--max-input", "-1"),
        ("run", "lock_loop", "--nonsense"),
        ("run",),
        ("replay",),
        ("replay", str(EXCERPT), "--clone", "0"),
        ("replay", str(EXCERPT), "--clone", "5000"),
        ("replay", str(EXCERPT), "--layer", "all"),
        ("replay", str(EXCERPT), "--snapshots", str(EXCERPT)),
        ("replay", str(EXCERPT), "--set", "run.warmup=1ms"),
        ("machines", "import", "pack:2 core:0 pu:1"),
        ("machines", "import", "pack:1 core:1 pu:1", "--out", "machine.txt"),
        ("machines", "show", "coal", "--set", "clock_ghz"),
        ("validate", "nope"),
        ("validate", "page_bulk", "--points", "a"),
        ("validate", "page_bulk", "--points", "1000"),
        ("locks", "nowhere"),
        ("mem", str(DATA)),
        ("where", str(EXCERPT)),
        ("locks", str(DATA / "result"), "-k", "nope"),
        ("locks", str(DATA / "result"), "-F", "nope"),
        ("locks", str(DATA / "result"), "-E", "0"),
        ("locks", str(DATA / "result"), "--run", "1"),
    ],
)
def test_wrong_arguments_are_refused(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """By every command, in one line."""
    assert len(refused(capsys, *arguments)) == 1


@pytest.mark.parametrize("out", ["file", "file/below", "/proc/nowhere/result"])
def test_an_output_folder_that_cannot_be_is_refused_before_the_run(
    out: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A run of a simulated week is not thrown away at its end."""
    (tmp_path / "file").write_text("precious")
    (line,) = refused(
        capsys, "run", "lock_loop", "--set", "run.duration=600000s", "--out", str(tmp_path / out)
    )
    assert out.rpartition("/")[2] in line
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """By its permissions."""
    secret = tmp_path / "secret.txt"
    secret.write_text("x")
    secret.chmod(0)
    (line,) = refused(capsys, "replay", str(secret))
    assert line == f"{secret}: cannot be read (Permission denied); check its permissions and its kind"


@pytest.mark.parametrize(
    ("study", "settings"),
    [
        ("kmalloc_pairs", ("workload.size=1TiB", "run.warmup=0", "run.duration=1us")),
        ("page_bulk", ("machine.memory=1MiB", "workload.frames_per_cpu=2000")),
        ("page_repeat", ("machine.memory=1MiB", "workload.order=9", "run.warmup=0", "run.duration=9us")),
    ],
)
def test_a_load_that_gets_no_memory_says_so(
    study: str, settings: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """A run whose allocations failed must not look like a fast one."""
    arguments = ("run", study, *(f"--set={setting}" for setting in settings))
    assert "warning: " in accepted(capsys, *arguments)
    warnings = json_of(capsys, *arguments)["warnings"]
    assert isinstance(warnings, list)
    assert any("allocations failed" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("changes", "mistake"),
    [
        (
            ("machine.memory=1MiB",),
            "machine.memory = 1 MiB: no memory is left for the kernel's own page tables",
        ),
        (
            ("machine.memory=1040KiB", "kernel.debug_guard_pages=on", "workload.cpus=128"),
            "machine.memory = 1.016 MiB: 128 threads need 1.5 MiB of page tables and stacks to begin",
        ),
        (
            ("machine.memory=16MiB", "kernel.reserve_pages=8192"),
            "kernel.reserve_pages = 8192: no memory is left for the kernel's own page tables",
        ),
    ],
)
def test_a_machine_whose_tasks_could_not_begin_is_refused(
    changes: tuple[str, ...], mistake: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the run, instead of a panic of its kernel in it."""
    settings = (f"--set={one}" for one in ("workload.mode=processes", *changes))
    (line,) = refused(capsys, "run", "mmap_touch_munmap", *settings)
    assert mistake in line
    assert "give each node more memory" in line


def test_a_minimum_beyond_all_memory_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """No request could ever be served: everybody would be killed."""
    settings = ("--set=machine.memory=24MiB", "--set=kernel.min_free_kbytes=1000000")
    (line,) = refused(capsys, "run", "oom_storm", *settings)
    assert "kernel.min_free_kbytes = 1000000: the kernel's zones have 98304 KiB" in line
    assert "; use less, " in line


# -- a user's own lock --------------------------------------------------------------------------------------

LOCKS = '''\
"""Locks that somebody got wrong."""

from coalsim.locks.base import SpinLock
from coalsim.locks.lockdep import UNRANKED, LockClass
from coalsim.locks.mcs import McsLock


class Good(McsLock):
    """One that works."""


class Never(SpinLock):
    """Never passes on: once somebody waits, nobody gets in."""

    waited = False

    def enter(self, cpu, ticket):
        yield from self.swap(cpu, ticket)
        if self.holder is not None or self.waited:
            self.waited = True
            yield from self.spin(cpu, ticket)

    def leave(self, cpu):
        yield from ()


class Crossed(SpinLock):
    """Takes two locks, in an order that depends on the CPU."""

    def __init__(self, lock_class, name, setup):
        super().__init__(lock_class, name, setup)
        self.a = McsLock(LockClass("a", UNRANKED), "a", setup)
        self.b = McsLock(LockClass("b", UNRANKED), "b", setup)

    def enter(self, cpu, ticket):
        yield from self.swap(cpu, ticket)
        first, second = (self.a, self.b) if cpu.id % 2 else (self.b, self.a)
        yield from first.acquire(cpu, "first")
        yield from second.acquire(cpu, "second")
        ticket.granted = cpu.clock

    def leave(self, cpu):
        yield from self.a.release(cpu)
        yield from self.b.release(cpu)


class Open(SpinLock):
    """Keeps nobody out."""

    def enter(self, cpu, ticket):
        yield from self.swap(cpu, ticket)

    def leave(self, cpu):
        yield from ()


class Raises(Open):
    """Fails when it is made."""

    def __init__(self, lock_class, name, setup):
        raise ValueError("two\\nlines")  # line 61


class Narrow(Open):
    """Cannot be made as a lock is."""

    def __init__(self):
        pass


class Late(Open):
    """Fails when it is used."""

    def enter(self, cpu, ticket):
        yield from self.swap(cpu, ticket)
        raise RuntimeError("at run time")  # line 76


NUMBER = 4


class NoLock:
    """Something else."""


class Half(SpinLock):
    """Does not say how to leave."""

    def enter(self, cpu, ticket):
        yield from self.swap(cpu, ticket)
'''

MODES = (
    (),
    ("kernel.hz=0",),
    ("kernel.hz=1000", "engine.tick_events=1"),
    ("engine.run_ahead=0",),
    ("engine.fast_paths=false",),
    ("engine.run_ahead=0", "engine.fast_paths=false", "engine.tick_events=1"),
)


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of those locks, in the folder that we are in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "locks.py").write_text(LOCKS)
    (tmp_path / "syntax.py").write_text("class Lock\n")
    (tmp_path / "raises.py").write_text("x = 1\nraise KeyError('boo')\n")
    (tmp_path / "imports.py").write_text("import no_such_module_anywhere\n")
    return tmp_path / "locks.py"


LOOP = ("run", "lock_loop", "--machine", "clx2", "--set", "run.duration=1ms", "--set", "workload.cpus=4")


@pytest.mark.usefixtures("locks")
@pytest.mark.parametrize("mode", MODES, ids=" ".join)
def test_a_lock_that_never_passes_on_ends_in_a_report(
    mode: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 3, with those who wait and what they wait for, also where ticks go on for ever."""
    settings = [f"--set={setting}" for setting in ("kernel.lock=./locks.py:Never", *mode)]
    first, second, whose = refused(capsys, *LOOP, *settings, code=3)
    assert "kernel.lock: Never is the lock" in whose
    assert first == "lost wake-up, nobody will let these in:"
    assert second.endswith("wait for lock lock_loop (nobody holds it: it was never passed on)")
    assert second.count("CPU ") == 4


@pytest.mark.usefixtures("locks")
@pytest.mark.parametrize("mode", MODES, ids=" ".join)
def test_two_cpus_that_wait_for_each_other_end_in_a_report(
    mode: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Both are named, with what they hold and since where; and whose lock it is."""
    settings = [f"--set={setting}" for setting in ("kernel.lock=./locks.py:Crossed", *mode)]
    first, *circle, whose = refused(capsys, *LOOP, *settings, code=3)
    assert "kernel.lock: Crossed is the lock" in whose
    assert first == "deadlock, a circle of waits:"
    assert len(circle) == 2
    one, other = (line.split()[1] for line in circle)
    for line, holder in zip(circle, (other, one), strict=True):
        assert "waits for lock " in line
        assert f"(held by CPU {holder} since first)" in line


@pytest.mark.usefixtures("locks")
@pytest.mark.parametrize("study", ["page_bulk", "kmalloc_burst"])
def test_the_kernel_deadlocks_on_such_a_lock_too(study: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The zone's lock and the depot's are of the same class; with --json stdout stays empty."""
    lines = refused(capsys, "run", study, "--set", "kernel.lock=./locks.py:Never", "--json", code=3)
    assert any("(nobody holds it: it was never passed on)" in line for line in lines)


@pytest.mark.usefixtures("locks")
def test_a_lock_that_lets_two_in_is_a_bug_of_the_kernel(capsys: pytest.CaptureFixture[str]) -> None:
    """Both CPUs are named, and the class."""
    line, whose = refused(capsys, *LOOP, "--set", "kernel.lock=./locks.py:Open", code=3)
    assert "kernel.lock: Open is the lock" in whose
    assert line.startswith("lock lock_loop lets CPU ")
    assert "although CPU " in line


@pytest.mark.parametrize(
    ("named", "place", "mistake"),
    [
        ("locks.py:Raises", "locks.py:61", "failed while it ran: ValueError: two; "),
        ("locks.py:Late", "locks.py:76", "failed while it ran: RuntimeError: at run time; "),
        ("locks.py:Narrow", "", "Narrow cannot be made: TypeError: "),
        ("locks.py:NUMBER", "", "not a class but int; "),
        ("locks.py:NoLock", "", "not a lock: it has no acquire, release, section; "),
        ("locks.py:Half", "", "it does not say how to leave; "),
        ("locks.py:Goood", "", "./locks.py has no Goood; did you mean ./locks.py:Good?"),
        ("locks.py", "", "no class is named; write ./file.py:Class"),
        ("missing.py:Lock", "", "no such file; "),
        ("syntax.py:Lock", "syntax.py:1", "does not load: SyntaxError: "),
        ("raises.py:Lock", "raises.py:2", "does not load: KeyError: 'boo'; "),
        ("imports.py:Lock", "imports.py:1", "does not load: ModuleNotFoundError: "),
    ],
)
def test_a_file_with_no_usable_lock_is_bad_input(
    named: str, place: str, mistake: str, locks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Told with the line that is to blame, or else with the option."""
    (line,) = refused(capsys, *LOOP, "--set", f"kernel.lock=./{named}")
    assert line.startswith(
        str(locks.parent / place) if place else f"--set kernel.lock=./{named}: kernel.lock"
    )
    assert mistake in line


def test_a_study_that_names_a_file_needs_trust(locks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without it the file is not run; a path in a study is relative to the study."""
    folder = locks.parent / "below"
    folder.mkdir()
    (folder / "own.py").write_text(
        "from pathlib import Path\nPath('was run').touch()\nfrom coalsim.locks.mcs import McsLock as Own\n"
    )
    study = folder / "study.toml"
    study.write_text(
        '[kernel]\nlock = "./own.py:Own"\n[workload]\nkind = "lock_loop"\n[run]\nduration = "100us"\n'
    )
    (line,) = refused(capsys, "run", str(study))
    assert line.startswith(f"{study}:2: kernel.lock = ./own.py:Own: a lock by file or module runs code ")
    assert line.endswith("; read that code, then repeat the command with --trust")
    assert not Path("was run").exists()
    accepted(capsys, "run", str(study), "--trust", "--out", "result")
    assert Path("was run").exists()

    refused(capsys, "run", "result/config.json")
    again = accepted(capsys, "run", "result/config.json", "--trust", "--json")
    assert "host_s" in again


def test_a_lock_on_the_command_line_needs_no_trust(locks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And does what the class that it is made from does."""
    own = accepted(capsys, *LOOP, "--set", f"kernel.lock={locks}:Good")
    assert own == accepted(capsys, *LOOP, "--set", "kernel.lock=mcs")


PLACEMENTS = '''\
class Farthest:
    """The node farthest away comes first."""

    def __init__(self, by_distance, allowed):
        self.by_distance = by_distance

    def nodes(self, local, turn):
        return tuple(reversed(self.by_distance[local])), turn


class Nowhere(Farthest):
    """Names a node that no machine has."""

    def nodes(self, local, turn):
        return (99,), turn


class Single(Farthest):
    """Forgets the turn."""

    def nodes(self, local, turn):
        return self.by_distance[local]


class Raises(Farthest):
    """Fails when it is asked."""

    def nodes(self, local, turn):
        return self.by_distance[1 << 20], turn  # line 29


class Narrow(Farthest):
    """Cannot be made as a placement is."""

    def __init__(self):
        pass


class NoPlacement:
    """Something else."""
'''
PAGES = (
    "run",
    "page_bulk",
    "--machine",
    "clx2",
    "--set",
    "workload.cpus=2",
    "--set",
    "workload.frames_per_cpu=300",
)


@pytest.fixture
def placements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of those placements, in the folder that we are in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "placements.py").write_text(PLACEMENTS)
    return tmp_path / "placements.py"


@pytest.mark.usefixtures("placements")
def test_a_placement_of_ones_own_decides_where_pages_come_from(capsys: pytest.CaptureFixture[str]) -> None:
    """All pages come from the other node, where it wanted them."""
    own = json.loads(accepted(capsys, *PAGES, "--set", "kernel.placement=./placements.py:Farthest", "--json"))
    numa = [(row["numa_hit"], row["numa_local"], row["numa_miss"]) for row in own["memory"]["numa"]]
    assert numa[0] == (0, 0, 0)
    assert numa[1][0] >= 600
    assert numa[1][1:] == (0, 0)


@pytest.mark.parametrize(
    ("named", "place", "mistake"),
    [
        ("placements.py:Nowhere", "placements.py:14", "Nowhere answers ((99,), 0) to nodes(0, 0); "),
        ("placements.py:Single", "placements.py:21", "Single answers (0, 1) to nodes(0, 0); "),
        ("placements.py:Raises", "placements.py:29", "failed while it ran: IndexError: "),
        ("placements.py:Narrow", "placements.py:35", "Narrow cannot be made: TypeError: "),
        ("placements.py:NoPlacement", "", "not a placement policy: it has no nodes; "),
        ("missing.py:Placement", "", "no such file; "),
    ],
)
def test_a_file_with_no_usable_placement_is_bad_input(
    named: str, place: str, mistake: str, placements: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Told with the line that is to blame, or else with the option."""
    (line,) = refused(capsys, *PAGES, "--set", f"kernel.placement=./{named}")
    assert line.startswith(
        str(placements.parent / place) if place else f"--set kernel.placement=./{named}: kernel.placement"
    )
    assert mistake in line


def test_a_study_that_names_the_file_of_a_placement_needs_trust(
    placements: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its path is relative to the study, and whole in the configuration that is written."""
    folder = placements.parent / "below"
    folder.mkdir()
    (folder / "study.toml").write_text(
        '[kernel]\nplacement = "../placements.py:Farthest"\n'
        '[workload]\nkind = "page_bulk"\ncpus = 2\nframes_per_cpu = 300\n'
    )
    (line,) = refused(capsys, "run", "below/study.toml")
    assert line.startswith("below/study.toml:2: kernel.placement = ../placements.py:Farthest: ")
    accepted(capsys, "run", "below/study.toml", "--trust", "--out", "result")
    accepted(capsys, "run", "result/config.json", "--trust")


def test_an_unknown_placement_is_told_with_the_names(capsys: pytest.CaptureFixture[str]) -> None:
    """As for locks."""
    (line,) = refused(capsys, *PAGES, "--set", "kernel.placement=intreleave")
    assert line == (
        "--set kernel.placement=intreleave: kernel.placement = intreleave: no such placement policy; "
        "did you mean interleave? the names are local, bind, interleave, preferred; "
        "your own is ./file.py:Class"
    )


def test_a_workload_that_frees_twice_ends_with_the_culprit() -> None:
    """A load written against the Python interface, in a process of its own."""
    program = """
import sys
from coalsim.boot import System, SystemConfig
from coalsim.cli import main
from coalsim.locks.mcs import McsLock
from coalsim.observe.histogram import Histogram
from coalsim.profiles.profile import load_profile
from coalsim.topology.presets import load_machine
from simpy.events import Event
import click
from types import ModuleType

def twice(host):
    cpu = host.cpus[1]
    address = yield from host.memory.kmalloc(cpu, 100, "taker")
    yield from host.memory.kfree(cpu, address, "first")
    yield from host.memory.kfree(cpu, address, "second")

@click.command()
def where():
    system = System(SystemConfig(machine=load_machine("coal"), profile=load_profile(sys.argv[1]),
                                 lock=McsLock, recorder=Histogram))
    system.run_thread(1, "twice", twice(system))
    system.boot()
    system.run(system.finished)

module = ModuleType("coalsim.cli.where")
module.where = where
sys.modules["coalsim.cli.where"] = module
sys.exit(main.run(["where"]))
"""
    for profile in ("coal", "linux-6.18"):
        done = subprocess.run(
            [sys.executable, "-c", program, profile], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (3, ""), done.stderr
        assert done.stderr.startswith("error: 0x")
        assert "is free already" in done.stderr
        assert "freed at second on CPU 1" in done.stderr
