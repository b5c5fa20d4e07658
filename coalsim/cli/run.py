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
    from coalsim.cli.output import deliver
    from coalsim.cli.progress import watching
    from coalsim.study.document import find_study, read_document
    from coalsim.study.overrides import with_settings
    from coalsim.study.run import plan, run_study, workload_models
    from coalsim.study.spec import parse_spec

    document = with_settings(read_document(find_study(study)), common.overrides())
    spec = parse_spec(document, workloads=workload_models(), trust=common.trust)
    planned = plan(spec, common.max_input)
    with watching(common, spec.run.replications, spec.run.warmup + spec.run.duration) as watch:
        result = run_study(planned, watch)
    deliver(common, result)
