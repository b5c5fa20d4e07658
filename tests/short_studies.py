"""Every named study, cut down to little time on the host."""

from types import MappingProxyType

_BRIEF = {"run.warmup": "10us", "run.duration": "60us"}
_ROUNDS = {"run.warmup": "0", "run.duration": "0", "workload.rounds": "2", "workload.cpus": "4"}
_MAPBENCH = {"run.warmup": "0", "run.duration": "60us", "workload.cpus": "4"}

SHORT = MappingProxyType(
    {
        "atomic_bursts": {
            "workload.rounds": "2",
            "machine.memory": "8MiB",
            "workload.begin": "3ms",
            "workload.fill": "2",
        },
        "brk1": _ROUNDS,
        "cheaper_ipi": _ROUNDS,
        "context_switch1": _ROUNDS,
        "fault_locks": {"workload.mib": "1", "workload.cpus": "4"},
        "flush_ceiling": {**_ROUNDS, "workload.cpus": "1"},
        "flush_range": {**_ROUNDS, "workload.cpus": "1"},
        "fork_cow": {**_ROUNDS, "workload.rounds": "1", "workload.pages": "32"},
        "fragmentation_ageing": {"run.duration": "20s"},
        "gc_mprotect": _ROUNDS,
        "guest_flush": {"run.warmup": "0", "run.duration": "400us", "workload.cpus": "4"},
        "kmalloc_burst": _BRIEF,
        "kmalloc_pairs": _BRIEF,
        "kmalloc_remote_free": _BRIEF,
        "leaking_driver": {"run.duration": "3ms", "kernel.kmemleak_scan": "500us", "workload.leak": "100"},
        "line_contention": {"run.warmup": "10us", "run.duration": "100us"},
        "lock_loop": {"run.warmup": "100us", "run.duration": "1ms"},
        "locks_by_cpus": {
            "kernel.lock": "mcs",
            "workload.cpus": "16",
            "run.replications": "1",
            "run.warmup": "10us",
            "run.duration": "100us",
        },
        "madvise_shootdown": _ROUNDS,
        "malloc1": _ROUNDS,
        "memory_errors": {"workload.rounds": "40", "workload.errors": "0"},
        "mmap1": _ROUNDS,
        "mmap2": _ROUNDS,
        "mmap_touch_munmap": _ROUNDS,
        "munmap_shared": _ROUNDS,
        "next_bottleneck": _MAPBENCH,
        "noisy_neighbour": {
            "run.warmup": "0",
            "run.duration": "2ms",
            "machine.memory": "8MiB",
            "workload.mib": "12",
        },
        "oom_storm": {
            "machine.memory": "2MiB",
            "workload.cpus": "8",
            "workload.processes": "6",
            "workload.mib": "6",
        },
        "page_bulk": {"workload.frames_per_cpu": "300"},
        "page_fault1": {**_ROUNDS, "workload.rounds": "1", "workload.mib": "1"},
        "page_fault2": {**_ROUNDS, "workload.mib": "1"},
        "page_fault3": {**_ROUNDS, "workload.mib": "1"},
        "page_random": {"workload.frames_per_cpu": "300"},
        "page_repeat": _BRIEF,
        "page_table_placement": {
            "run.warmup": "0",
            "run.duration": "0",
            "workload.working_set": "1MiB",
            "workload.rounds": "2",
        },
        "pft": {"workload.mib": "1", "workload.cpus": "4"},
        "policies_by_cpus": {
            "kernel.shootdown": "linux",
            "kernel.table_replication": "none",
            **_ROUNDS,
        },
        "radixvm_global": _MAPBENCH,
        "radixvm_local": _MAPBENCH,
        "radixvm_pipeline": _MAPBENCH,
        "shootdown_cost": _ROUNDS,
        "table_distance": {
            "run.warmup": "0",
            "run.duration": "0",
            "workload.working_set": "1MiB",
            "workload.rounds": "2",
        },
        "tlb_flush1": {**_ROUNDS, "workload.rounds": "1", "workload.mib": "1", "workload.cpus": "2"},
        "tlb_flush3": {**_ROUNDS, "workload.rounds": "1", "workload.mib": "1", "workload.cpus": "2"},
        "tlb_flush2": {"run.warmup": "0", "run.duration": "60us", "workload.cpus": "4"},
        "reclaim_flushes": {
            **_ROUNDS,
            "workload.rounds": "1",
            "workload.cpus": "2",
            "machine.memory": "2MiB",
            "workload.mib": "5",
        },
    }
)
"""Study, and the settings that make it short."""
