"""Progress of a sweep on stderr: runs, points, what each worker does and since when, time left."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from coalsim.cli.options import CommonOptions
from coalsim.cli.progress import style_of

if TYPE_CHECKING:
    from coalsim.sweep.points import Point
    from coalsim.sweep.pools import WorkerState
    from coalsim.sweep.progress import Snapshot

WORKERS_TOLD = 4
"""Workers that a line names; `json` tells all."""


@contextmanager
def telling(
    common: CommonOptions, points: "Sequence[Point]"
) -> "Iterator[Callable[[Snapshot], None] | None]":
    """What to call with each snapshot, for as long as the block lasts; None if nobody wants to know."""
    style = style_of(common)
    numbers = {point.key: point.number for point in reversed(points)}

    def tell(snapshot: "Snapshot") -> None:
        if style == "json":
            click.echo(json.dumps(_facts(snapshot, numbers)), err=True)
        else:
            text = progress_line(snapshot, numbers)
            click.echo(f"\r{text}\x1b[K" if style == "line" else text, err=True, nl=style != "line")

    yield None if style == "none" else tell
    if style == "line":
        click.echo("\r\x1b[K", err=True, nl=False)


def progress_line(snapshot: "Snapshot", numbers: dict[str, int]) -> str:
    """A snapshot in one line."""
    parts = [f"{snapshot.done}/{snapshot.total} runs", f"{snapshot.points_done}/{snapshot.points} points"]
    if snapshot.failed:
        parts.append(f"{snapshot.failed} failed")
    parts += [_worker(state, numbers) for state in snapshot.workers[:WORKERS_TOLD]]
    if (more := len(snapshot.workers) - WORKERS_TOLD) > 0:
        parts.append(f"{more} more")
    if snapshot.left is not None:
        parts.append(f"{duration(snapshot.left)} left")
    return "  ".join(parts)


def _worker(state: "WorkerState", numbers: dict[str, int]) -> str:
    if state.task is None:
        return f"[{state.name}] -"
    place = f"point {numbers[state.task.point]} run {state.task.replication + 1}"
    return f"[{state.name}] {place} {duration(state.since)}"


def duration(seconds: float) -> str:
    """Host time in one or two units.

    >>> duration(3.26), duration(75), duration(7300)
    ('3.3 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _facts(snapshot: "Snapshot", numbers: dict[str, int]) -> dict[str, object]:
    return {
        "done": snapshot.done,
        "total": snapshot.total,
        "failed": snapshot.failed,
        "points_done": snapshot.points_done,
        "points": snapshot.points,
        "left_s": snapshot.left,
        "workers": [
            {
                "worker": state.name,
                "point": None if state.task is None else numbers[state.task.point],
                "run": None if state.task is None else state.task.replication + 1,
                "since_s": round(state.since, 3),
            }
            for state in snapshot.workers
        ],
    }
