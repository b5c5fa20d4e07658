"""Small studies for the tests of reports, run in this process."""

import io
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

from coalsim.cli import main as command_line
from coalsim.sweep.coordinator import agenda_of, run_agenda
from coalsim.sweep.manifest import manifest_of
from coalsim.sweep.pools import Serial
from coalsim.sweep.results import PointResults, StudyResults
from coalsim.sweep.store import Store
from coalsim.sweep.sweep_spec import open_sweep

STUDY = """
machine = "ideal"
[study]
name = "small"
title = "Two locks"
question = "Which is better?"
expectation = "mcs holds out longer"
reading = "look at the right end"
[kernel]
hz = 0
[workload]
kind = "lock_loop"
cpus = 2
think = "exp:4us"
hold = "exp:1us"
[run]
warmup = "10us"
duration = "60us"
replications = 2
[[axis]]
key = "kernel.lock"
values = ["mcs", "ticket"]
label = "lock"
[[axis]]
key = "workload.cpus"
values = [1, 2, 4]
label = "CPUs"
[show]
metrics = ["throughput.ops_per_s", "latency_ns.mean", "locks.lock_loop.waittime_total"]
log = ["x"]
"""
HOSTILE = "</script><script>window.hacked=1</script>\"'><img src=x onerror=window.hacked=1>&amp;{{7*7}}"


def command(*arguments: str | Path) -> int:
    """Run a command line silently; its exit code."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        return command_line.run([str(argument) for argument in arguments])


def small_results(folder: Path) -> Path:
    """Do all runs of the study in this process; their folder."""
    out = folder / "out"
    out.mkdir()
    study = folder / "small.toml"
    study.write_text(STUDY)
    spec = open_sweep(str(study))
    manifest = manifest_of(spec)
    manifest.write(out)
    with Store(out) as store, Serial() as pool:
        store.set_points(manifest.points)
        run_agenda(agenda_of(spec, manifest, store.rows(), spec.points), store, pool)
    return out


def hostile(results: StudyResults) -> StudyResults:
    """The same results with markup wherever a study or a machine can put words."""
    lock, cpus = results.axes
    lock = replace(lock, label=HOSTILE, values=((HOSTILE,), *lock.values[1:]))

    def renamed(point: PointResults) -> PointResults:
        settings = tuple((key, HOSTILE if value == "mcs" else value) for key, value in point.point.settings)
        return replace(point, point=replace(point.point, settings=settings))

    return replace(
        results,
        name=HOSTILE,
        title=HOSTILE,
        question=HOSTILE,
        warnings=(HOSTILE,),
        versions={HOSTILE: HOSTILE},
        axes=(lock, cpus),
        points=tuple(map(renamed, results.points)),
        config={**results.config, "machine": {"name": HOSTILE}, "workload": {"kind": HOSTILE}},
    )


class Page(HTMLParser):
    """What a browser would make of a page: its elements with attributes, its text, its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, Mapping[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": [], "": []}
        self._tag = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._tag = tag
            self.inside[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._tag:
            self._tag = ""

    def handle_data(self, data: str) -> None:
        if self._tag:
            self.inside[self._tag][-1] += data
        else:
            self.inside[""].append(data)

    @property
    def text(self) -> str:
        """All that is shown."""
        return "".join(self.inside[""])
