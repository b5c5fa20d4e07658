"""Progress on stderr while a run goes on: simulated time, events per second, time left.

A thread looks at the engine twice a second; the simulation does not know that it is
watched, so it cannot change what comes out.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event as Flag
from threading import Thread
from time import monotonic

import click

from coalsim.boot import System
from coalsim.cli.options import CommonOptions
from coalsim.units import Time, format_time

PERIOD_S = 0.5
Share = Callable[[System], float]
"""How much of a run is done, 0 to 1; 0 if nobody knows."""


class _Watcher:
    """What the watching thread looks at."""

    def __init__(self, style: str, replications: int, share: Share) -> None:
        self._style = style
        self._replications = replications
        self._share = share
        self._system: System | None = None
        self._number = 0
        self._began = monotonic()
        self._seen = (self._began, 0)
        self.stop = Flag()

    def begin(self, system: System, number: int) -> None:
        """A replication begins."""
        self._system, self._number = system, number
        self._seen = (monotonic(), 0)

    def loop(self) -> None:
        """Report until told to stop."""
        while not self.stop.wait(PERIOD_S):
            if self._system is not None:
                self._report(self._system)

    def _report(self, system: System) -> None:
        now, events = monotonic(), system.env.events
        then, before = self._seen
        self._seen = (now, events)
        rate = max(0, events - before) / max(now - then, 1e-9)
        done = (self._number + min(1.0, self._share(system))) / self._replications
        left = (now - self._began) * (1 - done) / done if done > 0 else None
        simulated = int(system.env.now)
        if self._style == "json":
            facts = {
                "run": self._number,
                "sim_time_ps": simulated,
                "events_per_s": round(rate),
                "left_s": left,
            }
            click.echo(json.dumps(facts), err=True)
            return
        text = f"run {self._number + 1}/{self._replications}  {format_time(simulated)} simulated"
        text += f"  {rate:,.0f} events/s" + (f"  {left:.0f} s left" if left is not None else "")
        click.echo(f"\r{text}\x1b[K" if self._style == "line" else text, err=True, nl=self._style != "line")

    def clear(self) -> None:
        """Leave no half line behind."""
        if self._style == "line":
            click.echo("\r\x1b[K", err=True, nl=False)


def style_of(common: CommonOptions) -> str:
    """How to report: a `line` that is written over, `plain` lines, `json` lines, or `none`."""
    if common.progress == "auto":
        return "none" if common.quiet or not sys.stderr.isatty() else "line"
    return common.progress


@contextmanager
def watching(
    common: CommonOptions, replications: int, until: Time, share: Share | None = None
) -> Iterator[Callable[[System, int], None]]:
    """Watch runs for as long as the block lasts; gives what to call when one begins.

    Args:
        common: says how to report.
        replications: how many runs there will be.
        until: simulated time of one run, 0 if unknown.
        share: how much of a run is done, where time does not say.
    """

    def by_time(system: System) -> float:
        return float(system.env.now) / until if until else 0.0

    style = style_of(common)
    watcher = _Watcher(style, replications, share or by_time)
    if style == "none":
        yield watcher.begin
        return
    thread = Thread(target=watcher.loop, daemon=True)
    thread.start()
    try:
        yield watcher.begin
    finally:
        watcher.stop.set()
        thread.join()
        watcher.clear()
