"""`coalsim plugins`: which locks, allocators, policies, rules and loads there are, and trying one's own."""

import json
import sys
from dataclasses import asdict

import click

KERNEL_BROKE = 3


@click.group(
    epilog="""\b
Examples:
  coalsim plugins list
  coalsim plugins list --kind lock --json
  coalsim plugins check ./fair.py:FairLock
"""
)
def plugins() -> None:
    """List the classes that a study can name, and check your own."""


_KIND = click.option(
    "--kind",
    type=click.Choice(["lock", "allocator", "placement", "shootdown", "victim", "load"]),
    help="Of this kind only; where it is not said, a class is what it is derived from.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")


@plugins.command("list")
@_KIND
@_JSON
def list_plugins(kind: str | None, as_json: bool) -> None:
    """List every class that can be named: coalsim's own and those of installed packages."""
    from coalsim.kits.kinds import listing
    from coalsim.observe.tables import Style, Table, columns, render

    found = [one for one in listing() if kind in (None, one.kind)]
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=1))
        return
    rows = tuple((one.kind, one.name, one.package, one.source, one.says) for one in found)
    heads = columns("kind name package source purpose", left=5)
    click.echo(render(Table(columns=heads, rows=rows), Style.of(sys.stdout)), nl=False)  # cells are cleaned


@plugins.command("check")
@click.argument("name", metavar="./FILE.py:CLASS")
@_KIND
@click.option("--long", "is_long", is_flag=True, help="Try more random programs.")
@_JSON
def check_plugin(name: str, kind: str | None, is_long: bool, as_json: bool) -> None:
    """Load a class and try every promise of its kind; runs the code of that file.

    Exit code 0: it keeps them all; 3: it breaks some.
    """
    from coalsim.guarded import clean
    from coalsim.kits.finding import found_kind

    chosen, owner = found_kind(name, kind)
    report = chosen.report(owner, not is_long)
    if as_json:
        click.echo(json.dumps({**asdict(report), "passed": report.passed}, indent=1))
    else:
        for line in report.text().split("\n"):
            click.echo(clean(line))
    if not report.passed:
        click.get_current_context().exit(KERNEL_BROKE)
