"""`coalsim validate`: predictions beside published measurements, with the error of each point."""

import json
import sys

import click

from coalsim.cli.options import CommonOptions, common_options


@click.command(
    epilog="""\b
Examples:
  coalsim validate
  coalsim validate page_bulk
  coalsim validate line_contention --points 1,2,10,11,20,40,80 --json
"""
)
@click.argument("name", required=False)
@click.option("--points", metavar="X,X,...", default="", help="Only these points of the curve.")
@common_options
def validate(common: CommonOptions, name: str | None, points: str) -> None:
    """Predict the measured curve NAME and print both; without NAME, list the curves."""
    from coalsim.observe.tables import Style
    from coalsim.study import validate as validation
    from coalsim.study.validation_report import as_document, as_text, listing

    if name is None:
        click.echo(json.dumps(list(validation.VALIDATIONS)) if common.as_json else listing())
        return
    try:
        wanted = [int(point) for point in points.split(",") if point.strip()]
    except ValueError:
        raise click.BadParameter(f"{points!r} is not a list of whole numbers; write it like 1,2,10") from None

    def progress(done: int, of: int) -> None:
        if common.progress == "plain" or (
            common.progress == "auto" and sys.stderr.isatty() and not common.quiet
        ):
            click.echo(f"\rpoint {done + 1} of {of}\x1b[K", err=True, nl=False)

    verdict = validation.validate(name, common.overrides(), wanted, progress)
    if common.progress == "auto" and sys.stderr.isatty() and not common.quiet:
        click.echo("\r\x1b[K", err=True, nl=False)
    if common.out is not None:
        from coalsim.cli.output import write_text

        write_text(
            common.out, "validation.json", json.dumps(as_document(verdict), indent=1, sort_keys=True) + "\n"
        )
    if common.as_json:
        click.echo(json.dumps(as_document(verdict), indent=1, sort_keys=True))
    else:
        click.echo(as_text(verdict, Style.of(sys.stdout)))
