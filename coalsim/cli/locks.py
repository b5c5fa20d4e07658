"""`coalsim locks`: what the locks of a stored result cost, as perf or the kernel would print it."""

from pathlib import Path

import click

from coalsim.cli.resultfile import load_result, point_option

EXAMPLES = """\b
Examples:
  coalsim locks out/
  coalsim locks out/ -t -k wait_max -E 5
  coalsim locks out/ -F contended,wait_total -x, | sort -t, -k2nr
  coalsim locks out/ --lock-stat | less -S
"""


@click.command("locks", epilog=EXAMPLES)
@click.argument("result", type=click.Path(path_type=Path))
@click.option("view", "--callers", flag_value="caller", default=True, help="By call site (the default).")
@click.option("view", "-t", "--threads", flag_value="thread", help="By CPU and its thread.")
@click.option("view", "-l", "--lock-addr", flag_value="address", help="By single lock.")
@click.option("view", "--lock-stat", flag_value="lock_stat", help="In the layout of /proc/lock_stat.")
@click.option(
    "-k", "--key", default="wait_total", show_default=True, help="Sort by this field, largest first."
)
@click.option(
    "-F",
    "--field",
    default="contended,wait_total,wait_max,avg_wait",
    show_default=True,
    metavar="FIELDS",
    help="Columns in this order; also wait_min.",
)
@click.option("-E", "--entries", type=int, metavar="N", help="Print N rows only.")
@click.option("-x", "--field-separator", metavar="SEP", help="SEP between the fields, times in whole ns.")
@point_option
@click.option("--run", type=int, metavar="N", help="One replication, counted from 1, instead of the means.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document: the rows with all columns.")
def locks(
    result: Path,
    view: str,
    key: str,
    field: str,
    entries: int | None,
    field_separator: str | None,
    point: int | None,
    run: int | None,
    as_json: bool,
) -> None:
    """Print what the locks cost in RESULT, a result folder or its result.json.

    The default is the layout of `perf lock contention`: who waited, how often, how
    long.  Its options -t, -l, -k, -F, -E and -x mean the same here.  With --json, -t
    and -l choose the rows, -k and -E sort and cut them.
    """
    import sys

    from coalsim.observe.document import dump
    from coalsim.observe.lock_stat import lock_stat
    from coalsim.observe.perf_lock import Options, perf_lock, perf_lock_json
    from coalsim.observe.tables import Style

    options = Options(
        view="thread" if view == "thread" else "address" if view == "address" else "caller",
        key=key,
        fields=tuple(dict.fromkeys(field.replace(",", " ").split())),
        entries=entries,
        separator=field_separator,
    )
    document = load_result(result, run, point)
    if as_json:
        text = dump(perf_lock_json(document, options))
    elif view == "lock_stat":
        text = lock_stat(document)
    else:
        text = perf_lock(document, options)
    click.echo(Style.of(sys.stdout).fit(text), nl=False)
