"""The testcases of will-it-scale on files: what they count, and what that makes the kernel do."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from coalsim.errors import ConfigError
from coalsim.mm.cache.counts import FileCounts
from coalsim.mm.virt.counts import VmCounts
from coalsim.observe.summary import summary
from coalsim.study.loads import WORKLOADS

Runner = Callable[..., Any]

BOTH = pytest.mark.parametrize("mode", ["threads", "processes"])
ENGINES = (
    {"run_ahead": False, "fast_paths": False, "tick_events": True},  # the reference
    {"run_ahead": False},
    {"fast_paths": False},
    {"tick_events": True},
    {},
)
KINDS = ("page_fault2", "page_fault3", "mmap2", "tlb_flush1", "tlb_flush3")


def files(ran: Any) -> Any:
    """What was counted of files."""
    return ran.system.vm.kernel.cache.counts


def cached(ran: Any) -> int:
    """Pages of files in memory."""
    return len(ran.system.vm.kernel.cache.by_frame)


def test_each_maps_as_much_as_the_testcase_unless_told() -> None:
    """128 MiB of a file."""
    for kind in KINDS:
        assert WORKLOADS[kind].model_fields["mib"].default == 128


@BOTH
def test_page_fault2_copies_a_page_with_each_write(run_load: Runner, mode: str) -> None:
    """256 writes a MiB, each a private write fault; the files come into memory once."""
    ran = run_load("page_fault2", {"cpus": 3, "mode": mode, "mib": 1, "rounds": 2})
    assert ran.ops == files(ran).private_writes == 3 * 2 * 256
    assert files(ran).private_copies == files(ran).pages_around == 0
    assert cached(ran) == 3 * 256
    assert ran.calls("mmap") == ran.calls("munmap") == 6


@BOTH
def test_page_fault3_takes_no_frame_after_the_first_round(run_load: Runner, mode: str) -> None:
    """Each write maps the file's own page, which got dirty the first time."""
    ran = run_load("page_fault3", {"cpus": 3, "mode": mode, "mib": 1, "rounds": 4})
    assert ran.ops == files(ran).shared_writes == 3 * 4 * 256
    assert ran.anonymous == 0
    assert cached(ran) == 3 * 256
    (tree,) = (row for row in ran.document["locks"] if row["name"] == "xa_lock")
    assert tree["acquisitions"] == 2 * cached(ran)  # one insertion and one tag a page
    assert tree["contentions"] == 0


@BOTH
def test_mmap2_never_faults_but_links_each_area_into_its_file(run_load: Runner, mode: str) -> None:
    """An operation is a pair: twice the file's lock, and nobody waits for it."""
    ran = run_load("mmap2", {"cpus": 4, "mode": mode, "rounds": 10})
    assert ran.ops == ran.calls("mmap") == ran.calls("munmap") == 40
    assert ran.faults == cached(ran) == 0
    assert ran.flushes == 0
    rows = [row for row in ran.document["locks"] if row["name"] == "i_mmap_rwsem"]
    assert sum(row["acquisitions"] for row in rows) == 80
    assert sum(row["contentions"] for row in rows) == 0


@pytest.mark.fast_one_in(2)
@BOTH
def test_tlb_flush1_copies_with_a_flush_where_a_read_has_mapped_the_page(run_load: Runner, mode: str) -> None:
    """The read of the first page of 64 KiB maps the others, whose writes then copy with a flush."""
    first, both = (
        run_load("tlb_flush1", {"cpus": 2, "mode": mode, "mib": 1, "rounds": rounds}) for rounds in (1, 2)
    )
    pages = 2 * 256
    assert both.ops == both.calls("madvise") == 2 * pages
    assert files(both).private_writes + files(both).private_copies == 2 * pages
    alone = files(both).private_writes - files(first).private_writes  # with the file in memory
    assert pages // 16 <= alone <= pages // 16 + 2
    assert both.flushes >= 2 * pages + files(both).private_copies


