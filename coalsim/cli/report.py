"""`coalsim report`: a study's results as one HTML file, or as figures for a paper."""

from pathlib import Path

import click

FIGURE_FORMATS = ("pdf", "svg", "png")
EXAMPLES = """\b
Examples:
  coalsim report out                       writes out/report.html
  coalsim report out --out locks.html
  coalsim report out --figures figures --format svg
"""


@click.command(epilog=EXAMPLES)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="DIR/report.html otherwise.",
)
@click.option(
    "--figures",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Write figures there, and no page.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FIGURE_FORMATS),
    default="pdf",
    show_default=True,
    help="Of the figures.",
)
@click.option("-q", "--quiet", is_flag=True, help="Do not say what was written.")
def report(folder: Path, out: Path | None, figures: Path | None, form: str, quiet: bool) -> None:
    """Write a report of the study in DIR, finished or still running, or of a single run.

    The page is one file: it loads nothing, and can be mailed.  Figures need matplotlib.
    """
    from coalsim.sweep.results import load_results

    if figures is not None and out is not None:
        raise click.UsageError(
            "--out and --figures: the one is for the page, the other for figures; leave one out"
        )
    results = load_results(folder)
    if figures is not None:
        from coalsim.report.figures import write_figures

        written = write_figures(results, figures, form)
    else:
        from coalsim.report.page import report_html

        home = folder if folder.is_dir() else folder.parent
        file = home / "report.html" if out is None else out
        file.write_text(report_html(results), encoding="utf-8")
        written = [file]
    if not quiet:
        for file in written:
            click.echo(f"written: {file}", err=True)
