"""Random programs on files under reclaim: no byte lost, no promise broken, no frame lost, all modes alike."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "virt"))

from random_file_tasks import RandomFiles
from vm_bench import MODES

from coalsim.mm.shootdown.registry import SHOOTDOWNS
from coalsim.mm.virt.fault_words import NO_AREA

KERNELS: tuple[tuple[str, dict[str, str]], ...] = (
    ("linux-6.18", {}),
    ("linux-6.18", {"flush_batch": "1"}),
    ("linux-6.18", {"file_faults_by_vma": "off"}),
    ("linux-3.5", {}),
    ("linux-6.0", {"table_replication": "lazy"}),
    ("linux-6.0", {"table_replication": "eager"}),
    ("coal", {"lru_lock": "on", "geometry": "x86-32"}),
)


def play(seed: int, profile: str, changes: dict[str, str], policy: str = "") -> dict[str, int]:
    """Two modes of the same program, compared; what was counted of files."""
    made = SHOOTDOWNS[policy] if policy else None
    if made is not None and made.replication:
        changes = {**changes, "table_replication": made.replication}
    first, plain = (RandomFiles(seed, profile, changes, mode, made) for mode in (MODES[4], MODES[seed % 2]))
    assert first.outcome() == plain.outcome()
    for process in first.bench.vm.processes:
        signals = [task.signal for task in process.tasks if task.signal]
        # A thread may unmap what the other one is about to touch; nobody else loses memory that he has.
        allowed = ("SIGBUS", NO_AREA) if len(process.tasks) > 1 else ("SIGBUS",)
        assert all(signal.startswith(allowed) for signal in signals)
    counts = first.bench.kernel.cache.counts
    return {name: getattr(counts, name) for name in counts.FIELDS}


@pytest.mark.fast_one_in(3)
@pytest.mark.parametrize(("profile", "changes"), KERNELS, ids=str)
def test_random_programs_keep_their_bytes_on_every_kernel(profile: str, changes: dict[str, str]) -> None:
    """Each byte that a task wrote is read again; everything that ended has given back what it had."""
    counts = play(1, profile, changes)
    assert counts["private_writes"]
    assert counts["shared_writes"]
    assert counts["pages_unmapped"]


@pytest.mark.fast_one_in(5)
@pytest.mark.parametrize("policy", sorted(SHOOTDOWNS))
def test_random_programs_keep_their_bytes_under_every_policy(policy: str) -> None:
    """Reclaim's own flushes go through the policy too, deferring ones included."""
    play(2, "linux-6.0", {}, policy)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 90))
def test_many_random_programs(seed: int) -> None:
    """All kernels in turn, a policy by name on every third."""
    profile, changes = KERNELS[seed % len(KERNELS)]
    names = sorted(SHOOTDOWNS)
    by_name = seed % 3 == 0 and "table_replication" not in changes
    play(seed, profile, changes, names[seed // 3 % len(names)] if by_name else "")
