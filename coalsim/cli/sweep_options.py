"""Options of `coalsim run` that make a study a sweep, or say who does its runs.

Without any of them, a study without axes and stopping rule is one run as ever.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar, cast

import click

if TYPE_CHECKING:
    from coalsim.sweep.pools import Pool
    from coalsim.sweep.shards import Shard

OWN_CODE_TIMEOUT = 600.0
"""Seconds that a run may take where nothing else is said and a user's class, which may hang, takes part."""

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """What was asked for; None, "" and () where nothing was."""

    jobs: int | None
    dask: str
    dask_local: int | None
    tls_ca: str
    tls_cert: str
    tls_key: str
    shard: str
    quick: bool
    axes: tuple[str, ...]
    timeout: float | None

    @property
    def asks_for_a_sweep(self) -> bool:
        """Whether a study is run as a sweep, though it may have a single point."""
        chosen = (self.dask, self.shard, self.axes, self.timeout is not None, self.jobs is not None)
        return any(chosen) or self.dask_local is not None

    def check(self, out: Path | None) -> None:
        """Refuse options that contradict each other.

        Raises:
            click.UsageError: they do.
        """
        pools = [
            name
            for name, given in (
                ("--jobs", self.jobs is not None),
                ("--dask", bool(self.dask)),
                ("--dask-local", self.dask_local is not None),
            )
            if given
        ]
        if len(pools) > 1:
            raise click.UsageError(f"{' and '.join(pools)}: each says who does the runs; keep one of them")
        if self.timeout is not None and self.jobs == 0:
            raise click.UsageError(
                "--timeout with --jobs 0: a run in this process cannot be ended; use --jobs 1"
            )
        if (self.tls_ca or self.tls_cert or self.tls_key) and not self.dask:
            raise click.UsageError("--dask-tls-...: give the address of the scheduler with --dask too")
        if self.shard and out is None:
            raise click.UsageError("--shard: name the folder of its file with --out")

    def parsed_shard(self) -> "Shard | None":
        """The part that was asked for.

        Raises:
            click.BadParameter: it is none.
        """
        from coalsim.sweep.shards import parse_shard

        try:
            return parse_shard(self.shard) if self.shard else None
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--shard") from None

    def pool(self, *, has_own_code: bool) -> "Pool":
        """Who does the runs; those of a user's classes have a limit in any case."""
        from coalsim.sweep.pools import Serial
        from coalsim.sweep.supervisor import LocalPool

        timeout = OWN_CODE_TIMEOUT if self.timeout is None and has_own_code else self.timeout
        if self.dask or self.dask_local is not None:
            from coalsim.sweep.dask_pool import DaskPool, Tls

            tls = Tls(ca=self.tls_ca, cert=self.tls_cert, key=self.tls_key)
            return DaskPool(self.dask, local=self.dask_local or 0, tls=tls, timeout=timeout)
        if self.jobs == 0:
            return Serial()
        return LocalPool(self.jobs or 1, timeout)


_OPTIONS = (
    click.option(
        "--jobs",
        type=click.IntRange(0, 1024),
        metavar="N",
        help="Worker processes on this host; 0 runs everything in this one, for debuggers.",
    ),
    click.option(
        "--axis",
        "axes",
        multiple=True,
        metavar="KEY=V1,V2",
        help="Vary a key: workload.cpus=1,4,16. Repeatable; replaces the study's own axis of that key.",
    ),
    click.option("--quick", is_flag=True, help="The study's short variant, to see whether it works."),
    click.option(
        "--timeout",
        type=click.FloatRange(0, min_open=True),
        metavar="SECONDS",
        help="End a run that takes longer on the host; the study goes on.  "
        f"[default: {OWN_CODE_TIMEOUT:g} with classes of your own, else none]",
    ),
    click.option("--shard", default="", metavar="I/N", help="Do part I of N into its own file in DIR."),
    click.option("--dask", default="", metavar="ADDRESS", help="Run on a Dask cluster: tcp://host:8786."),
    click.option(
        "--dask-local",
        type=click.IntRange(1, 1024),
        metavar="N",
        help="Run on a Dask cluster of N processes on this host.",
    ),
    click.option("--dask-tls-ca", "tls_ca", default="", metavar="FILE", help="Authority for Dask."),
    click.option("--dask-tls-cert", "tls_cert", default="", metavar="FILE", help="Our certificate for Dask."),
    click.option("--dask-tls-key", "tls_key", default="", metavar="FILE", help="The key of the certificate."),
)


def sweep_options(
    command: Callable[Concatenate[SweepOptions, P], R],
) -> Callable[..., R]:
    """Give a command the options of sweeps, as its first argument."""

    @wraps(command)
    def with_options(*args: P.args, **kwargs: P.kwargs) -> R:
        options = SweepOptions(
            jobs=cast("int | None", kwargs.pop("jobs")),
            dask=cast("str", kwargs.pop("dask")),
            dask_local=cast("int | None", kwargs.pop("dask_local")),
            tls_ca=cast("str", kwargs.pop("tls_ca")),
            tls_cert=cast("str", kwargs.pop("tls_cert")),
            tls_key=cast("str", kwargs.pop("tls_key")),
            shard=cast("str", kwargs.pop("shard")),
            quick=bool(kwargs.pop("quick")),
            axes=cast("tuple[str, ...]", kwargs.pop("axes")),
            timeout=cast("float | None", kwargs.pop("timeout")),
        )
        return command(options, *args, **kwargs)

    wrapped: Callable[..., R] = with_options
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped
