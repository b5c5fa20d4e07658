"""The reference of the command line: every command with its arguments and options, from click."""

import re
from collections.abc import Iterator

import click
from markdown import cell, code, table

from coalsim.cli.main import coalsim

_EXAMPLES = re.compile(r"\x08?\s*Examples:\n(.*)", re.DOTALL)


def commands_page() -> str:
    """One section for each command, in the order of `coalsim --help`."""
    lines = [
        "# Commands",
        "",
        cell(coalsim.help or ""),
        "",
        "Exit codes: 0 done; 2 bad input, one line for each mistake; 3 the simulated kernel broke; 4 some",
        "points failed; 130 interrupted.",
    ]
    context = click.Context(coalsim, info_name="coalsim")
    for name in coalsim.list_commands(context):
        command = coalsim.get_command(context, name)
        assert command is not None
        for path, part in _with_parts(f"coalsim {name}", command):
            lines += _section(path, part)
    return "\n".join(lines) + "\n"


def _with_parts(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, part in command.commands.items():
            yield from _with_parts(f"{path} {name}", part)


def _section(path: str, command: click.Command) -> list[str]:
    arguments = [parameter for parameter in command.params if isinstance(parameter, click.Argument)]
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    usage = " ".join(
        [path, *(_argument(argument) for argument in arguments), *(["[OPTIONS]"] if options else [])]
    )
    if isinstance(command, click.Group):
        usage += " COMMAND"
    told = "\n\n".join(cell(part) for part in (command.help or "").replace("\x08", "").split("\n\n"))
    lines = ["", f"{'#' * (1 + path.count(' '))} {path}", "", "```text", usage, "```", "", told]
    if options:
        rows = [
            (
                ", ".join(code(_spelled(option, name)) for name in (*option.opts, *option.secondary_opts)),
                cell(_meaning(option)),
            )
            for option in options
        ]
        lines += ["", table(("option", "meaning"), rows)]
    if examples := _EXAMPLES.search(command.epilog or ""):
        shown = [line.strip() for line in examples[1].splitlines() if line.strip()]
        lines += ["", "```text", *shown, "```"]
    return lines


def _argument(argument: click.Argument) -> str:
    name = argument.human_readable_name.upper()
    several = "..." if argument.nargs == -1 else ""
    return f"{name}{several}" if argument.required else f"[{name}]{several}"


def _spelled(option: click.Option, name: str) -> str:
    if option.is_flag or option.count:
        return name
    return f"{name} {option.metavar or _kind(option)}"


def _kind(option: click.Option) -> str:
    if isinstance(option.type, click.Choice):
        return "|".join(map(str, option.type.choices))
    return (option.type.name or "text").upper()


def _meaning(option: click.Option) -> str:
    default = option.default
    shown = option.show_default and default not in (None, False, ()) and not callable(default)
    return f"{option.help or ''}{f' [default: {default}]' if shown else ''}"
