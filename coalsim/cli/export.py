"""`coalsim export`: a study's runs as a table for other programs."""

from pathlib import Path

import click

FORMATS = ("csv", "jsonl", "parquet")
STDOUT = Path("-")
EXAMPLES = """\b
Examples:
  coalsim export out --out runs.parquet
  coalsim export out --metrics throughput.ops_per_s,latency_ns.p99
  coalsim export out --format jsonl | jq .seed
"""


@click.command(epilog=EXAMPLES)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(FORMATS), help="By the ending of FILE, else csv.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path, allow_dash=True),
    default=STDOUT,
    metavar="FILE",
    help="Where to; - is stdout (the default).",
)
@click.option(
    "--metrics", default="", metavar="LIST", help="Dotted paths of the numbers, with commas; all otherwise."
)
def export(folder: Path, form: str | None, out: Path, metrics: str) -> None:
    """Write a row for each run of the study in DIR: its settings, its seed, and every number of its result.

    Parquet needs pyarrow and a FILE; it holds the unit of each column.
    """
    from coalsim.report.export import csv_text, json_lines, write_parquet
    from coalsim.report.tables import ResultTable
    from coalsim.sweep.results import load_results

    ending = out.suffix.removeprefix(".")
    form = form or (ending if ending in FORMATS else "csv")
    if form == "parquet" and out == STDOUT:
        raise click.UsageError("--format parquet: no text; name a file with --out")
    wanted = tuple(path for path in metrics.replace(",", " ").split() if path)
    table = ResultTable(load_results(folder), wanted)
    if form == "parquet":
        write_parquet(table, out)
        return
    text = csv_text(table) if form == "csv" else json_lines(table)
    if out == STDOUT:
        click.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")
