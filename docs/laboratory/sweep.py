"""Run the points of `docs/laboratory.md`: seven questions about shootdowns, and what the model answers.

    nice python docs/laboratory/sweep.py [--jobs N] [--only QUESTION]

Each question is a study in `experiments/`; its points go to a file of that name beside this one, a row
per point as soon as it is there.  Points that the file has are left out, so a sweep that was stopped goes
on.  Then `docs/laboratory.md` is written: the words of `words.md` beside this file, with every
`{{question.table}}` in them replaced by that table.
"""

import argparse
import csv
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from questions import QUESTIONS, Cell, Question, Row, Settings, Table

from coalsim.study.overrides import Setting
from coalsim.study.planning import open_study
from coalsim.study.run import run_study

HERE = Path(__file__).parent
PAGE = HERE.parent / "laboratory.md"
COLUMNS = (
    "command",
    "ops_per_s",
    "latency_ns",
    "shootdown_ns",
    "faults_per_s",
    "call_ns",
    "refill_ns",
    "fault_ns",
    "left_to_host",
    "interrupts",
    "broken",
    "operation",
    "time",
)
SHOWN = 8
"""Causes of an operation, and of all time, that a row keeps."""


def command(study: str, settings: Settings) -> str:
    """What a reader types for a point; names it too."""
    return " ".join([f"coalsim run {study}", *(f"--set {key}={value}" for key, value in settings.items())])


def measure(job: tuple[str, Settings, str]) -> dict[str, str]:
    """One point, as a row of the file."""
    study, settings, operation = job
    values = [Setting(key=key, value=value, option="sweep") for key, value in settings.items()]
    result = run_study(open_study(study, values))
    operations, phases = result["operations"], result.get("phases", {})
    counts, flushes = result["vm"]["shootdowns"], result.get("shootdown_ns", {})
    assert result["oracle"]["broken"] == 0, command(study, settings)
    pft = dict(result).get("pft")  # a load's own figures are not in the document's type
    entry = operations.get(operation)
    count = entry["latency_ns"]["count"] if entry else 0
    spent: dict[str, float] = {}
    for causes in result["time"].values():
        if set(causes) - {"idle", "tick", "handler:tlb flush", "steal"}:  # it ran something
            for cause, time in causes.items():
                spent[cause] = spent.get(cause, 0) + time

    def phase(name: str) -> float:
        return phases[name]["latency_ns"]["mean"] if name in phases else 0

    return {
        "command": command(study, settings),
        "ops_per_s": f"{result['throughput']['ops_per_s']:.0f}",
        "latency_ns": f"{result['latency_ns']['mean']:.1f}",
        "shootdown_ns": f"{flushes['mean']:.1f}" if flushes.get("count") else "",
        "faults_per_s": f"{pft['faults_per_s']:.0f}" if isinstance(pft, dict) else "",
        "call_ns": f"{phase('call'):.1f}",
        "refill_ns": f"{phase('refill'):.1f}",
        "fault_ns": f"{operations['fault']['latency_ns']['mean']:.1f}" if "fault" in operations else "",
        "left_to_host": f"{counts['left_to_host'] / max(1, counts['remote']):.3f}",
        "interrupts": f"{counts['interrupts'] / max(1, counts['remote']):.2f}",
        "broken": str(result["oracle"]["broken"]),
        "operation": largest({cause: time / count for cause, time in entry["by_cause_ns"].items()})
        if entry and count
        else "",
        "time": largest({cause: 100 * time / sum(spent.values()) for cause, time in spent.items()}),
    }


def largest(causes: Mapping[str, float]) -> str:
    """The largest causes as text: `name=number` with semicolons between."""
    most = sorted(causes.items(), key=lambda item: (-item[1], item[0]))[:SHOWN]
    return ";".join(f"{cause}={amount:.1f}" for cause, amount in most)


# -- tables ------------------------------------------------------------------------------------


