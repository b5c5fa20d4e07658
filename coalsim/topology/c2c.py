"""Core-to-core latency matrices (CSV) made into hand-over costs by class.

A cell is nanoseconds, one way, between two logical CPUs; the diagonal is ignored
and an empty cell means the same as its mirror image.  Each class of distance takes
the median of its pairs: the classes are tight in all published matrices, and six
cited numbers can be reasoned about where thousands cannot.
Source: the format of N. Viennot, core-to-core-latency, GitHub, 2022.
"""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from statistics import median

from coalsim.errors import InputError, Problem
from coalsim.guarded import DEFAULT_MAX_INPUT, GuardedLines, clean, refusal
from coalsim.provenance import Sourced
from coalsim.topology.check import MAX_CPUS
from coalsim.topology.distance import Distance
from coalsim.topology.machine import Machine
from coalsim.topology.overrides import occupancy_as_transfer
from coalsim.units import CpuId

Matrix = Sequence[Sequence[Decimal | None]]
MAX_NS = Decimal(1_000_000)
MAX_PROBLEMS = 20


def with_core_to_core(machine: Machine, path: Path, max_input: int = DEFAULT_MAX_INPUT) -> Machine:
    """The machine with the hand-over latencies that a matrix of its CPUs shows.

    Occupancies that only repeated the old latencies follow.

    Raises:
        InputError: not such a matrix, or one of another number of CPUs.
    """
    matrix = read_matrix(path, max_input)
    if len(matrix) != machine.num_cpus:
        raise refusal(
            path,
            f"{len(matrix)} CPUs in the matrix, {machine.num_cpus} in {machine.name}",
            "measure the machine itself, all its CPUs in their order",
        )
    medians = class_medians(machine, matrix)
    transfer, occupancy = dict(machine.line_transfer), dict(machine.line_occupancy)
    for distance, (value, pairs) in medians.items():
        old = transfer[distance]
        source = f"median of {pairs} pairs, core-to-core matrix {clean(path.name)}"
        transfer[distance] = Sourced(value=value, unit="ns", source=source, status="derived")
        if occupancy[distance] == occupancy_as_transfer(old):
            occupancy[distance] = occupancy_as_transfer(transfer[distance])
    return replace(machine, line_transfer=transfer, line_occupancy=occupancy)


def class_medians(machine: Machine, matrix: Matrix) -> dict[Distance, tuple[Decimal, int]]:
    """Median latency and number of pairs of each class, near to far."""
    cells: dict[Distance, list[Decimal]] = {}
    for a in range(len(matrix)):
        for b in range(a):
            both = [cell for cell in (matrix[a][b], matrix[b][a]) if cell is not None]
            if both:
                cells.setdefault(machine.distance(CpuId(a), CpuId(b)), []).append(
                    sum(both, Decimal(0)) / len(both)
                )
    return {distance: (median(cells[distance]), len(cells[distance])) for distance in sorted(cells)}


def read_matrix(path: Path, max_input: int = DEFAULT_MAX_INPUT) -> Matrix:
    """A square matrix of latencies in ns; None where a cell is empty.

    Raises:
        InputError: not such a file; every row that is wrong, up to a limit.
    """
    rows: list[list[Decimal | None]] = []
    problems: list[Problem] = []
    for number, line in GuardedLines(path, max_input=max_input):
        if not line.strip():
            continue
        row: list[Decimal | None] = []
        for cell in line.split(","):
            try:
                row.append(_latency(cell.strip()))
            except ValueError as refused:
                message, remedy = str(refused), "give ns between each two CPUs, separated by commas"
                value = clean(cell.strip())[:40]
                problems.append(
                    Problem(where=clean(str(path)), line=number, value=value, message=message, remedy=remedy)
                )
                break
        rows.append(row)
        if len(rows) > MAX_CPUS or len(problems) >= MAX_PROBLEMS:
            break
    for index, row in enumerate(rows):
        if not problems and len(row) != len(rows):
            message = f"row {index + 1} has {len(row)} cells in a matrix of {len(rows)} rows"
            problems.append(Problem(where=clean(str(path)), message=message, remedy="give a square matrix"))
    if not rows:
        problems.append(Problem(where=clean(str(path)), message="the file is empty", remedy="give a matrix"))
    if problems:
        raise InputError(problems)
    return rows


def _latency(cell: str) -> Decimal | None:
    if not cell:
        return None
    try:
        value = Decimal(cell)
    except InvalidOperation:
        raise ValueError("not a number") from None
    if not value.is_finite() or not 0 <= value <= MAX_NS:
        raise ValueError("not a latency in ns")
    return value
