"""`coalsim merge`: the parts of a study, done by several commands, into one."""

from pathlib import Path

import click

MISSING_TOLD = 20
EXAMPLES = """\b
Examples:
  coalsim run study.toml --shard 1/2 --out out & coalsim run study.toml --shard 2/2 --out out
  wait; coalsim merge out
  coalsim merge out/host1 out/host2 out/host3
"""


@click.command("merge", epilog=EXAMPLES)
@click.argument(
    "folders", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
@click.option("-q", "--quiet", is_flag=True, help="Print no notes.")
def merge(folders: tuple[Path, ...], as_json: bool, quiet: bool) -> int:
    """Put the finished shards in FOLDERS into the store of the first one, and print the table.

    All have to be of one study, asked with the same options of the same coalsim.  Runs that the
    stores of the other folders hold are taken too.  Shards that are missing are named.  What is
    missing can be added later: merge again, or run the study without --shard in the first folder.
    """
    from coalsim.cli.sweeping import deliver_results, ending_in_order, refuse_others, tell_notes
    from coalsim.guarded import clean, refusal
    from coalsim.sweep.loading import gathered, is_sweep
    from coalsim.sweep.manifest import read_manifest
    from coalsim.sweep.shards import find_shards
    from coalsim.sweep.store import FILE, Store, stored_rows

    first = folders[0]
    if not is_sweep(first):
        raise refusal(first, "no study is there", "name a folder that coalsim run --shard wrote")
    manifest = read_manifest(first)
    for folder in folders[1:]:
        refuse_others(folder, manifest, exactly=True)
    found = find_shards(folders, manifest)
    stores = [folder / FILE for folder in folders[1:] if (folder / FILE).exists()]
    if not found.files and not stores:
        raise refusal(first, "no finished shard is there", "wait for coalsim run --shard I/N to end")

    with ending_in_order(), Store(first) as store:
        tell_notes(store.notes, quiet)
        store.set_points(manifest.points)
        for row in found.rows:
            store.put(row)
        for file in stores:
            for row in stored_rows(file):
                store.put(row)
        results = gathered(manifest, store.rows(), first)
    if found.missing:
        count = found.missing[0].count
        told = ", ".join(str(shard.index) for shard in found.missing[:MISSING_TOLD])
        more = len(found.missing) - MISSING_TOLD
        told += f" and {more} more" if more > 0 else ""
        remedy = f"merge again when they are there, or run the study into {clean(str(first))} without --shard"
        tell_notes([f"of {count} shards these are missing: {told}; {remedy}"], quiet)
    return deliver_results(results, first, as_json, quiet)
