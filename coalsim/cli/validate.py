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
    from coalsim.cli.output import prepare, write_text
    from coalsim.cli.progress import style_of
    from coalsim.observe.tables import Style
    from coalsim.study import validate as validation
    from coalsim.study.predictions import VALIDATIONS
    from coalsim.study.validation_report import as_document, as_text, listing

    if name is None:
        click.echo(json.dumps(list(VALIDATIONS)) if common.as_json else listing())
        return
    try:
        wanted = [int(point) for point in points.split(",") if point.strip()]
    except ValueError:
        raise click.BadParameter(f"{points!r} is not a list of whole numbers; write it like 1,2,10") from None

    style = style_of(common)

    def progress(done: int, of: int) -> None:
        if style == "line":
            click.echo(f"\rpoint {done + 1} of {of}\x1b[K", err=True, nl=False)
        elif style == "plain":
            click.echo(f"point {done + 1} of {of}", err=True)
        elif style == "json":
            click.echo(json.dumps({"point": done + 1, "points": of}), err=True)

    prepare(common)
    try:
        verdict = validation.validate(name, common.overrides(), wanted, progress)
    finally:
        if style == "line":
            click.echo("\r\x1b[K", err=True, nl=False)
    if common.out is not None:
        write_text(
            common.out, "validation.json", json.dumps(as_document(verdict), indent=1, sort_keys=True) + "\n"
        )
    if common.as_json:
        click.echo(json.dumps(as_document(verdict), indent=1, sort_keys=True))
    else:
        click.echo(as_text(verdict, Style.of(sys.stdout)))
