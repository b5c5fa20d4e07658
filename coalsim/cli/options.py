"""Options that mean the same in every command that simulates.

`common_options` puts them on a command and hands them over as one value, in the
parameter `common`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, Literal, ParamSpec, TypeVar, cast

import click

from coalsim.guarded import DEFAULT_MAX_INPUT
from coalsim.units import format_size, parse_size

if TYPE_CHECKING:
    from coalsim.study.overrides import Setting

P = ParamSpec("P")
R = TypeVar("R")
Progress = Literal["auto", "plain", "json", "none"]


def size_of(ctx: click.Context, param: click.Parameter, value: str) -> int:
    """An option's callback that reads a size such as 2GiB."""
    try:
        return parse_size(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


@dataclass(frozen=True, kw_only=True)
class CommonOptions:
    """What the common options say; None where nothing was said."""

    machine: str | None
    seed: int | None
    settings: tuple[str, ...]
    out: Path | None
    as_json: bool
    quiet: bool
    max_input: int
    trust: bool
    progress: Progress
    what_if: tuple[str, ...] = ()

    def overrides(self) -> "tuple[Setting, ...]":
        """All that the options change in a study; ``--set`` goes over ``--machine`` and ``--seed``.

        Raises:
            ConfigError: a ``--set`` that is not KEY=VALUE.
        """
        from coalsim.study.overrides import Setting, parse_settings

        named: list[Setting] = []
        if self.machine is not None:
            named.append(Setting(key="machine", value=self.machine, option=f"--machine {self.machine}"))
        if self.seed is not None:
            named.append(Setting(key="run.seed", value=self.seed, option=f"--seed {self.seed}"))
        if self.what_if:
            from coalsim.study.what_if import SECTION, parse_options

            told = " ".join(f"--what-if {text}" for text in self.what_if)
            named.append(Setting(key=SECTION, value=parse_options(self.what_if), option=told))
        return (*named, *parse_settings(self.settings))


_OPTIONS = (
    click.option(
        "--machine",
        metavar="NAME",
        help='A preset, a file (machine, lstopo, numactl), or a string such as "pack:2 core:8 pu:2".',
    ),
    click.option("--seed", type=int, metavar="N", help="Seed of all random numbers."),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="KEY=VALUE",
        help="Change any key: kernel.lock=mcs, workload.cpus=8, kernel.cost.pcp_pop=12ns. Repeatable.",
    ),
    click.option(
        "--what-if",
        "what_if",
        multiple=True,
        metavar="TARGET=FACTOR",
        help="Scale a cost: lock:zone=0.5, ipi=0.5, cost:pcp_*=0, machine:dram.local=2. Repeatable.",
    ),
    click.option(
        "--out",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="Write configuration and results into this folder.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else."),
    click.option("-q", "--quiet", is_flag=True, help="Print no progress and no notes."),
    click.option(
        "--max-input",
        default=format_size(DEFAULT_MAX_INPUT),
        show_default=True,
        callback=size_of,
        metavar="SIZE",
        help="Refuse input that is larger unpacked.",
    ),
    click.option("--trust", is_flag=True, help="Let the study file load classes from files and modules."),
    click.option(
        "--progress",
        type=click.Choice(["auto", "plain", "json", "none"]),
        default="auto",
        show_default=True,
        help="How to report progress on stderr; auto is silent when that is no terminal.",
    ),
)


def common_options(
    command: Callable[Concatenate[CommonOptions, P], R],
) -> Callable[..., R]:
    """Give a command the common options, as its first argument."""

    @wraps(command)
    def with_common(*args: P.args, **kwargs: P.kwargs) -> R:
        common = CommonOptions(
            machine=cast("str | None", kwargs.pop("machine")),
            seed=cast("int | None", kwargs.pop("seed")),
            settings=cast("tuple[str, ...]", kwargs.pop("settings")),
            out=cast("Path | None", kwargs.pop("out")),
            as_json=bool(kwargs.pop("as_json")),
            quiet=bool(kwargs.pop("quiet")),
            max_input=cast("int", kwargs.pop("max_input")),
            trust=bool(kwargs.pop("trust")),
            progress=cast("Progress", kwargs.pop("progress")),
            what_if=cast("tuple[str, ...]", kwargs.pop("what_if")),
        )
        return command(common, *args, **kwargs)

    wrapped: Callable[..., R] = with_common
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped
