"""`coalsim replay`: a recorded kernel trace on a machine and kernel of choice."""

from typing import TYPE_CHECKING

import click

from coalsim.cli.options import CommonOptions, common_options

if TYPE_CHECKING:
    from coalsim.study.document import Document
    from coalsim.study.overrides import Setting
    from coalsim.study.spec import StudySpec

DEFAULT_PROFILE = "linux-6.18"

EXAMPLES = """\b
Examples:
  coalsim replay trace.perf.txt.gz
  coalsim replay trace.perf.txt.gz --machine icx2 --clone 32 --mode closed --out result
  coalsim replay trace.txt --layer pages --set kernel.profile=linux-6.0 --set kernel.lock=ticket
  coalsim replay trace.txt --snapshots snapshots.txt --machine "pack:1 numa:1 core:2 pu:1" --json

\b
Record one with
  perf record -a -k CLOCK_MONOTONIC -e 'kmem:*' -- COMMAND; perf script --ns > trace.txt
"""


@click.command("replay", epilog=EXAMPLES)
@click.argument("trace")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["auto", "perf", "ftrace", "trace-cmd"]),
    help="What kind of text the trace is; auto (the default) looks at its lines.",
)
@click.option(
    "--mode",
    type=click.Choice(["open", "closed"]),
    help="open (the default): events at their recorded times; closed: after the recorded gaps.",
)
@click.option(
    "--layer",
    type=click.Choice(["objects", "pages", "both"]),
    help="Replay kmalloc and caches, or pages, or both (the default).",
)
@click.option("--clone", type=int, metavar="K", help="Replay K copies side by side, on K times the CPUs.")
@click.option(
    "--map",
    "placing",
    type=click.Choice(["compact", "scatter", "node"]),
    help="CPUs to use: node by node (the default), one of each node in turn, or each copy on one node.",
)
@click.option(
    "--snapshots", metavar="FILE", help="Start from the recorded machine's free blocks and page lists."
)
@common_options
def replay(common: CommonOptions, /, trace: str, **chosen: object) -> None:
    """Replay TRACE: text of perf script, ftrace or trace-cmd report, plain or gzip.

    Every key can be set: --set replay.layer=pages is --layer pages.  The default kernel is
    linux-6.18, the default machine coal.
    """
    from dataclasses import replace

    from coalsim.boot import System
    from coalsim.cli.output import deliver
    from coalsim.cli.progress import watching
    from coalsim.study.run import plan, run_study
    from coalsim.workloads.base import Workload
    from coalsim.workloads.replay.load import Replay

    spec = _spec(common, trace, _settings(common, chosen))
    planned = plan(spec, common.max_input)
    running: list[Replay] = []

    def load(system: System) -> Workload:
        made = planned.load(system)
        assert isinstance(made, Replay)
        running[:] = [made]
        return made

    def share(_: System) -> float:
        return running[0].share_done() if running else 0.0

    with watching(common, spec.run.replications, 0, share) as watch:
        result = run_study(replace(planned, load=load), watch)
    deliver(common, result)


def _settings(common: CommonOptions, chosen: dict[str, object]) -> "list[Setting]":
    """All options as settings of a study; `replay.KEY` is another name of `workload.KEY`."""
    from dataclasses import replace

    from coalsim.study.overrides import Setting

    limit = f"--max-input {common.max_input}"
    settings = [Setting(key="workload.max_input", value=common.max_input, option=limit)]
    for name, value in chosen.items():
        if value is not None:
            option = {"format_": "format", "placing": "map"}.get(name, name)
            settings.append(Setting(key=f"workload.{option}", value=value, option=f"--{option} {value}"))
    for setting in common.overrides():
        table, dot, key = setting.key.partition(".")
        settings.append(replace(setting, key=f"workload.{key}") if dot and table == "replay" else setting)
    return settings


def _spec(common: CommonOptions, trace: str, settings: "list[Setting]") -> "StudySpec":
    """The study that the options ask for.

    Raises:
        ConfigError: all mistakes in it.
    """
    from pathlib import Path

    from coalsim.errors import ConfigError
    from coalsim.guarded import clean
    from coalsim.study.document import Document
    from coalsim.study.overrides import with_settings
    from coalsim.study.replay_load import ReplayLoad
    from coalsim.study.spec import StudySpec, parse_spec

    def checked(document: Document) -> StudySpec:
        return parse_spec(
            document,
            workloads={"replay": ReplayLoad},
            trust=common.trust,
            default_profile=DEFAULT_PROFILE,
        )

    raw = {
        "study": {"name": f"replay of {clean(Path(trace).name)}"},
        "workload": {"kind": "replay", "trace": trace},
    }
    document = with_settings(Document(raw=raw), settings)
    spec = checked(document)
    if spec.run.warmup:
        message, remedy = "a recording is replayed from its beginning", "leave it out"
        raise ConfigError([document.problem("run.warmup", message, remedy)])
    assert isinstance(spec.workload, ReplayLoad)
    if spec.workload.snapshots:
        spec = checked(_with_recorded_memory(document, spec, spec.workload.snapshots))
    return spec


def _with_recorded_memory(document: "Document", spec: "StudySpec", snapshots: str) -> "Document":
    """The study with as much memory as the recorded zones need."""
    from coalsim.study.overrides import Setting, with_settings
    from coalsim.workloads.replay.recorded_start import memory_needed, recorded_zones
    from coalsim.workloads.trace.snapshot import read_snapshot

    zones = recorded_zones(read_snapshot(snapshots), snapshots)
    needed = memory_needed(zones, spec.kernel.switches.max_order)
    return with_settings(
        document, [Setting(key="machine.memory", value=needed, option=f"--snapshots {snapshots}")]
    )