def printed(question: Question, table: Table, rows: Mapping[str, Row]) -> str:
    """A table as the page shows it."""

    def at(row: Settings, column: Settings) -> Row:
        return rows[command(table.study or question.study, {**table.base, **row, **column})]

    heads = [table.corner, *table.columns]
    lines = [
        [name, *(table.cell(at(row, column)) for column in table.columns.values())]
        for name, row in table.rows.items()
    ]
    if table.saved:
        whole, part = (table.rows[name] for name in table.saved)
        lines.append(
            [
                f"{table.saved[1]} saves",
                *(
                    _saved(table.cell, at(whole, column), at(part, column))
                    for column in table.columns.values()
                ),
            ]
        )
    return _markdown(heads, lines)


def _saved(cell: Cell, whole: Row, part: Row) -> str:
    before, after = float(cell(whole)), float(cell(part))
    return f"{100 * (1 - after / before):.0f} %"


def causes_printed(question: Question, table: Table, rows: Mapping[str, Row]) -> str:
    """Causes down, points across; those that are among the largest of any point."""
    found: dict[str, dict[str, str]] = {}
    for name, settings in table.columns.items():
        row = rows[command(table.study or question.study, {**table.base, **settings})]
        pairs = [text.partition("=") for text in row[table.causes].split(";") if text]
        found[name] = {cause: amount for cause, _, amount in pairs}
    biggest: dict[str, float] = {}
    for causes in found.values():
        for cause, amount in list(causes.items())[: table.shown]:
            biggest[cause] = max(biggest.get(cause, 0), float(amount))
    order = sorted(biggest, key=lambda cause: (-biggest[cause], cause))
    lines = [[f"`{cause}`", *(_whole(causes.get(cause)) for causes in found.values())] for cause in order]
    return _markdown([table.corner, *found], lines)


def _whole(amount: str | None) -> str:
    return "" if amount is None else f"{float(amount):,.0f}"


def _markdown(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in (heads, ["---"] * len(heads), *lines))


# -- the sweep -----------------------------------------------------------------------------------


def points(question: Question) -> list[tuple[str, Settings, str]]:
    """All points of a question's tables, each once."""
    found: dict[str, tuple[str, Settings, str]] = {}
    for table in question.tables.values():
        study = table.study or question.study
        for row in table.rows.values() or [{}]:
            for column in table.columns.values():
                settings = {**table.base, **row, **column}
                found[command(study, settings)] = (study, settings, question.operation)
    return list(found.values())


def kept(question: Question) -> dict[str, Row]:
    """The points that are in a question's file, by command."""
    file = HERE / f"{question.study}.csv"
    if not file.exists():
        return {}
    with file.open(newline="") as lines:
        return {row["command"]: row for row in csv.DictReader(lines)}


def page(rows: Mapping[str, Mapping[str, Row]]) -> str:
    """The words with the tables in their places."""
    text = (HERE / "words.md").read_text(encoding="utf-8")
    for question in QUESTIONS:
        for name, table in question.tables.items():
            show = causes_printed if table.causes else printed
            place = "{{" + f"{question.study}.{name}" + "}}"
            assert place in text, f"words.md does not show {place}"
            text = text.replace(place, show(question, table, rows[question.study]))
    assert "{{" not in text, "words.md shows a table that there is not"
    return text


def run_missing(question: Question, jobs: int) -> dict[str, Row]:
    """The rows of a question, those that were not there measured now."""
    rows = kept(question)
    todo = [job for job in points(question) if command(job[0], job[1]) not in rows]
    is_new = not rows
    with (HERE / f"{question.study}.csv").open("a", newline="") as out, ProcessPoolExecutor(jobs) as pool:
        writer = csv.DictWriter(out, COLUMNS)
        if is_new:
            writer.writeheader()
        for number, row in enumerate(pool.map(measure, todo), start=1):
            writer.writerow(row)
            out.flush()
            rows[row["command"]] = row
            sys.stderr.write(f"{question.study}: {number} of {len(todo)}\n")
    return rows


def main() -> None:
    """Run what is missing, and write the page if everything is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    rows = {
        question.study: run_missing(question, asked.jobs)
        for question in QUESTIONS
        if asked.only in ("", question.study)
    }
    if not asked.only:
        PAGE.write_text(page(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
