"""Host memory: a space forgets translations that nobody can use any more, and nothing else changes."""

import pytest
from vm_bench import VmBench

from coalsim.engine.clock import Op
from coalsim.mm.paging import context
from coalsim.mm.shootdown.registry import SHOOTDOWNS
from coalsim.mm.virt.task import Task
from coalsim.study.conformance import run_trial
from coalsim.units import PAGE_SIZE

FIXED = 0x4000_0000


def test_a_large_area_does_not_keep_what_no_tlb_holds() -> None:
    """Four times as many pages as the TLB has entries, and few more translations than it has, too."""
    known: list[int] = []

    def body(task: Task) -> Op[None]:
        pages = 12_000
        yield from task.mmap(pages * PAGE_SIZE, address=FIXED)
        for page in range(pages):
            yield from task.touch(FIXED + page * PAGE_SIZE)
            known.append(len(task.process.space.context.translations))

    VmBench("linux-6.18", {"hz": "0"}).run(body)
    assert max(known) <= context.FORGET_AT
    assert min(known[context.FORGET_AT :]) < 2200


@pytest.mark.fast_one_in(2)
@pytest.mark.parametrize("name", ["linux", "latr", "abis", "radixvm"])
def test_forgetting_changes_no_result(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random programs that forget all the time, and never: the same flushes, uses and findings."""
    policy = SHOOTDOWNS[name]
    trials = []
    for least in (4, 1 << 60):
        monkeypatch.setattr(context, "FORGET_AT", least)
        trials.append(run_trial(policy, 5, "new", 2, "linux-6.18"))
    assert trials[0] == trials[1]
    assert trials[0].stale or name != "latr"
