"""`coalsim where`: where the time of a stored result went, by cause: of its CPUs, or of one operation."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from coalsim.cli.resultfile import load_result, point_option

if TYPE_CHECKING:
    from coalsim.observe.document import ResultDocument
    from coalsim.observe.vm_document import OperationEntry

EXAMPLES = """\b
Examples:
  coalsim where out/
  coalsim where out/ --per-cpu
  coalsim where out/ --op munmap
  coalsim where out/ --folded out.folded
  coalsim where out/ --op munmap --folded - | flamegraph.pl > munmap.svg
  coalsim where sweep/ --over workload.cpus
"""


@click.command("where", epilog=EXAMPLES)
@click.argument("result", type=click.Path(path_type=Path))
@click.option("--per-cpu", is_flag=True, help="One row for each CPU instead of each node.")
@click.option(
    "--op", metavar="NAME", help="The latency of one operation by cause: munmap, fault, mprotect ..."
)
@click.option(
    "--folded",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Write folded stacks (weights in ns) to FILE, or with - to stdout instead of the tables.",
)
@click.option(
    "--over", metavar="AXIS", help="Stacks over an axis of a sweep: which cause eats what is added."
)
@point_option
@click.option("--run", type=int, metavar="N", help="One replication, counted from 1, instead of the means.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document: CPU, cause, ps; or of the operation."
)
def where(
    result: Path,
    per_cpu: bool,
    op: str | None,
    folded: Path | None,
    over: str | None,
    point: int | None,
    run: int | None,
    as_json: bool,
) -> None:
    """Print where the CPUs of RESULT spent their time: a result folder or its result.json.

    A cause's group is what stands before its first colon.  The last line says whether
    each CPU's times add up to the simulated time, or an operation's causes to its latency.
    """
    import sys

    from coalsim.observe.document import dump, excerpt
    from coalsim.observe.operations import folded_operation, operation_text
    from coalsim.observe.tables import Style
    from coalsim.observe.where import folded as folded_cpus
    from coalsim.observe.where import where_text

    if op is not None and per_cpu:
        raise click.UsageError("--op and --per-cpu: an operation is shown over all CPUs; leave one out")
    if over is not None:
        if op is not None or per_cpu or point is not None or run is not None:
            raise click.UsageError(
                "--over is of all points and runs: leave --op, --per-cpu, --point and --run out"
            )
        _stacks(result, over, folded, as_json)
        return
    document = load_result(result, run, point)
    style = Style.of(sys.stdout)
    if op is None:
        part: dict[str, object] = {"time": document["time"]}
        text, stacks = where_text(document, style, per_cpu), folded_cpus(document)
    else:
        entry = _operation(result, document, op)
        part = {"operations": {op: entry}}
        text, stacks = operation_text(op, entry, style), folded_operation(op, entry)
    if folded is not None and folded != Path("-"):
        _write(folded, stacks)
    if as_json:
        text = dump(excerpt(document, **part))
    elif folded == Path("-"):
        text = stacks
    click.echo(style.fit(text), nl=False)


def _stacks(result: Path, over: str, folded: Path | None, as_json: bool) -> None:
    """Print the stacks over an axis."""
    import sys

    from coalsim.analysis.stack_text import stacks_document, stacks_folded, stacks_text
    from coalsim.analysis.stacks import stack_curves
    from coalsim.observe.document import dump
    from coalsim.observe.tables import Style
    from coalsim.sweep.results import load_results

    curves, style = stack_curves(load_results(result), over), Style.of(sys.stdout)
    if folded is not None and folded != Path("-"):
        _write(folded, stacks_folded(curves))
    if as_json:
        text = dump(stacks_document(curves))
    else:
        text = stacks_folded(curves) if folded == Path("-") else stacks_text(curves, style)
    click.echo(style.fit(text), nl=False)


def _operation(result: Path, document: "ResultDocument", name: str) -> "OperationEntry":
    """The operation of that name.

    Raises:
        InputError: the result has none; the names that it has are listed.
    """
    from difflib import get_close_matches

    from coalsim.errors import InputError, Problem
    from coalsim.guarded import clean

    found = document.get("operations", {})
    if name in found:
        return found[name]
    if found:
        near = get_close_matches(name, found, n=1)
        remedy = (
            (f"did you mean {clean(near[0])}? " if near else "") + "it has " + clean(", ".join(sorted(found)))
        )
        message = "no such operation in the result"
    else:
        message = "the result has no operations"
        remedy = "run a study whose tasks have address spaces, such as munmap_shared"
    raise InputError(
        [Problem(where=clean(str(result)), key="--op", value=clean(name), message=message, remedy=remedy)]
    )


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
