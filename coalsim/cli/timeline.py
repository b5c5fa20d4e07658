"""`coalsim timeline`: what every CPU did when, written for a viewer."""

from pathlib import Path

import click

from coalsim.cli.options import CommonOptions, common_options

FORMATS = ("chrome", "perfetto", "speedscope", "folded", "text")
DEFAULT_LIMIT = 1_000_000


@click.command(
    epilog="""\b
Examples:
  coalsim timeline munmap_shared --out munmap.json.gz --window 1ms..1.2ms
  coalsim timeline lock_loop --format speedscope --out lock.json --cpus 0-3
  coalsim timeline page_fault1 --format perfetto --out faults.pftrace --what time,locks
"""
)
@click.argument("study")
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    default="chrome",
    show_default=True,
    help="chrome, perfetto: ui.perfetto.dev; speedscope: speedscope.app; folded: flame graphs; text: a log.",
)
@click.option("--window", default="", metavar="BEGIN..END", help="Simulated time, such as 1ms..1.2ms.")
@click.option(
    "--limit",
    type=int,
    default=DEFAULT_LIMIT,
    show_default=True,
    metavar="EVENTS",
    help="Keep no more: the timeline ends where that is reached, and says so.",
)
@click.option("--cpus", default="", metavar="LIST", help="CPUs to tell, such as 0-3,8; all by default.")
@click.option("--what", default="", metavar="LIST", help="Some of time,locks,ipis,instants,counters.")
@common_options
def timeline(
    common: CommonOptions, /, study: str, format_: str, window: str, limit: int, cpus: str, what: str
) -> None:
    """Run STUDY once and write down what every CPU did when.

    The results are those of `coalsim run`.  It takes longer, since every step is played by events.
    """
    from dataclasses import replace

    from coalsim.cli.output import deliver
    from coalsim.cli.progress import watching
    from coalsim.study.planning import open_study
    from coalsim.study.timeline import Asked, record, save, wanted_of

    assert common.out is not None, "the option is required"
    planned = open_study(study, common.overrides(), trust=common.trust, max_input=common.max_input)
    asked = Asked(format=format_, window=window, limit=limit, cpus=cpus, what=what)
    wanted = wanted_of(asked, planned)
    _check_folder(common.out)
    run = planned.spec.run
    with watching(common, 1, run.given_warmup + run.duration) as watch:
        recorded = record(planned, wanted, watch)
    save(recorded.timeline, format_, common.out)
    if not common.quiet:
        for note in recorded.timeline.notes:
            click.echo(f"note: {note}", err=True)
    deliver(replace(common, out=None), recorded.result)


def _check_folder(out: Path) -> None:
    """Nobody waits for a timeline that cannot be written."""
    from coalsim.errors import InputError, Problem

    if not out.parent.is_dir():
        message, remedy = "there is no such folder", "name a file in a folder that exists"
        raise InputError([Problem(where=str(out), key="--out", message=message, remedy=remedy)])


_OUT = click.Option(
    ["--out"],
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    metavar="FILE",
    help="Where to write it; a name that ends in .gz is packed.",
)
timeline.params = [_OUT if option.name == "out" else option for option in timeline.params]
