"""`coalsim run`: one study, a file or one that coalsim brings along."""

import click

from coalsim.cli.options import CommonOptions, common_options


@click.command(
    epilog="""\b
Examples:
  coalsim run lock_loop --set workload.cpus=26 --set workload.hold=const:37.7ns
  coalsim run page_bulk --machine icx2 --set kernel.profile=linux-6.0 --set workload.cpus=8
  coalsim run ./study.toml --set run.replications=5 --out result --json
"""
)
@click.argument("study")
@common_options
def run(common: CommonOptions, study: str) -> None:
    """Run STUDY, a study file or the name of one that coalsim brings along."""
    from coalsim.cli.output import deliver, prepare
    from coalsim.cli.progress import watching
    from coalsim.study.run import open_study, run_study

    planned = open_study(study, common.overrides(), trust=common.trust, max_input=common.max_input)
    prepare(common)
    asked = planned.spec.run
    with watching(common, asked.replications, asked.warmup + asked.duration) as watch:
        result = run_study(planned, watch)
    deliver(common, result)
