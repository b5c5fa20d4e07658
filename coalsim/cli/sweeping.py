"""What `coalsim run` does with a study of several points, and `coalsim merge` with its parts.

    DIR/study.json       what was asked: the words of the study, axes, points, configurations
    DIR/results.sqlite   every run
    DIR/summary.txt      the table that was printed
    DIR/results.lock     held while somebody writes; nothing is in it afterwards

The same command resumes, extends and repeats: what is there is not run again.
"""

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import current_thread, main_thread

import click

from coalsim.cli.options import CommonOptions
from coalsim.cli.output import prepare
from coalsim.cli.sweep_options import SweepOptions
from coalsim.cli.sweep_progress import telling
from coalsim.errors import InputError
from coalsim.guarded import clean, refusal
from coalsim.observe.document import dump
from coalsim.observe.tables import Style
from coalsim.sweep import manifest as manifests
from coalsim.sweep.agenda import Agenda
from coalsim.sweep.coordinator import RowKeeper, agenda_of, run_agenda
from coalsim.sweep.filesystem import write_atomically
from coalsim.sweep.loading import gathered, is_sweep
from coalsim.sweep.manifest import Manifest, manifest_of, read_manifest
from coalsim.sweep.resultfile import RESULT
from coalsim.sweep.results import StudyResults
from coalsim.sweep.shards import Shard, ShardFile
from coalsim.sweep.store import Store
from coalsim.sweep.sweep_spec import SweepSpec
from coalsim.sweep.table import sweep_document, sweep_text

SOME_FAILED = 4
SUMMARY = "summary.txt"


def run_sweep(common: CommonOptions, options: SweepOptions, spec: SweepSpec) -> int:
    """Do what is left of a study, print its table, and say with which code to exit."""
    shard = options.parsed_shard()
    manifest = manifest_of(spec)
    prepare(common)
    if common.out is not None:
        refuse_others(common.out, manifest, exactly=shard is not None)
    with ending_in_order():
        if shard is not None:
            assert common.out is not None, "a shard has a folder"
            return _run_shard(common, options, spec, manifest, shard)
        with Store(common.out) as store:
            tell_notes(store.notes, common.quiet)
            if common.out is not None:
                manifest.write(common.out)
            store.set_points(manifest.points)
            agenda = agenda_of(spec, manifest, store.rows(), spec.points)
            _do(common, options, spec, agenda, store, manifest)
            results = gathered(manifest, store.rows(), *([common.out] if common.out else []))
    return deliver_results(results, common.out, common.as_json, common.quiet)


def _run_shard(
    common: CommonOptions, options: SweepOptions, spec: SweepSpec, manifest: Manifest, shard: Shard
) -> int:
    assert common.out is not None, "a shard has a folder"
    manifest.write(common.out)
    with ShardFile(common.out, shard, manifest) as keeper:
        tell_notes(keeper.notes, common.quiet)
        agenda = agenda_of(spec, manifest, keeper.rows(), shard.points(spec.points))
        _do(common, options, spec, agenda, keeper, manifest)
        file = keeper.finish()
    if common.as_json:
        facts = {"shard": shard.index, "of": shard.count, "runs": agenda.done, "failed": agenda.failed}
        click.echo(dump({**facts, "file": str(file)}), nl=False)
    else:
        click.echo(f"{agenda.done} runs of {agenda.points} points in {file}; when all shards are there:")
        click.echo(f"  coalsim merge {common.out}")
    return SOME_FAILED if agenda.failed else 0


def _do(
    common: CommonOptions,
    options: SweepOptions,
    spec: SweepSpec,
    agenda: Agenda,
    keeper: RowKeeper,
    manifest: Manifest,
) -> None:
    """Do what is on the agenda; nobody is started if nothing is."""
    if agenda.done == agenda.total:
        return
    try:
        with telling(common, manifest.points) as watch, options.pool(has_own_code=spec.trust) as pool:
            run_agenda(agenda, keeper, pool, watch)
    except KeyboardInterrupt:
        kept = f"{agenda.done} of {agenda.total} runs are"
        where = f"kept in {common.out}: the same command goes on" if common.out else "lost without --out"
        click.echo(f"note: {kept} {where}", err=True)
        raise


def deliver_results(results: StudyResults, folder: Path | None, as_json: bool, quiet: bool) -> int:
    """Print the table of a study, write it into its folder, and say with which code to exit."""
    if folder is not None:
        write_atomically(folder / SUMMARY, sweep_text(results))
    if as_json:
        click.echo(dump(sweep_document(results)), nl=False)
    else:
        click.echo(sweep_text(results, Style.of(sys.stdout)), nl=False)
    if folder is None:
        tell_notes(["nothing was written: --out DIR keeps the results, for tables and for going on"], quiet)
    return SOME_FAILED if results.missing or any(point.failures for point in results.points) else 0


def tell_notes(notes: Sequence[str], quiet: bool) -> None:
    """Say on stderr what is good to know."""
    for note in () if quiet else notes:
        click.echo(f"note: {clean(note)}", err=True)


def refuse_others(folder: Path, manifest: Manifest, *, exactly: bool) -> None:
    """Refuse a folder that holds something else.

    Args:
        folder: that --out names.
        manifest: of our study.
        exactly: whether it has to be there with the same points, options and coalsim.

    Raises:
        InputError: it is somebody else's.
    """
    if not is_sweep(folder):
        if (folder / RESULT).exists():
            raise refusal(folder, "the result of a single run is there", "name another folder")
        return
    there = read_manifest(folder)
    if there.name != manifest.name:
        raise _taken(folder, f"the study {there.name} is there, not {manifest.name}")
    if exactly and there.digest != manifest.digest:
        raise _taken(folder, f"{there.name} is there, but its file, its options or coalsim were others")


def _taken(folder: Path, message: str) -> InputError:
    return refusal(folder, message, f"name another folder, or remove {manifests.FILE} and what is beside it")


@contextmanager
def ending_in_order() -> Iterator[None]:
    """SIGINT and SIGTERM end the block as KeyboardInterrupt, once; a second one does not disturb the end."""
    if current_thread() is not main_thread():
        yield
        return
    signals = (signal.SIGINT, signal.SIGTERM)

    def end(number: int, frame: object) -> None:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = [signal.signal(each, end) for each in signals]
    try:
        yield
    finally:
        for each, handler in zip(signals, before, strict=True):
            signal.signal(each, handler)
