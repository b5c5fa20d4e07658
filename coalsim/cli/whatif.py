"""`coalsim whatif`: what a change would gain, which numbers matter, which bottleneck comes next."""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coalsim.cli.options import CommonOptions, common_options

if TYPE_CHECKING:
    from coalsim.analysis.cases import Cases
    from coalsim.analysis.what_if import Prediction

PAIRS = 5
"""Replications where the study has one: a single pair has no interval."""
EXAMPLES = """\b
Examples:
  coalsim whatif page_bulk --what-if lock:zone=0.5 --what-if ipi=0
  coalsim whatif lock_loop --next
  coalsim whatif page_bulk --elasticities --only 'cost:pcp_*' --jobs 2
"""


def _step(ctx: click.Context, param: click.Parameter, value: str) -> Decimal:
    """An option's callback that reads 10% or 0.1."""
    try:
        step = Decimal(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
    except InvalidOperation:
        step = Decimal(0)
    if not Decimal("0.0001") <= step <= 1:
        raise click.BadParameter("give a part between 0.01% and 100%, such as 10%", ctx, param)
    return step


@click.command(epilog=EXAMPLES)
@click.argument("study")
@common_options
@click.option(
    "--next", "bottlenecks", is_flag=True, help="Take the largest causes away, one after the other."
)
@click.option(
    "--steps", type=click.IntRange(1, 12), default=3, show_default=True, help="How many, for --next."
)
@click.option(
    "--elasticities", is_flag=True, help="Which numbers of machine and kernel matter, and how much."
)
@click.option("--only", default="", metavar="PATTERN", help="Elasticities of these alone: 'cost:pcp_*'.")
@click.option(
    "--step", default="10%", show_default=True, callback=_step, help="How far a number is moved up and down."
)
@click.option("--metric", default="throughput.ops_per_s", show_default=True, help="Of the result document.")
@click.option("--replications", type=click.IntRange(1, 1000), metavar="N", help="Pairs of runs.")
@click.option("--jobs", type=click.IntRange(0, 1024), default=0, metavar="N", help="Worker processes.")
def whatif(
    common: CommonOptions,
    study: str,
    bottlenecks: bool,
    steps: int,
    elasticities: bool,
    only: str,
    step: Decimal,
    metric: str,
    replications: int | None,
    jobs: int,
) -> int:
    """Predict what changes of STUDY would gain, from pairs of runs with the same random numbers.

    With --what-if, each change by itself and all of them together; a prediction that contradicts
    a bound or a law is marked.  Without it, --next is what is asked.  With --out, base and changed
    runs are written as result folders, for `coalsim compare`.
    """
    import sys

    from coalsim.analysis import what_if_text as texts
    from coalsim.analysis.cases import Cases
    from coalsim.analysis.elasticities import elasticities as measured
    from coalsim.analysis.what_if import next_bottlenecks
    from coalsim.cli.output import prepare
    from coalsim.cli.sweeping import ending_in_order
    from coalsim.observe.document import dump
    from coalsim.observe.tables import Style
    from coalsim.study.overrides import Setting, parse_settings
    from coalsim.study.what_if import parse_options
    from coalsim.sweep.pools import Pool, Serial
    from coalsim.sweep.supervisor import LocalPool
    from coalsim.sweep.sweep_spec import open_sweep

    prepare(common)
    asked = parse_options(common.what_if)
    named = [
        Setting(key=key, value=value, option=f"{option} {value}")
        for key, value, option in (
            ("machine", common.machine, "--machine"),
            ("run.seed", common.seed, "--seed"),
        )
        if value is not None
    ]
    spec = open_sweep(
        study,
        (*named, *parse_settings(common.settings)),
        trust=common.trust,
        max_input=common.max_input,
    )
    if len(spec.points) > 1:
        keys = ", ".join(key for axis in spec.axes for key in axis.keys)
        raise click.UsageError(
            f"a study of {len(spec.points)} points; choose one with --set for each of {keys}"
        )
    pairs = replications or (spec.replications if spec.replications > 1 else PAIRS)
    style = Style.of(sys.stdout)
    document: dict[str, object] = {"study": spec.base.name, "metric": metric, "pairs": pairs}
    told: list[str] = []
    pool: Pool = LocalPool(jobs, None) if jobs else Serial()
    with ending_in_order(), pool:
        cases = Cases(spec, spec.points[0], pool, _progress(common))
        if asked:
            found = _predictions(cases, asked, pairs, metric)
            document["predictions"] = texts.predictions_document(found, metric)
            told.append(texts.predictions_text(found, metric, style))
            if common.out is not None:
                _write_folders(common.out, cases, found, pairs)
        if elasticities:
            tornado = measured(cases, pairs, metric=metric, only=only, step=step)
            document["elasticities"] = texts.tornado_document(tornado)
            told.append(texts.tornado_text(tornado, style))
        if bottlenecks or not (asked or elasticities):
            ordered = next_bottlenecks(cases, steps, pairs, metric)
            document["bottlenecks"] = texts.steps_document(ordered, metric)
            told.append(texts.steps_text(ordered, metric, style))
    click.echo(dump(document) if common.as_json else "\n".join(told), nl=False)
    if common.out is not None:
        from coalsim.cli.output import write_text

        write_text(common.out, "whatif.json", dump(document))
        write_text(common.out, "whatif.txt", "\n".join(told))
    return 0


def _predictions(cases: "Cases", asked: dict[str, object], pairs: int, metric: str) -> "list[Prediction]":
    """Each change by itself, and all together where there are several."""
    from coalsim.analysis.what_if import predict
    from coalsim.study.what_if import WhatIf, parse_what_if

    whole = parse_what_if({target: str(factor) for target, factor in asked.items()}, [])
    single = [WhatIf(changes=(change,)) for change in whole.changes]
    wanted = [*single, whole] if len(single) > 1 else single
    for change in wanted:
        cases.check(cases.with_changes(change))
    cases.run(
        (case, number)
        for number in range(pairs)
        for case in (cases.base, *(cases.with_changes(change) for change in wanted))
    )
    return [predict(cases, change, pairs, metric) for change in wanted]


def _write_folders(folder: Path, cases: "Cases", found: "list[Prediction]", pairs: int) -> None:
    """DIR/base and DIR/changed-1 ...: results as `coalsim run --out` writes them."""
    from coalsim.cli.output import write_folder
    from coalsim.observe.means import mean_document
    from coalsim.study.intervals import document_intervals

    named = [("base", cases.base)]
    named += [(f"changed-{at}", cases.with_changes(one.what_if)) for at, one in enumerate(found, 1)]
    for name, what_if in named:
        runs = cases.documents(what_if, pairs)
        result = mean_document(runs) if len(runs) > 1 else runs[0]
        if len(runs) > 1:
            result["intervals"] = document_intervals(runs)
        result["config"] = {"study": {"name": cases.original.spec.name}, **cases.config_of(what_if)}
        run = result["config"]["run"]
        assert isinstance(run, dict), "a resolved configuration has a table run"
        result["config"]["run"] = {**run, "replications": pairs}
        write_folder(folder / name, result)


def _progress(common: CommonOptions) -> "Callable[[int, int], None] | None":
    """What tells on stderr how many runs are done; None if nobody wants to know."""
    from coalsim.cli.progress import style_of

    style = style_of(common)
    if style == "none":
        return None

    def tell(done: int, total: int) -> None:
        text = f"{done}/{total} runs"
        is_line = style == "line"
        end = done == total
        click.echo(f"\r{text}\x1b[K" if is_line else text, err=True, nl=not is_line or end)

    return tell
