"""Planned times away of processors."""

from coalsim.cpus.absence import Absences
from coalsim.cpus.vcpu import NEVER, Stolen
from coalsim.units import CpuId


def test_windows_are_joined_and_found_by_time() -> None:
    """Windows that touch or overlap are one; the one asked for ends after the time given."""
    absences = Absences({CpuId(1): [(500, 600), (100, 200), (200, 300), (250, 280)]})
    one = CpuId(1)
    assert absences.stolen_after(one, 0) == Stolen(100, 300)
    assert absences.stolen_after(one, 299) == Stolen(100, 300)
    assert absences.stolen_after(one, 300) == Stolen(500, 600)
    assert absences.stolen_after(one, 600) == NEVER
    assert absences.stolen_after(CpuId(0), 0) == NEVER


def test_what_a_processor_loses_is_the_sum_of_its_windows() -> None:
    """Time away within a span, and the first moment from which it runs."""
    absences = Absences({CpuId(0): [(100, 200), (400, 450)]})
    assert absences.time_away(CpuId(0), 0, 1000) == 150
    assert absences.time_away(CpuId(0), 150, 420) == 70
    assert absences.runs_from(CpuId(0), 150) == 200
    assert absences.runs(CpuId(0), 200)
    assert absences.steals
