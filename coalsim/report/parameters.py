"""What was run, as tables: every number of machine and kernel with its source, every other key.

The results hold values; sources stand in the machine and the profile, which are read again.  If one cannot
be had any more (a machine file that was moved, say), the values are shown and the reason is told.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from coalsim.errors import ConfigError
from coalsim.profiles.profile import COST_PREFIX, load_profile
from coalsim.profiles.reading import cost_from_text
from coalsim.provenance import Sourced
from coalsim.report.numbers import quantity_text
from coalsim.stats.batches import batch_means
from coalsim.study.document import show
from coalsim.sweep.results import StudyResults
from coalsim.topology.machine import Machine
from coalsim.topology.presets import load_machine
from coalsim.units import SEC, format_time, parse_time

MOST_MACHINES = 4


@dataclass(frozen=True, kw_only=True)
class ParameterRow:
    """One number: its dotted key, its value and unit as text, status and source."""

    key: str
    value: str
    unit: str
    status: str
    source: str


@dataclass(frozen=True, kw_only=True)
class MachineShown:
    """A machine of the study; `machine` is None where it cannot be read, and `why` says so."""

    name: str
    machine: Machine | None
    rows: tuple[ParameterRow, ...]
    why: str


def machines_of(results: StudyResults) -> tuple[tuple[MachineShown, ...], int]:
    """The machines of a study's points, each once, and how many more there are."""
    found: dict[str, Mapping[str, object]] = {}
    for point in results.points:
        table = _table(point.config, "machine")
        found.setdefault(repr(sorted(table.items())), table)
    tables = [*found.values()]
    return tuple(_machine(table) for table in tables[:MOST_MACHINES]), max(0, len(tables) - MOST_MACHINES)


def _machine(table: Mapping[str, object]) -> MachineShown:
    name = str(table.get("name", ""))
    changes = {key: show(value) for key, value in table.items() if key != "name"}
    try:
        machine = load_machine(name).with_overrides(changes)
    except ConfigError as error:
        return MachineShown(name=name, machine=None, rows=(), why=str(error.problems[0]))
    rows = tuple(_row(f"machine.{key}", number) for key, number in machine.parameters())
    return MachineShown(name=name, machine=machine, rows=rows, why="")


def _row(key: str, number: Sourced) -> ParameterRow:
    value = f"{number.value:f}"
    return ParameterRow(key=key, value=value, unit=number.unit, status=number.status, source=number.source)


def kernel_costs(results: StudyResults) -> tuple[ParameterRow, ...]:
    """Every cost of the kernel that the study's own configuration has."""
    kernel = _table(results.config, "kernel")
    try:
        known = dict(load_profile(str(kernel.get("profile", ""))).parameters())
    except ConfigError:
        known = {}
    return tuple(_cost(key, show(text), known.get(key)) for key, text in _table(kernel, "cost").items())


def _cost(key: str, text: str, known: Sourced | None) -> ParameterRow:
    """A cost as it was run, with the profile's source if it is the profile's value."""
    name = f"kernel.{COST_PREFIX}{key}"
    try:
        used = cost_from_text(name, text)
    except ConfigError:
        return ParameterRow(key=name, value=text, unit="", status="", source="")
    is_known = known is not None and (known.value, known.unit) == (used.value, used.unit)
    return _row(name, known if known is not None and is_known else used)


def profile_of(results: StudyResults) -> str:
    """The name of the kernel's profile; empty if the results do not tell it."""
    return str(_table(results.config, "kernel").get("profile", ""))


def setup_lines(results: StudyResults) -> list[tuple[str, str]]:
    """What was run, in words: kernel, load, length, replications, seeds."""
    load, run = _table(results.config, "workload"), _table(results.config, "run")
    lines = []
    if profile := profile_of(results):
        lines.append(("Kernel", f"{profile}{_title_of(profile)}"))
    if kind := str(load.get("kind", "")):
        lines.append(("Load", kind))
    if run:
        duration = _time(run.get("duration"))
        lasts = "until the load ends" if duration == "0 ps" else duration
        lines.append(("Length", f"warm-up {_time(run.get('warmup'))}, then {lasts}, in simulated time"))
    lines += [("Warm-up", told) for told in _warm_ups(results)]
    lines += [("Batches", told) for told in _batches(results)]
    seeds = list(dict.fromkeys(doc["seed"] for point in results.points for doc in point.runs))
    if seeds:
        told = str(seeds[0]) if len(seeds) == 1 else f"{min(seeds)} to {max(seeds)}"
        fewest = min(len(point.runs) for point in results.points)
        most = max(len(point.runs) for point in results.points)
        each = str(most) if fewest == most else f"{fewest} to {most}"
        lines.append(("Runs of a point", f"{each}; seeds {told}, the same at every point"))
    return lines


def _warm_ups(results: StudyResults) -> Iterator[str]:
    """What was cut where that was found by itself."""
    cuts = [doc["warmup"]["cut_ps"] for point in results.points for doc in point.runs if "warmup" in doc]
    if cuts:
        ends = dict.fromkeys((format_time(min(cuts)), format_time(max(cuts))))
        yield f"found by MSER-5 in a pilot run of each point: {' to '.join(ends)}"


def _batches(results: StudyResults) -> Iterator[str]:
    """The means of batches in single runs, and how many pass the check of their correlation."""
    runs = [doc["batches"] for point in results.points for doc in point.runs if "batches" in doc]
    if not runs:
        return
    found = [batch_means(batches["ops"]) for batches in runs]
    passed = sum(means.is_independent for means in found)
    yield (
        f"{len(runs[0]['ops'])} in each run; their means pass the check for independence, joined where need "
        f"be, in {passed} of {len(runs)} runs"
    )
    if len(runs) == 1 and found[0].interval.half_width is not None:
        scale = SEC / runs[0]["length_ps"]
        mean, half = found[0].interval.mean * scale, found[0].interval.half_width * scale
        yield f"throughput {quantity_text(mean, '1/s')} ± {quantity_text(half, '1/s', 2)} by its batches"


def _title_of(profile: str) -> str:
    try:
        return f": {load_profile(profile).title}"
    except ConfigError:
        return ""


def _time(value: object) -> str:
    """A time of a configuration for people; what is no time stays as it is."""
    try:
        return format_time(parse_time(str(value)))
    except ValueError:
        return "0 ps" if value in (0, "0", None) else str(value)


def other_keys(config: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """Every key but those of machine, costs and words, with its value as text."""
    parts = ("kernel", "workload", "engine", "run", "inject")
    return tuple(
        pair for part in parts for pair in _flat(part, _table(config, part)) if COST_PREFIX not in pair[0]
    )


def _flat(above: str, table: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{above}.{key}", value)
        elif value is not None:
            yield f"{above}.{key}", _listed(value)


def _listed(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_listed(item) for item in value)
    return show(value)


def _table(config: Mapping[str, object], key: str) -> Mapping[str, object]:
    table = config.get(key, {})
    return table if isinstance(table, Mapping) else {}
