"""`coalsim leaks`: what a stored run allocated and did not free, by call site, by age, over time."""

from pathlib import Path

import click

from coalsim.cli.resultfile import load_result, point_option

EXAMPLES = """\b
Examples:
  coalsim run leaking_driver --out out && coalsim leaks out
  coalsim leaks out --growth -E 5
  coalsim leaks out --kmemleak | grep -A1 backtrace
  coalsim replay trace.txt --set kernel.leak_tracking=on --out out && coalsim leaks out --sites --json
"""


@click.command("leaks", epilog=EXAMPLES)
@click.argument("result", type=click.Path(path_type=Path))
@click.option("--sites", is_flag=True, help="What each call site holds, the largest first.")
@click.option("--ages", is_flag=True, help="How old it is.")
@click.option("--growth", is_flag=True, help="What each call site held at points of time.")
@click.option("--kmemleak", is_flag=True, help="Objects that nothing points to, in the layout of kmemleak.")
@click.option("-E", "--entries", type=int, metavar="N", help="Print N call sites only.")
@point_option
@click.option("--run", type=int, metavar="N", help="One replication, counted from 1, instead of the means.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def leaks(
    result: Path,
    kmemleak: bool,
    entries: int | None,
    point: int | None,
    run: int | None,
    as_json: bool,
    **chosen: bool,
) -> None:
    """Print what RESULT, a result folder or its result.json, allocated and did not free.

    The run has to have tracked leaks: kernel.leak_tracking=on; with kernel.kmemleak=on too, it
    also scanned memory for objects that nothing points to.
    """
    import sys

    from coalsim.observe.document import dump, excerpt
    from coalsim.observe.leaks import kmemleak_report, leaks_part, leaks_text
    from coalsim.observe.tables import Style

    document = load_result(result, run, point)
    style = Style.of(sys.stdout)
    sections = [name for name, wanted in chosen.items() if wanted]
    if kmemleak:
        report = kmemleak_report(document)
        if not as_json:
            click.echo(style.fit(report), nl=False)
            if not sections:
                return
        sections.append("kmemleak")
    if as_json:
        text = dump(excerpt(document, leaks=leaks_part(document, sections, entries)))
    else:
        text = leaks_text(document, sections, entries, style)
    click.echo(style.fit(text), nl=False)
