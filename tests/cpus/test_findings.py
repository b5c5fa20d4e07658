"""What the oracle says of a use does not depend on when it is judged."""

import pytest

from coalsim.cpus.oracle import Oracle
from coalsim.cpus.translation import Moment, Translation
from coalsim.units import CpuId, Pfn, Vpn

CPU = CpuId(1)


@pytest.mark.parametrize("judged_late", [False, True])
def test_a_stale_use_was_waiting_for_its_flush(judged_late: bool) -> None:
    """A promise that came after it does not change that."""
    oracle = Oracle(2)
    translation = Translation(1, Vpn(7), Pfn(3), writable=True)
    oracle.died(translation, Moment(100, CpuId(0), "munmap"), "flush of generation 5", lost_frame=True)
    oracle.unchecked[CPU].append((150, translation, True, "hit"))
    if not judged_late:
        oracle.judge(CPU)
    oracle.promise([translation], Moment(200, CpuId(0), "munmap"))
    oracle.given_out(Pfn(3), Moment(300, CpuId(0), "fault"))
    oracle.judge(CPU)
    (finding,) = oracle.findings()
    assert finding.kind == "stale"
    assert finding.promised is None
    assert finding.reused is None
    assert finding.describe().endswith("pending: flush of generation 5")


def test_a_use_after_the_promise_had_no_flush_pending() -> None:
    """The report names promise and new owner, each only if it came before the use."""
    oracle = Oracle(2)
    translation = Translation(1, Vpn(7), Pfn(3), writable=True)
    oracle.died(translation, Moment(100, CpuId(0), "munmap"), "flush of generation 5", lost_frame=True)
    oracle.promise([translation], Moment(200, CpuId(0), "munmap"))
    oracle.given_out(Pfn(3), Moment(300, CpuId(0), "fault"))
    for time in (250, 350):
        oracle.unchecked[CPU].append((time, translation, True, "hit"))
    oracle.judge(CPU)
    promise, reuse = sorted(oracle.findings(), key=lambda finding: finding.time)
    assert (promise.kind, reuse.kind) == ("promise", "reuse")
    assert promise.reused is None
    assert promise.describe().endswith("no flush was pending")
    assert reuse.reused is not None
