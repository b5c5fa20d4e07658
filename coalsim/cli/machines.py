"""`coalsim machines`: the presets, what is in a machine, and machines from files.

Every command prints text for people, or with `--json` one document and nothing else.
The topology is imported inside the commands, so that `--help` stays fast.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from coalsim.topology.document import Json
    from coalsim.topology.machine import Machine

_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else.")
_set = click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Replace a number: machine.clock_ghz=2.2."
)


@click.group()
def machines() -> None:
    """List, show and import machines."""


@machines.command("list")
@_json
def list_machines(as_json: bool) -> None:
    """List the machines that come with coalsim."""
    from coalsim.topology.document import machine_summary
    from coalsim.topology.presets import load_preset, preset_names

    found = [load_preset(name) for name in preset_names()]
    if as_json:
        _print_json({"machines": [machine_summary(machine) for machine in found]})
        return
    click.echo(
        f"{'name':<13}{'sockets':>8}{'cores':>7}{'CPUs':>6}{'nodes':>7}{'memory':>10}{'GHz':>6}  what it is"
    )
    for machine in found:
        click.echo(_row(machine))
    click.echo(
        "\nAlso a machine: a file (.toml, lstopo .xml, numactl -H text, a copy of /sys as directory or tar)"
    )
    click.echo('or an hwloc synthetic string such as "pack:2 numa:2 core:8 pu:2".')


def _row(machine: "Machine") -> str:
    from coalsim.units import format_size

    return (
        f"{machine.name:<13}{machine.num_sockets:>8}{machine.num_cores:>7}{machine.num_cpus:>6}"
        f"{machine.num_nodes:>7}{format_size(machine.memory):>10}{machine.clock_ghz.value:>6}"
        f"  {machine.title}"
    )


@machines.command()
@click.argument("name")
@click.option("--svg", "svg_file", metavar="FILE", help="Also draw the machine into an SVG file.")
@click.option("--max-input", default="2GiB", metavar="SIZE", help="Unpacked bytes to read at most.")
@_set
@_json
def show(name: str, svg_file: str | None, max_input: str, settings: tuple[str, ...], as_json: bool) -> None:
    """Show a machine: a preset, a file, or an hwloc synthetic string."""
    from coalsim.topology.presets import load_machine

    machine = load_machine(name, _size(max_input)).with_overrides(_settings(settings))
    if svg_file:
        from coalsim.topology.draw_svg import machine_svg

        _write(svg_file, machine_svg(machine))
    _show(machine, as_json, f"drawn into {svg_file}" if svg_file else "")


@machines.command("import", short_help="Import a machine from lstopo, numactl or /sys.")
@click.argument("file")
@click.option("--c2c", metavar="CSV", help="Take line hand-over from a core-to-core latency matrix.")
@click.option(
    "--slit-latencies", is_flag=True, help="Make latencies between nodes from firmware's distances."
)
@click.option("--name", help="What to call the machine.")
@click.option("--out", metavar="FILE.toml", help="Write a machine file, to be used as --machine FILE.toml.")
@click.option("--max-input", default="2GiB", metavar="SIZE", help="Unpacked bytes to read at most.")
@_set
@_json
def import_file(
    file: str,
    c2c: str | None,
    slit_latencies: bool,
    name: str | None,
    out: str | None,
    max_input: str,
    settings: tuple[str, ...],
    as_json: bool,
) -> None:
    """Import a machine from lstopo XML, numactl -H text, a copy of /sys, or a synthetic string."""
    from coalsim.topology.c2c import with_core_to_core
    from coalsim.topology.presets import load_machine
    from coalsim.topology.slit_latency import with_slit_latencies

    limit = _size(max_input)
    machine = load_machine(file, limit)
    if slit_latencies:
        machine = with_slit_latencies(machine)
    if c2c:
        machine = with_core_to_core(machine, Path(c2c), limit)
    machine = _renamed(machine.with_overrides(_settings(settings)), name)
    if out:
        _write_machine(out, machine)
    _show(machine, as_json, f"written to {out}" if out else "")


def _show(machine: "Machine", as_json: bool, done: str) -> None:
    from coalsim.topology.document import machine_document
    from coalsim.topology.draw import machine_text, provenance_text

    if as_json:
        _print_json(machine_document(machine))
        return
    lines = [*machine_text(machine), "", *provenance_text(machine)]
    click.echo("\n".join([*lines, "", done] if done else lines))


def _renamed(machine: "Machine", name: str | None) -> "Machine":
    from dataclasses import replace

    from coalsim.guarded import clean

    return replace(machine, name=clean(name)) if name else machine


def _write_machine(out: str, machine: "Machine") -> None:
    from coalsim.errors import ConfigError, Problem
    from coalsim.guarded import clean
    from coalsim.topology.machine_writer import machine_file_text

    if not out.endswith(".toml"):
        message, remedy = "not the name of a machine file", "let it end in .toml"
        raise ConfigError([Problem(key="--out", value=clean(out), message=message, remedy=remedy)])
    _write(out, machine_file_text(machine))


def _write(file: str, text: str) -> None:
    from coalsim.errors import ConfigError, Problem
    from coalsim.guarded import clean

    try:
        Path(file).write_text(text, encoding="utf-8")
    except (OSError, ValueError) as failure:
        why = failure.strerror if isinstance(failure, OSError) else failure
        message = f"cannot be written ({why})"
        remedy = "name a file in a folder that exists"
        raise ConfigError([Problem(where=clean(file), message=clean(message), remedy=remedy)]) from None


def _size(text: str) -> int:
    from coalsim.errors import ConfigError, Problem
    from coalsim.guarded import clean
    from coalsim.units import parse_size

    try:
        return parse_size(text)
    except ValueError as refused:
        message, _, remedy = clean(str(refused)).partition("; ")
        problem = Problem(key="--max-input", message=message, remedy=remedy or "write it like 2GiB")
        raise ConfigError([problem]) from None


def _settings(settings: Sequence[str]) -> dict[str, str]:
    """``machine.KEY=VALUE``, with or without the first word."""
    from coalsim.errors import ConfigError, Problem
    from coalsim.guarded import clean

    values: dict[str, str] = {}
    problems = []
    for setting in settings:
        key, equals, value = setting.partition("=")
        if equals:
            values[clean(key.removeprefix("machine."))] = value
        else:
            message, remedy = "no value", "write --set KEY=VALUE"
            problems.append(Problem(key="--set", value=clean(setting), message=message, remedy=remedy))
    if problems:
        raise ConfigError(problems)
    return values


def _print_json(document: "Json") -> None:
    import json

    click.echo(json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False))
