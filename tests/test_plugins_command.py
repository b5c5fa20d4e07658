"""`coalsim plugins`, and what becomes of foreign classes that a study names."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from coalsim.cli import main as command_line

BRIEF = ("--set", "run.warmup=0", "--set", "run.duration=20us", "--json")
STORM = tuple(
    f"--set={setting}"
    for setting in (
        "machine.name=pack:1 numa:1 core:2 pu:1",
        "machine.memory=4MiB",
        "workload.cpus=2",
        "workload.processes=3",
        "workload.unkillable=0",
        "workload.mib=4",
    )
)
BROKEN = '''"""Broken in many ways."""
from simpy import Event
from coalsim.locks.base import SpinLock
from coalsim.locks.ticket import TicketLock
from coalsim.mm.phys.allocator import FrameAllocator
from coalsim.mm.phys.placement import Local
from coalsim.mm.reclaim.victim_rules import VictimRule
from coalsim.mm.shootdown.linux import LinuxShootdown
from coalsim.study.own_loads import Load


class Fair(TicketLock):
    """Works.\\x1b[31m"""


class Open(SpinLock):
    def enter(self, cpu, ticket):
        yield from self.swap(cpu, ticket)

    def leave(self, cpu):
        yield from ()


class Deaf(TicketLock):
    def leave(self, cpu):
        self._queue.popleft()
        yield from ()


class Raises(TicketLock):
    def leave(self, cpu):
        raise ValueError("no way out")
        yield


class Same(FrameAllocator):
    def take(self, order):
        return self.first, 1

    def give(self, head, order):
        return 1


class Text(FrameAllocator):
    def take(self, order):
        return "frame"

    def give(self, head, order):
        return 1


class Nowhere(Local):
    def nodes(self, local, turn):
        return (), turn


class Stranger(VictimRule):
    def choose(self, candidates, total, nodes):
        return 1000


class Yields(Load):
    def thread(self, host, cpu, shared):
        yield 5


class NoGenerator(Load):
    def thread(self, host, cpu, shared):
        return 5


class Endless(LinuxShootdown):
    def flush(self, cpu, request):
        yield from cpu.wait_for(Event(cpu.env), "ipi")


class Other:
    pass
'''


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    """A file of classes, forgotten afterwards."""
    before = dict(sys.modules)
    path = tmp_path / "broken.py"
    path.write_text(BROKEN, encoding="utf-8")
    yield path
    for name in [name for name in sys.modules if name not in before and name.startswith("coalsim_")]:
        del sys.modules[name]


def line_of(text: str) -> int:
    """Where a text stands in the file."""
    return BROKEN.split(text)[0].count("\n") + 1


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int) -> str:
    """What a command writes on stderr that ends with a code."""
    assert command_line.run(arguments) == code
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    return printed.err


@pytest.mark.parametrize(
    ("study", "key", "name", "line", "says"),
    [
        ("lock_loop", "kernel.lock", "Raises", 'raise ValueError("no', "ValueError: no way out"),
        (
            "page_repeat",
            "kernel.allocator",
            "Same",
            "    def take(self, order):\n        return self",
            "already",
        ),
        (
            "page_repeat",
            "kernel.allocator",
            "Text",
            '    def take(self, order):\n        return "f',
            "'frame'",
        ),
        ("page_repeat", "kernel.placement", "Nowhere", "    def nodes", "Nowhere answers ((), 0)"),
        ("oom_storm", "kernel.victim", "Stranger", "    def choose", "no such process"),
        (
            "kmalloc_pairs",
            "workload.kind",
            "Yields",
            "    def thread(self, host, cpu, shared):\n        yi",
            "yields 5",
        ),
        (
            "kmalloc_pairs",
            "workload.kind",
            "NoGenerator",
            "    def thread(self, host, cpu, shared):\n        re",
            "no generator",
        ),
    ],
)
def test_a_class_that_answers_nonsense_is_named(
    file: Path, capsys: pytest.CaptureFixture[str], study: str, key: str, name: str, line: str, says: str
) -> None:
    """File, line of the method, key and class are in the message; exit code 2."""
    small = {
        "oom_storm": STORM,
        "page_repeat": ("--set", "workload.cpus=2", *BRIEF),
        "lock_loop": BRIEF,
    }
    if study == "kmalloc_pairs":
        path = file.parent / "own.toml"
        path.write_text('[workload]\nkind = "./broken.py:' + name + '"\n[run]\nduration = "20us"\n', "utf-8")
        errors = said(capsys, "run", str(path), "--trust", code=2)
    else:
        errors = said(capsys, "run", study, *small[study], "--set", f"{key}={file}:{name}", code=2)
    assert errors.startswith(f"error: {file}:{line_of(line)}: {key}: ")
    assert says in errors


@pytest.mark.parametrize("name", ["Open", "Deaf"])
def test_a_broken_lock_is_named_in_the_kernels_report(
    file: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """It lets two in, or nobody: the kernel broke, and the report says whose lock it was."""
    errors = said(capsys, "run", "lock_loop", *BRIEF, "--set", f"kernel.lock={file}:{name}", code=3)
    assert f"{file}:{line_of(f'class {name}')}: kernel.lock: {name} is the lock" in errors


def test_a_shootdown_policy_that_never_comes_back_is_named_in_the_kernels_report(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing can happen any more, and the report says whose class took part and how to try it."""
    policy = f"{file}:Endless"
    asked = ("run", "munmap_shared", *BRIEF, "--set", "workload.cpus=4")
    errors = said(capsys, *asked, "--set", f"kernel.shootdown={policy}", code=3)
    place = f"{file}:{line_of('class Endless')}"
    assert f"{place}: kernel.shootdown: Endless is the shootdown policy" in errors
    assert f"`coalsim plugins check {policy}`" in errors


def test_a_study_file_alone_loads_no_class(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Allocator, victim rule and load need --trust, as locks do; all three are told at once, with lines."""
    study = file.parent / "study.toml"
    file.write_text("raise SystemExit('ran')", encoding="utf-8")
    study.write_text(
        '[kernel]\nallocator = "./broken.py:Same"\nvictim = "./broken.py:Stranger"\n'
        '[workload]\nkind = "./broken.py:Yields"\n',
        encoding="utf-8",
    )
    errors = said(capsys, "run", str(study), code=2).splitlines()
    keys = ("2: kernel.allocator", "3: kernel.victim", "5: workload.kind")
    assert len(errors) == len(keys)
    for key in keys:
        assert any(f"study.toml:{key} = ./broken.py" in error and "--trust" in error for error in errors)


def test_the_list_names_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    """With package and purpose; --kind and --json narrow and change it."""
    assert command_line.run(["plugins", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["kind", "name", "package", "source", "purpose"]
    found = {tuple(line.split()[:3]) for line in lines[1:]}
    for kind, name in (
        ("lock", "mcs"),
        ("allocator", "bitmap"),
        ("placement", "bind"),
        ("shootdown", "latr"),
        ("victim", "badness"),
        ("load", "larson"),
    ):
        assert (kind, name, "coalsim") in found
    assert command_line.run(["plugins", "list", "--kind", "victim", "--json"]) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)] == ["badness"]


def test_what_a_package_brings_is_listed_with_its_version_and_cleaned(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package whose class does not load does not take the list down; no escape reaches the terminal."""
    file.rename(file.parent / "coalsim_listed_plugin.py")
    info = file.parent / "listed-2.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: listed\nVersion: 2.5\n", "utf-8")
    entries = "[coalsim.locks]\nfair = coalsim_listed_plugin:Fair\nlost = coalsim_listed_plugin:Lost\n"
    (info / "entry_points.txt").write_text(entries, "utf-8")
    monkeypatch.syspath_prepend(file.parent)
    assert command_line.run(["plugins", "list", "--kind", "lock"]) == 0
    printed = capsys.readouterr().out
    fair, lost = (
        next(line for line in printed.splitlines() if f" {name} " in line) for name in ("fair", "lost")
    )
    assert "listed 2.5" in fair
    assert fair.endswith("Works.")
    assert "\x1b" not in printed
    assert "does not load" in lost


def test_a_check_prints_a_verdict_for_each_promise(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0 for a class that keeps them, 3 for one that does not, 2 for one that is nothing."""
    assert command_line.run(["plugins", "check", f"{file}:Fair"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"lock Fair ({file}:")
    assert text.count("kept") == 7
    assert command_line.run(["plugins", "check", f"{file}:Same", "--json"]) == 3
    document = json.loads(capsys.readouterr().out)
    assert (document["kind"], document["name"], document["passed"]) == ("allocator", "Same", False)
    assert "say --kind" in said(capsys, "plugins", "check", f"{file}:Other", code=2)
    assert "not a lock" in said(capsys, "plugins", "check", f"{file}:Other", "--kind", "lock", code=2)
    assert "no such class" in said(capsys, "plugins", "check", "nothing", code=2)


def test_the_bitmap_by_its_name_is_the_bitmap_of_the_switch(capsys: pytest.CaptureFixture[str]) -> None:
    """`kernel.allocator` names coalsim's own with their own prices; without it nothing of it is written."""
    results = []
    for setting in ("kernel.allocator=bitmap", "kernel.frames=bitmap"):
        assert (
            command_line.run(
                ["run", "page_random", "--set", "workload.frames_per_cpu=50", "--set", setting, "--json"]
            )
            == 0
        )
        result = json.loads(capsys.readouterr().out)
        results.append({key: result[key] for key in ("sim_time_ps", "locks", "time")})
        config = result["config"]["kernel"]
        assert ("allocator" in config, "victim" in config) == (setting.startswith("kernel.a"), False)
    assert results[0] == results[1]
