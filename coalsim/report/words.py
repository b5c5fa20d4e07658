"""What the dotted paths of a result document are called, and their units.

The rule is that of the document: names end in their unit, and times without one are nanoseconds.

Invariant: a path has one unit, or none where it counts something.
"""

from collections.abc import Mapping
from types import MappingProxyType

PER_SECOND = "1/s"
_NANOSECONDS = ("wait_", "waittime_", "holdtime_")
_UNITS: Mapping[str, str] = MappingProxyType(
    {"_per_s": PER_SECOND, "_ns": "ns", "_ps": "ps", "_us": "us", "_bytes": "B", "_kib": "KiB", "_s": "s"}
)
_LABELS: Mapping[str, str] = MappingProxyType(
    {
        "throughput.ops_per_s": "Throughput",
        "throughput.ops": "Operations",
        "latency_ns": "Latency",
        "pooled_latency_ns": "Latency of all runs together",
        "shootdown_ns": "Shootdown",
        "locks": "Lock",
        "phases": "Phase",
        "operations": "Operation",
        "waittime_total": "time waited in all",
        "waittime_avg": "mean wait",
        "waittime_max": "longest wait",
        "holdtime_total": "time held in all",
        "holdtime_avg": "mean hold",
        "holdtime_max": "longest hold",
        "sim_time_ps": "Simulated time",
        "events": "Events of the engine",
    }
)
_COUNTS = ("count", "bounces", "contentions", "acquisitions", "contended", "ops")


def unit_of(path: str) -> str:
    """The unit of the number under a path: "ns", "1/s", "B", ...; empty for counts and unknown ones.

    >>> unit_of("throughput.ops_per_s"), unit_of("latency_ns.p99"), unit_of("latency_ns.count")
    ('1/s', 'ns', '')
    """
    *above, last = path.split(".")
    if last in _COUNTS or last.endswith(_COUNTS):
        return ""
    if path.startswith("time."):
        return "ps"
    if last.startswith(_NANOSECONDS) or (last == "stolen" and "locks" in above):
        return "ns"
    for name in (last, *reversed(above)):
        for ending, unit in _UNITS.items():
            if name.endswith(ending):
                return unit
    return "B" if last == "bytes" else ""


def label_of(path: str) -> str:
    """What a figure of the number under a path is called.

    >>> label_of("latency_ns.p99"), label_of("locks.zone.waittime_avg")
    ('Latency, p99', 'Lock zone, mean wait')
    """
    if path in _LABELS:
        return _LABELS[path]
    first, *steps = path.split(".")
    if first not in _LABELS or not steps:
        return path
    if len(steps) == 1:
        return f"{_LABELS[first]}, {steps[0]}"
    *middle, last = steps
    return f"{_LABELS[first]} {'.'.join(middle)}, {_LABELS.get(last, last)}"
