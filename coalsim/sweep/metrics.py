"""Metrics by dotted path: ``throughput.ops_per_s``, ``latency_ns.p99``, ``locks.zone.waittime_total``.

A step is the key of an object, the number of an entry of a list, or the `name` of one.  Keys may
hold dots themselves; then the shortest key that leads on is taken.
"""

from collections.abc import Mapping, Sequence


def metric_value(document: Mapping[str, object], path: str) -> float | None:
    """The number under a path; None if there is none."""
    return _found(document, path.split("."))


def _found(value: object, steps: Sequence[str]) -> float | None:
    if not steps:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return float(value) if is_number else None  # type: ignore[arg-type]
    for taken in range(1, len(steps) + 1):
        inner = _step(value, ".".join(steps[:taken]))
        if inner is not None and (found := _found(inner, steps[taken:])) is not None:
            return found
    return None


def _step(value: object, key: str) -> object:
    """What is under one key; None if nothing is."""
    if isinstance(value, dict):
        return value.get(key)
    if isinstance(value, list):
        if key.isdecimal():
            return value[int(key)] if len(key) < 9 and int(key) < len(value) else None
        return next((item for item in value if isinstance(item, dict) and item.get("name") == key), None)
    return None
