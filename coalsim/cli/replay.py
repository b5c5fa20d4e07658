"""`coalsim replay`: a recorded kernel trace on a machine and kernel of choice."""

from typing import TYPE_CHECKING

import click

from coalsim.cli.options import CommonOptions, common_options

if TYPE_CHECKING:
    from coalsim.study.overrides import Setting

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
    from coalsim.cli.output import deliver, prepare
    from coalsim.cli.progress import watching
    from coalsim.study.replay import open_replay
    from coalsim.study.run import run_study
    from coalsim.workloads.base import Workload
    from coalsim.workloads.replay.load import Replay

    settings = [*_settings(chosen), *common.overrides()]
    planned = open_replay(trace, settings, trust=common.trust, max_input=common.max_input)
    prepare(common)
    running: list[Replay] = []

    def load(system: System) -> Workload:
        made = planned.load(system)
        assert isinstance(made, Replay)
        running[:] = [made]
        return made

    def share(_: System) -> float:
        return running[0].share_done() if running else 0.0

    with watching(common, planned.spec.run.replications, 0, share) as watch:
        result = run_study(replace(planned, load=load), watch)
    deliver(common, result)


def _settings(chosen: dict[str, object]) -> "list[Setting]":
    """The options of this command alone, as settings of a study."""
    from coalsim.study.overrides import Setting

    names = {"format_": "format", "placing": "map"}
    return [
        Setting(
            key=f"workload.{names.get(name, name)}",
            value=value,
            option=f"--{names.get(name, name)} {value}",
        )
        for name, value in chosen.items()
        if value is not None
    ]
