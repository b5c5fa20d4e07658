"""`coalsim mem`: the allocators of a stored result, in the layouts of /proc and as tables."""

from pathlib import Path

import click

from coalsim.cli.resultfile import load_result, point_option

EXAMPLES = """\b
Examples:
  coalsim mem out/
  coalsim mem out/ --buddyinfo
  coalsim mem out/ --slabinfo | sort -k3nr
  coalsim mem out/ --magazines --pagelists --json
  coalsim run oom_storm --set run.samples=1ms --out out && coalsim mem out/ --series
"""


@click.command("mem", epilog=EXAMPLES)
@click.argument("result", type=click.Path(path_type=Path))
@click.option("--bytes", is_flag=True, help="Where all memory is.")
@click.option("--pagelists", is_flag=True, help="Hit rates of the per-CPU page lists, refills, drains.")
@click.option("--magazines", is_flag=True, help="Hit rates of the magazines, depot accesses, sizes.")
@click.option("--numa", is_flag=True, help="NUMA hits and misses, by the names of /proc/vmstat.")
@click.option("--remote-frees", is_flag=True, help="Frees on another CPU than the one that allocated.")
@click.option("--fragmentation", is_flag=True, help="Internal, and the kernel's external indices.")
@click.option("--buddyinfo", is_flag=True, help="In the layout of /proc/buddyinfo.")
@click.option("--slabinfo", is_flag=True, help="In the layout of /proc/slabinfo, version 2.1.")
@click.option("--meminfo", is_flag=True, help="In the layout of /proc/meminfo.")
@click.option("--vmstat", is_flag=True, help="In the layout of /proc/vmstat, what the model has of it.")
@click.option("--zoneinfo", is_flag=True, help="In the layout of /proc/zoneinfo.")
@click.option("--pagetypeinfo", is_flag=True, help="Like /proc/pagetypeinfo, with a single type.")
@click.option("--series", is_flag=True, help="Over time; the run needs run.samples.")
@click.option("--allocations", is_flag=True, help="Every block at the end; the run needs run.allocations=on.")
@point_option
@click.option("--run", type=int, metavar="N", help="One replication, counted from 1, instead of the means.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def mem(result: Path, point: int | None, run: int | None, as_json: bool, **chosen: bool) -> None:
    """Print what the allocators of RESULT did: a result folder or its result.json.

    Without a choice of sections, those from --bytes to --slabinfo are printed that the result has.
    """
    import sys

    from coalsim.observe.document import dump, excerpt
    from coalsim.observe.memory_report import memory_part, memory_text
    from coalsim.observe.tables import Style

    document = load_result(result, run, point)
    style = Style.of(sys.stdout)
    sections = [name for name, wanted in chosen.items() if wanted]
    if as_json:
        text = dump(excerpt(document, memory=memory_part(document, sections)))
    else:
        text = memory_text(document, sections, style)
    click.echo(style.fit(text), nl=False)
