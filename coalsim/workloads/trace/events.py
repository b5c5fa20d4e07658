"""Names of trace events: one name for an event, whichever tool printed it.

perf prints `kmem:kfree`, ftrace prints `kfree`; coalsim reports `kmem:kfree`.  The entry and the
exit of a system call count under one name, `syscalls:sys_mmap`, because ftrace prints both as
`sys_mmap`.  An event that ftrace names and the table below does not keeps its bare name.

Invariant: a trace's tally holds at most `MAX_NAMES` names; what comes later counts as `OTHER`.
Source: the TRACE_SYSTEM of each file under include/trace/events in the Linux kernel.
"""

import re

from coalsim.workloads.trace.records import Kind

MAX_NAMES = 1_000
OTHER = "(other)"

KINDS: dict[str, Kind] = {
    "kmem:kmalloc": Kind.KMALLOC,
    "kmem:kmalloc_node": Kind.KMALLOC,  # up to 6.0
    "kmem:kmem_cache_alloc": Kind.CACHE_ALLOC,
    "kmem:kmem_cache_alloc_node": Kind.CACHE_ALLOC,  # up to 6.0
    "kmem:kfree": Kind.KFREE,
    "kmem:kmem_cache_free": Kind.CACHE_FREE,
    "kmem:mm_page_alloc": Kind.PAGE_ALLOC,
    "kmem:mm_page_free": Kind.PAGE_FREE,
    "kmem:mm_page_free_batched": Kind.PAGE_FREE_BATCHED,
    "kmem:mm_page_alloc_zone_locked": Kind.ZONE_LOCKED,
    "kmem:mm_page_pcpu_drain": Kind.PCPU_DRAIN,
}
"""The events that become records."""

_GROUPS = {
    "kmem": "kmalloc kmalloc_node kmem_cache_alloc kmem_cache_alloc_node kfree kmem_cache_free"
    " mm_page_alloc mm_page_free mm_page_free_batched mm_page_alloc_zone_locked mm_page_pcpu_drain"
    " mm_page_alloc_extfrag rss_stat mm_alloc_contig_migrate_range_info mm_setup_per_zone_wmarks"
    " mm_setup_per_zone_lowmem_reserve mm_calculate_totalreserve_pages",
    "tlb": "tlb_flush",
    "exceptions": "page_fault_user page_fault_kernel",
    "lock": "contention_begin contention_end",
    "mmap_lock": "mmap_lock_start_locking mmap_lock_acquire_returned mmap_lock_released",
    "ipi": "ipi_send_cpu ipi_send_cpumask ipi_raise ipi_entry ipi_exit",
    "irq_vectors": "call_function_entry call_function_exit call_function_single_entry"
    " call_function_single_exit reschedule_entry reschedule_exit local_timer_entry local_timer_exit",
    "sched": "sched_switch sched_wakeup sched_wakeup_new sched_waking sched_migrate_task"
    " sched_process_fork sched_process_exec sched_process_exit sched_process_free",
    "oom": "oom_score_adj_update reclaim_retry_zone mark_victim wake_reaper start_task_reaping"
    " finish_task_reaping skip_task_reaping compact_retry",
    "vmscan": "mm_vmscan_kswapd_sleep mm_vmscan_kswapd_wake mm_vmscan_wakeup_kswapd"
    " mm_vmscan_direct_reclaim_begin mm_vmscan_direct_reclaim_end mm_vmscan_lru_isolate"
    " mm_vmscan_lru_shrink_inactive mm_vmscan_lru_shrink_active mm_vmscan_node_reclaim_begin"
    " mm_vmscan_node_reclaim_end mm_shrink_slab_start mm_shrink_slab_end",
    "compaction": "mm_compaction_begin mm_compaction_end mm_compaction_migratepages"
    " mm_compaction_isolate_migratepages mm_compaction_isolate_freepages"
    " mm_compaction_try_to_compact_pages mm_compaction_finished mm_compaction_suitable"
    " mm_compaction_kcompactd_sleep mm_compaction_kcompactd_wake",
    "migrate": "mm_migrate_pages mm_migrate_pages_start set_migration_pte remove_migration_pte",
    "huge_memory": "mm_khugepaged_scan_pmd mm_collapse_huge_page mm_collapse_huge_page_isolate"
    " mm_collapse_huge_page_swapin",
}
_FULL_NAMES = {name: f"{group}:{name}" for group, names in _GROUPS.items() for name in names.split()}
_KNOWN = frozenset(_FULL_NAMES.values())
_SYSCALL_EDGE = re.compile(r"sys_(?:enter|exit)_(?=\w)")


def perf_name(printed: str) -> str:
    """The reported name of an event that perf printed with its group."""
    if printed.startswith("syscalls:"):
        return "syscalls:" + _SYSCALL_EDGE.sub("sys_", printed.removeprefix("syscalls:"), count=1)
    return printed


def ftrace_name(printed: str) -> str:
    """The reported name of an event that ftrace or trace-cmd printed without its group."""
    if printed.startswith("sys_") and printed not in ("sys_enter", "sys_exit"):
        return "syscalls:" + _SYSCALL_EDGE.sub("sys_", printed, count=1)
    return _FULL_NAMES.get(printed, printed)


def is_known(name: str) -> bool:
    """Whether a reported name belongs to the kernel's memory manager or the things around it."""
    return name in _KNOWN or name.startswith("syscalls:sys_")
