"""`coalsim study`: write, check and show study files.

Everything that reads a study is imported inside the commands, so that `--help` stays fast.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coalsim.cli.options import size_of
from coalsim.errors import ConfigError, Problem
from coalsim.guarded import DEFAULT_MAX_INPUT
from coalsim.units import format_size

if TYPE_CHECKING:
    from coalsim.sweep.sweep_spec import SweepSpec

_OPTIONS = (
    click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change any key. Repeatable."),
    click.option(
        "--axis",
        "axes",
        multiple=True,
        metavar="KEY=V1,V2",
        help="Vary a key, or vary it otherwise. Repeatable.",
    ),
    click.option("--quick", is_flag=True, help="The study's short variant."),
    click.option("--trust", is_flag=True, help="Let the study file load classes from files and modules."),
    click.option(
        "--max-input",
        default=format_size(DEFAULT_MAX_INPUT),
        callback=size_of,
        metavar="SIZE",
        help="Refuse input that is larger unpacked.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else."),
)


def _study_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.group()
def study() -> None:
    """Write, check and show study files."""


@study.command(
    epilog="""\b
Examples:
  coalsim study new mine
  coalsim study new mine --from locks_by_cpus
"""
)
@click.argument("name")
@click.option(
    "--from", "source", default="", metavar="STUDY", help="Begin with this study, a name or a file."
)
def new(name: str, source: str) -> None:
    """Write NAME.toml, a study that can be run and changed; a file that is there is left alone."""
    from coalsim.guarded import clean
    from coalsim.sweep.new_study import new_study_text, study_path, write_new_study

    path = study_path(name)
    write_new_study(path, new_study_text(path.stem, source))
    click.echo(f"{clean(str(path))} is written; next: coalsim study check {clean(str(path))}")


@study.command()
@click.argument("name", metavar="STUDY")
@_study_options
def check(
    name: str,
    settings: tuple[str, ...],
    axes: tuple[str, ...],
    quick: bool,
    trust: bool,
    max_input: int,
    as_json: bool,
) -> None:
    """Say every mistake in STUDY, or how much there is to run."""
    from coalsim.sweep.outline import outline_document, size_lines

    variants = (False, True) if _has_quick(name) and not quick else (quick,)
    problems: dict[Problem, None] = {}  # an ordered set: what is wrong with both is told once
    sweeps = []
    for variant in variants:
        try:
            sweeps.append(_opened(name, settings, axes, variant, trust, max_input))
        except ConfigError as error:
            problems.update(dict.fromkeys(error.problems))
    if problems:
        raise ConfigError(sorted(problems, key=lambda problem: (problem.where, problem.line)))
    sweep = sweeps[0]
    if as_json:
        _print_json(outline_document(sweep))
        return
    _print(size_lines(sweep))


@study.command()
@click.argument("name", metavar="STUDY")
@_study_options
def show(
    name: str,
    settings: tuple[str, ...],
    axes: tuple[str, ...],
    quick: bool,
    trust: bool,
    max_input: int,
    as_json: bool,
) -> None:
    """Show what STUDY asks, its axes and its points; with --json also the resolved configuration."""
    from coalsim.study.document import find_study
    from coalsim.sweep.outline import comment_words, outline_document, outline_lines

    sweep = _opened(name, settings, axes, quick, trust, max_input)
    if as_json:
        _print_json(outline_document(sweep))
        return
    _print(outline_lines(sweep, comment_words(find_study(name).read_text(encoding="utf-8"))))


@study.command()
def schema() -> None:
    """Print the JSON Schema of study files, for editors."""
    click.echo(
        (Path(__file__).parents[1] / "data" / "study.schema.json").read_text(encoding="utf-8"), nl=False
    )


def _has_quick(name: str) -> bool:
    """Whether a study has a short variant."""
    from coalsim.study.document import find_study, read_document

    return isinstance(read_document(find_study(name)).raw.get("quick"), dict)


def _opened(
    name: str, settings: tuple[str, ...], axes: tuple[str, ...], quick: bool, trust: bool, max_input: int
) -> "SweepSpec":
    from coalsim.study.overrides import parse_settings
    from coalsim.sweep.sweep_spec import open_sweep

    return open_sweep(
        name, parse_settings(settings), axes=axes, quick=quick, trust=trust, max_input=max_input
    )


def _print(lines: Iterable[str]) -> None:
    click.echo("\n".join(lines))


def _print_json(document: dict[str, object]) -> None:
    import json

    click.echo(json.dumps(document, indent=1, sort_keys=True))
