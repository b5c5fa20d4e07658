"""Paths of metrics, as far as they are known before a run."""

import pytest

from coalsim.sweep.metric_paths import metric_fault


@pytest.mark.parametrize(
    "path",
    [
        "throughput.ops_per_s",
        "latency_ns.p99",
        "phases.alloc.latency_ns.mean",
        "phases.free.thread_mean_ns",
        "locks.zone.waittime_total",
        "locks.0.contentions",
        "locks.kmalloc-64.barn.contentions",
        "time.0.spin",
        "pft.faults_per_s",
        "operations.munmap.latency_ns.mean",
        "sim_time_ps",
        "shootdown_ns.p50",
    ],
)
def test_a_path_that_a_run_can_have_is_let_through(path: str) -> None:
    """Also those whose names show only in the run."""
    assert metric_fault(path) is None


@pytest.mark.parametrize(
    ("path", "remedy"),
    [
        ("throughput.ops_per_sec", "did you mean throughput.ops_per_s?"),
        ("throughput", "throughput.ops_per_s"),
        ("troughput.ops_per_s", "did you mean throughput?"),
        ("latency_ns.p98", "did you mean latency_ns.p99?"),
        ("latency_ns.p99.x", "write latency_ns.p99"),
        ("locks.zone.wait_totl", "did you mean"),
        ("locks.zone", "locks.zone.contentions"),
        ("locks", "name one: locks.NAME"),
        ("panic", "name a number"),
        ("config.run.seed", "use one of"),
        ("seed", "use one of"),
        ("a..b", "write it like"),
        ("", "write it like"),
    ],
)
def test_a_path_that_no_run_can_have_is_refused(path: str, remedy: str) -> None:
    """With the nearest one that leads somewhere."""
    fault = metric_fault(path)
    assert fault is not None
    assert remedy in fault.remedy
