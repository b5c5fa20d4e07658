"""`coalsim compare`: what differs between results, and whether that can be told from chance."""

from pathlib import Path

import click

EXAMPLES = """\b
Examples:
  coalsim compare before/ after/
  coalsim compare mcs/ ticket/ cna/ --metric latency_ns.p99
  coalsim compare sweep/
"""


@click.command(epilog=EXAMPLES)
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DIR [DIR...]")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    help="Of the result document: latency_ns.p99. Repeatable; those that the study shows if not given.",
)
@click.option("--rank", "over", multiple=True, metavar="AXIS", help="One folder: which axis to rank.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def compare(
    folders: tuple[Path, ...], metrics: tuple[str, ...], over: tuple[str, ...], as_json: bool
) -> None:
    """Compare the first DIR with each other one: points by their settings, runs pair by pair by their seeds.

    A DIR is the folder of a sweep or of a single run.  With one DIR, a sweep, its curves are ranked
    among themselves, as far as the intervals allow.
    """
    import sys

    from coalsim.analysis.compare import compare as compared
    from coalsim.analysis.compare import rankings
    from coalsim.analysis.compare_text import (
        comparison_document,
        comparison_text,
        rankings_document,
        rankings_text,
    )
    from coalsim.observe.document import dump
    from coalsim.observe.tables import Style
    from coalsim.sweep.results import load_results

    style = Style.of(sys.stdout)
    first, *others = (load_results(folder) for folder in folders)
    if over and others:
        raise click.UsageError("--rank: it is within one study; give one DIR")
    if not others:
        found = [rankings(first, metric, over) for metric in metrics or ("",)]
        if as_json:
            text = dump({"rankings": [entry for ranked in found for entry in rankings_document(ranked)]})
        else:
            text = "\n".join(rankings_text(ranked, style) for ranked in found)
    else:
        comparisons = [compared(first, other, metrics) for other in others]
        if as_json:
            text = dump({"comparisons": [comparison_document(one) for one in comparisons]})
        else:
            text = "\n".join(comparison_text(one, style) for one in comparisons)
    click.echo(style.fit(text), nl=False)
