"""`coalsim run`: a study, a file or one that coalsim brings along: one configuration, or many."""

from typing import TYPE_CHECKING

import click

from coalsim.cli.options import CommonOptions, common_options
from coalsim.cli.sweep_options import SweepOptions, sweep_options

if TYPE_CHECKING:
    from coalsim.study.planning import Plan

SWEEP_TABLES = ("axis", "stop")
"""Tables of a study file that make it a sweep."""


@click.command(
    epilog="""\b
Examples:
  coalsim run lock_loop --set workload.cpus=26 --set workload.hold=const:37.7ns
  coalsim run page_bulk --machine icx2 --set kernel.profile=linux-6.0 --set workload.cpus=8
  coalsim run ./study.toml --set run.replications=5 --out result --json
  coalsim run lock_loop --axis workload.cpus=2,4,8 --axis kernel.lock=mcs,ticket --jobs 2 --out out
  coalsim run ./study.toml --shard 3/10 --out out
"""
)
@click.argument("study")
@common_options
@sweep_options
def run(options: SweepOptions, common: CommonOptions, study: str) -> int:
    """Run STUDY, a study file or the name of one that coalsim brings along.

    A study with axes or a stopping rule is run point by point; its table has a row for each.  With
    --out the same command resumes it, extends it, or prints it again.
    """
    from coalsim.study.document import find_study, read_document

    options.check(common.out)
    settings = common.overrides()
    asked = read_document(find_study(study)).raw
    if options.asks_for_a_sweep or options.quick or any(table in asked for table in SWEEP_TABLES):
        from coalsim.cli.sweeping import run_sweep
        from coalsim.sweep.sweep_spec import open_sweep

        spec = open_sweep(
            study,
            settings,
            axes=options.axes,
            quick=options.quick,
            trust=common.trust,
            max_input=common.max_input,
        )
        if options.asks_for_a_sweep or spec.axes or spec.stop is not None:
            return run_sweep(common, options, spec)
        return _run_one(common, spec.plan(spec.points[0]))
    from coalsim.study.planning import open_study

    return _run_one(common, open_study(study, settings, trust=common.trust, max_input=common.max_input))


def _run_one(common: CommonOptions, planned: "Plan") -> int:
    """Run one configuration, as often as it says."""
    from coalsim.cli.output import deliver, prepare
    from coalsim.cli.progress import watching
    from coalsim.study.run import run_study
    from coalsim.sweep.loading import refuse_sweep

    prepare(common)
    refuse_sweep(common.out)
    wanted = planned.spec.run
    warmup = wanted.warmup if isinstance(wanted.warmup, int) else 0
    with watching(common, wanted.replications, warmup + wanted.duration) as watch:
        result = run_study(planned, watch)
    deliver(common, result)
    return 0
