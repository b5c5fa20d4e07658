"""Ratios of one run: coalsim and a plain program in turn, and a table of them at the end.

Machines are shared and noisy, so both sides run alternately in one process and the
median of the pairwise ratios counts; pytest-benchmark records coalsim's own times.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import pytest

ROUNDS = 5


@dataclass
class Line:
    """One line of the table: what was compared, the ratio, what it must be and should be."""

    what: str
    value: float
    unit: str
    bound: str
    detail: str


_lines: list[Line] = []


@dataclass
class Versus:
    """Compares two ways of doing one piece of work."""

    benchmark: object

    def ratio(
        self,
        what: str,
        ours: Callable[[], tuple[float, int]],
        plain: Callable[[], tuple[float, int]],
        bound: str,
        detail: str = "",
    ) -> float:
        """How many times the plain program's operations per second ours does.

        Args:
            what: for the table.
            ours, plain: each runs once and returns (host seconds, operations).
            bound: what is asked of the ratio, in words.
            detail: more for the table.
        """
        pairs = []
        for _ in range(ROUNDS):
            own_s, own_ops = ours()
            plain_s, plain_ops = plain()
            pairs.append((own_ops / own_s, plain_ops / plain_s))
        found = median(own / other for own, other in pairs)
        speeds = (
            f"{median(own for own, _ in pairs):,.0f} against {median(other for _, other in pairs):,.0f} ops/s"
        )
        _lines.append(Line(what, found, "x", bound, f"{speeds}{'; ' + detail if detail else ''}"))
        self.record(found)
        return found

    def value(self, what: str, value: float, unit: str, bound: str, detail: str = "") -> None:
        """A figure that is not a ratio."""
        _lines.append(Line(what, value, unit, bound, detail))
        self.record(value)

    def record(self, value: float) -> None:
        """Keep the figure in pytest-benchmark's own report."""
        self.benchmark.extra_info["figure"] = value  # type: ignore[attr-defined]


@pytest.fixture
def versus(benchmark: object) -> Versus:
    """A comparison whose figures are printed at the end of the run."""
    return Versus(benchmark)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table of all figures."""
    if _lines:
        terminalreporter.section("coalsim against plain SimPy, medians of one run")
        for line in _lines:
            terminalreporter.write_line(
                f"{line.what:<46} {line.value:>10,.2f} {line.unit:<8} {line.bound:<22} {line.detail}"
            )