@pytest.mark.fast_one_in(2)
@BOTH
def test_tlb_flush3_makes_mapped_pages_writable_without_a_flush(run_load: Runner, mode: str) -> None:
    """All but the first write in 64 KiB only gain the right; each madvise flushes."""
    first, both = (
        run_load("tlb_flush3", {"cpus": 2, "mode": mode, "mib": 1, "rounds": rounds}) for rounds in (1, 2)
    )
    pages = 2 * 256
    assert both.ops == both.calls("madvise") == 2 * pages
    assert files(both).shared_writes + files(both).made_writable == 2 * pages
    alone = files(both).shared_writes - files(first).shared_writes
    assert pages // 16 <= alone <= pages // 16 + 2
    assert both.anonymous == 0
    assert both.flushes >= 2 * pages


def check_modes(run_load: Runner, kind: str, mode: str, engines: Sequence[dict[str, bool]]) -> None:
    """The same load in each of these modes of the engine."""
    parameters = {"cpus": 3, "mode": mode, "mib": 1, "rounds": 3 if kind == "mmap2" else 1}
    plain = run_load(kind, parameters, mode=engines[0])
    for engine in engines[1:]:
        assert run_load(kind, parameters, mode=engine).text == plain.text, engine


@pytest.mark.fast_one_in(2)
@pytest.mark.parametrize("kind", KINDS)
@BOTH
def test_the_quick_mode_of_the_engine_agrees_with_the_reference(
    run_load: Runner, kind: str, mode: str
) -> None:
    """Every number of the result."""
    check_modes(run_load, kind, mode, (ENGINES[0], ENGINES[-1]))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@BOTH
def test_all_modes_of_the_engine_agree(run_load: Runner, kind: str, mode: str) -> None:
    """With each short cut by itself."""
    check_modes(run_load, kind, mode, ENGINES)


@pytest.mark.parametrize("kind", ["page_fault3", "tlb_flush1"])
def test_files_that_fit_in_no_memory_are_refused_unless_the_kernel_reclaims(
    run_load: Runner, kind: str
) -> None:
    """Where nothing is given back, the tasks would be killed and missed."""
    parameters = {"cpus": 2, "mib": 1 << 12, "rounds": 1}
    with pytest.raises(ConfigError, match="pages are more than machine"):
        run_load(kind, parameters)


@pytest.mark.slow
def test_page_fault3_goes_on_where_memory_is_reclaimed(run_load: Runner) -> None:
    """Two files of 10 MiB on two nodes of 8: pages go to the device and come back, nobody is killed."""
    ran = run_load(
        "page_fault3",
        {"cpus": 2, "mib": 10, "rounds": 1},
        machine_changes={"memory": "8MiB"},
        switches={"reclaim": "on"},
    )
    assert ran.ops == 2 * 10 * 256
    assert cached(ran) < 16 * 256
    assert ran.system.vm.kernel.cache.device.pages_written


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        pytest.param(kind, mode, marks=() if (number + place) % 2 else pytest.mark.slow)
        for number, mode in enumerate(("threads", "processes"))
        for place, kind in enumerate(("page_fault2", "page_fault3", "tlb_flush1", "tlb_flush3"))
    ],
)
def test_what_became_of_file_faults_is_told_and_adds_up(run_load: Runner, kind: str, mode: str) -> None:
    """Each fault of these testcases ends as one of the cases that the summary names."""
    ran = run_load(kind, {"cpus": 3, "mode": mode, "mib": 1, "rounds": 2})
    faults, counts = ran.document["vm"]["faults"], ran.document["vm"]["files"]
    done = sum(faults[name] for name in VmCounts.OUTCOMES) + sum(counts[name] for name in FileCounts.OUTCOMES)
    assert done == faults["faults"] > 3 * 256
    (line,) = (line for line in summary(ran.document).splitlines() if line.startswith("page faults: "))
    assert "file " in line
    assert "not over" not in line


def test_a_run_without_files_says_nothing_of_them(run_load: Runner) -> None:
    """Its document is what it was."""
    ran = run_load("page_fault1", {"cpus": 2, "mode": "threads", "mib": 1, "rounds": 1})
    assert "files" not in ran.document["vm"]
    assert "files:" not in summary(ran.document)
