"""`coalsim where`: where the time of a stored result went, by cause."""

from pathlib import Path

import click

EXAMPLES = """\b
Examples:
  coalsim where out/
  coalsim where out/ --per-cpu
  coalsim where out/ --folded out.folded
  coalsim where out/ --folded - | flamegraph.pl > where.svg
"""


@click.command("where", epilog=EXAMPLES)
@click.argument("result", type=click.Path(path_type=Path))
@click.option("--per-cpu", is_flag=True, help="One row for each CPU instead of each node.")
@click.option(
    "--folded",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Write folded stacks (weights in ns) to FILE, or with - to stdout instead of the tables.",
)
@click.option("--run", type=int, metavar="N", help="One replication, counted from 1, instead of the means.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document: CPU, cause, picoseconds.")
def where(result: Path, per_cpu: bool, folded: Path | None, run: int | None, as_json: bool) -> None:
    """Print where the CPUs of RESULT spent their time: a result folder or its result.json.

    A cause's group is what stands before its first colon.  The last line says whether
    each CPU's times add up to the simulated time.
    """
    import sys

    from coalsim.cli.resultfile import load_result
    from coalsim.observe.document import dump, excerpt
    from coalsim.observe.tables import Style
    from coalsim.observe.where import folded as folded_stacks
    from coalsim.observe.where import where_text

    document = load_result(result, run)
    style = Style.of(sys.stdout)
    stacks = "" if folded is None else folded_stacks(document)
    if as_json:
        text = dump(excerpt(document, time=document["time"]))
    elif folded == Path("-"):
        text = stacks
    else:
        text = where_text(document, style, per_cpu)
    if folded is not None and folded != Path("-"):
        _write(folded, stacks)
    click.echo(style.fit(text), nl=False)


def _write(file: Path, text: str) -> None:
    from coalsim.errors import InputError, Problem
    from coalsim.guarded import clean

    try:
        file.write_text(text, encoding="utf-8")
    except OSError as failure:
        why = f"cannot be written ({failure.strerror or failure})"
        name = clean(str(file))
        raise InputError(
            [
                Problem(
                    where=name,
                    key="--folded",
                    message=why,
                    remedy="name a file in a folder that you may write",
                )
            ]
        ) from None
