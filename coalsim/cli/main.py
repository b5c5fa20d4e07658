"""The `coalsim` command: which subcommands there are, and what becomes of errors.

A subcommand is the click command of the same name in `coalsim.cli.NAME`, imported
when somebody asks for it, so that `coalsim --help` needs neither numpy nor SimPy.

Exit codes: 0 done; 2 bad input, one line per mistake; 3 the simulated kernel
broke; 4 some points failed; 130 interrupted; 1 the reader of our output went away.
"""

import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module

import click

from coalsim import __version__
from coalsim.errors import ConfigError, KernelBug
from coalsim.guarded import clean

BAD_INPUT = 2
KERNEL_BROKE = 3
INTERRUPTED = 130
READER_GONE = 1  # click's own choice, where it notices first

COMMANDS = {
    "run": "Run a study: a file, or one that coalsim brings along.",
    "merge": "Put the parts of a study together that --shard made.",
    "study": "Write, check and show study files.",
    "replay": "Run a recorded kernel trace on a machine and kernel of choice.",
    "report": "Write a study's results as one HTML file, or as figures.",
    "export": "Write a study's runs as a table: CSV, JSON Lines, Parquet.",
    "locks": "Show what the locks of a run cost.",
    "mem": "Show what the allocators of a run did.",
    "leaks": "Show what a run allocated and did not free.",
    "where": "Show where each CPU's time went.",
    "whatif": "Predict what a change would gain, and which numbers matter.",
    "compare": "Say what differs between results, with intervals.",
    "timeline": "Write down what every CPU did when, for a viewer.",
    "validate": "Compare predictions with published measurements.",
    "machines": "List, show and import machines.",
    "plugins": "List the classes that a study can name, and check your own.",
}
"""Subcommands in the order of their help, each with its one line of it."""

EXAMPLES = """\b
Examples:
  coalsim run lock_loop --set kernel.lock=ticket --set workload.cpus=16
  coalsim replay trace.perf.txt.gz --machine icx2 --out result
  coalsim locks result
  coalsim validate page_bulk
"""


class LazyGroup(click.Group):
    """A group that imports a subcommand when it is called, and not for its own help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all subcommands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The subcommand of that name, imported now."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(import_module(f"coalsim.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The subcommand that the arguments name, or an error that names a likely one."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = get_close_matches(args[0], COMMANDS, n=1)
            remedy = f"did you mean {near[0]}?" if near else f"use one of {', '.join(COMMANDS)}"
            raise click.UsageError(f"no such command: {args[0]}; {remedy}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="coalsim %(version)s")
def coalsim() -> None:
    """Simulate a kernel's memory manager on a big machine, and show what its locks cost."""


def run(arguments: Sequence[str]) -> int:
    """Run a command line and say with which code to exit."""
    try:
        code = coalsim.main(list(arguments), prog_name="coalsim", standalone_mode=False)
        sys.stdout.flush()
    except ConfigError as error:
        return _report([clean(str(problem)) for problem in error.problems], BAD_INPUT)
    except KernelBug as error:
        return _report([str(error)], KERNEL_BROKE)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "coalsim"
        return _report([f"{error.format_message()} (see `{command} --help`)"], BAD_INPUT)
    except click.ClickException as error:
        return _report([error.format_message()], BAD_INPUT)
    except (KeyboardInterrupt, click.Abort):
        return _report(["interrupted"], INTERRUPTED)
    except BrokenPipeError:
        # The interpreter flushes stdout once more when it ends; let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    except OSError as error:
        if error.filename is None:
            raise
        return _report([f"{error.filename}: {error.strerror}; check the path and its permissions"], BAD_INPUT)
    return code if isinstance(code, int) else 0


def _report(mistakes: Sequence[str], code: int) -> int:
    """Write one line per mistake; a report of several lines keeps its lines."""
    for mistake in mistakes:
        first, *more = mistake.split("\n")
        click.echo(f"error: {clean(first)}", err=True)
        for line in more:
            click.echo(clean(line), err=True)
    return code
