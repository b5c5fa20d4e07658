"""A timeline tells exactly what the result document counts, and changes nothing."""

import pytest
from recordings import LOOP, OOM, SMALL, plan_of, recorded, unrecorded

from coalsim.study.run import run_study
from coalsim.study.timeline import Recorded
from coalsim.units import NS

POLICIES = ["serial", "broadcast", "linux", "early_ack", "latr", "radixvm", "tlbi", "rar"]
RUNS = [
    ("lock_loop", {**LOOP, "kernel__lock": "qspinlock"}),
    ("lock_loop", {**LOOP, "kernel__lock": "mutex"}),
    ("lock_loop", {**LOOP, "kernel__lock": "seqlock"}),
    ("kmalloc_burst", {}),
    ("page_fault1", {"machine": SMALL, "workload__cpus": "2"}),
    pytest.param(("oom_storm", OOM), marks=pytest.mark.slow),
    pytest.param(("guest_flush", {}), marks=pytest.mark.slow),
    ("replay", {"machine": SMALL}),
    *(("munmap_shared", {"kernel__shootdown": policy, "machine": SMALL}) for policy in POLICIES),
]


def names(run: tuple[str, dict[str, str]]) -> str:
    return "-".join((run[0], *(text for text in run[1].values() if text.isidentifier())))


def counted(run: Recorded) -> dict[str, dict[str, int]]:
    """Time by CPU and cause: that of the slices, and what the table counts elsewhere."""
    table = {}
    for cpu in run.timeline.cpus:
        spent = run.timeline.time_by_cause(cpu)
        for cause, time in run.timeline.counted_otherwise().get(str(cpu), {}).items():
            spent[cause] = spent.get(cause, 0) + time
        table[str(cpu)] = {cause: spent[cause] for cause in sorted(spent) if spent[cause]}
    return table


@pytest.mark.parametrize("run", RUNS, ids=names)
def test_slices_and_waits_add_up_to_the_tables(run: tuple[str, dict[str, str]]) -> None:
    """To the picosecond: each CPU's time by cause, and what was waited for each row of the lock table."""
    study, changed = run
    found = recorded(study, **changed)
    locks = {
        (row["name"], row["type"]): round(row["waittime_total"] * NS)
        for row in found.result["locks"]
        if row["contentions"]
    }

    assert counted(found) == found.result["time"]
    assert found.timeline.waits_by_lock() == locks


def test_only_a_divided_wait_at_the_begin_is_counted_otherwise() -> None:
    """It happens, where counting begins in a hand-over, and only moves time between parts of one wait."""
    moved = recorded("kmalloc_burst").timeline.counted_otherwise()

    assert moved
    for causes in moved.values():
        assert sum(causes.values()) == 0
        assert len({cause.rpartition(":")[0] for cause in causes}) == 1
    assert not recorded("page_fault1", machine=SMALL, workload__cpus="2").timeline.counted_otherwise()


@pytest.mark.parametrize(
    "run", [("lock_loop", LOOP), pytest.param(("oom_storm", OOM), marks=pytest.mark.slow)], ids=names
)
def test_recording_changes_nothing(run: tuple[str, dict[str, str]]) -> None:
    """The document is that of the same run with nobody listening, and, but for events, of the fast mode."""
    study, changed = run
    found, plain = recorded(study, **changed).result, unrecorded(study, **changed)
    fast = run_study(plan_of(study, **changed))

    for key in ("host_s", "events"):
        assert key in plain
    assert {**found, "host_s": 0} == {**plain, "host_s": 0}
    assert {**found, "host_s": 0, "events": 0} == {**fast, "host_s": 0, "events": 0}


@pytest.mark.parametrize("run", RUNS, ids=names)
def test_stretches_of_a_cpu_follow_each_other(run: tuple[str, dict[str, str]]) -> None:
    """From the begin to the end, without gap or overlap."""
    found = recorded(run[0], **run[1]).timeline
    for cpu in found.cpus:
        at = found.begin
        for leaf in found.leaves(cpu):
            assert leaf.begin == at
            assert leaf.end > leaf.begin
            at = leaf.end
        assert at == found.end
