"""leaking_driver: it loses what it says, where it says, and a scan finds just that."""

import pytest
from load_bench import MODES, build, run, system, text
from pydantic import ValidationError

from coalsim.observe.document import ResultDocument
from coalsim.study.debug_loads import LeakingDriverParameters

SCAN = {
    "leak_tracking": "on",
    "kmemleak": "on",
    "kmemleak_first": "100us",
    "kmemleak_scan": "200us",
    "kmemleak_min_age": "50us",
}
LOAD = {"cpus": 3, "requests": 700, "leak": 40, "think": "exp:500ns", "linger": "500us", "depth": 20}


def driven(
    switches: dict[str, str], mode: dict[str, bool] | None = None, **changes: object
) -> ResultDocument:
    """The document of a run to its end."""
    booted = system("coal", "linux-6.18", switches, mode=mode)
    return run(booted, build("leaking_driver", {**LOAD, **changes}))


def test_scans_find_what_was_lost_and_nothing_else() -> None:
    """By call site, and only at the leaky ones."""
    document = driven(SCAN)
    planted = {row["site"]: row["objects"] for row in document["planted_leaks"]}
    assert sum(planted.values()) >= 10
    assert set(planted) == {"leaking_driver:0", "leaking_driver:1"}
    found = [row["site"] for row in document["leaks"]["kmemleak"]["unreferenced"]]
    assert {site: found.count(site) for site in found} == planted
    held = {row["site"]: row["live"] for row in document["leaks"]["sites"] if row["live"]}
    assert held == planted, "everything else has been freed"


def test_a_driver_that_frees_everything_is_not_accused() -> None:
    """No leak, no report, nothing left."""
    document = driven(SCAN, leak=0)
    assert document["planted_leaks"] == []
    assert document["leaks"]["kmemleak"]["unreferenced"] == []
    assert document["leaks"]["live"] == 0
    assert document["leaks"]["kmemleak"]["scans"] > 3


def test_all_paths_of_the_engine_give_the_same_bytes() -> None:
    """With the scan, with tracking alone, and with neither."""
    for switches in (SCAN, {"leak_tracking": "on"}, {}):
        reference = text(driven(switches, MODES[0], requests=300))
        for mode in MODES[1:]:
            assert text(driven(switches, mode, requests=300)) == reference


def test_it_loses_the_same_without_anybody_watching() -> None:
    """What is lost is the load's own choice."""
    assert driven({})["planted_leaks"] == driven(SCAN)["planted_leaks"]
    assert "leaks" not in driven({})


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"size": 16}, "at least 24"),
        ({"sites": 2, "leaky": 3}, "at most 2"),
        ({"leak": 1001}, "less than or equal to 1000"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(keys: dict[str, object], says: str) -> None:
    """With what would."""
    with pytest.raises(ValidationError, match=says):
        LeakingDriverParameters.model_validate(keys)
