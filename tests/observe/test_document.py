"""The result document: one text for one result, and its schema."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coalsim.observe.document import ResultDocument, dump, latency_entry, nanoseconds
from coalsim.observe.histogram import Histogram
from coalsim.observe.schema import Fault, faults


def test_the_text_is_sorted_and_ends_in_one_newline(document: ResultDocument) -> None:
    """Whatever order the keys were set in, the bytes are the same."""
    turned_round = dict(reversed(document.items()))

    text = dump(document)

    assert dump(turned_round) == text
    assert text.endswith("}\n")
    assert not text.endswith("\n\n")
    assert json.loads(text) == document
    assert list(json.loads(text)) == sorted(document)


def test_what_is_not_a_number_is_not_written() -> None:
    """JSON has no NaN, and readers choke on it."""
    with pytest.raises(ValueError, match="JSON"):
        dump({"mean": math.nan})


@given(st.integers(0, 10**15))
def test_ns_lose_no_picosecond(ps: int) -> None:
    """Up to a thousand simulated seconds the number of ns gives the ps back."""
    assert round(nanoseconds(ps) * 1000) == ps


def test_whole_ns_are_written_without_a_point() -> None:
    """56,300 ps is 56.3 and 56,000 ps is 56."""
    assert (repr(nanoseconds(56_300)), repr(nanoseconds(56_000))) == ("56.3", "56")


def test_latency_comes_from_the_histogram_in_ns() -> None:
    """Mean, least and largest exactly, percentiles to three digits."""
    histogram = Histogram()
    for ps in range(1000, 101_000, 1000):
        histogram.record(ps)

    entry = latency_entry(histogram)

    assert (entry["count"], entry["mean"], entry["min"], entry["max"]) == (100, 50.5, 1, 100)
    assert entry["p50"] == pytest.approx(50, rel=1e-3)
    assert entry["p99"] == pytest.approx(99, rel=1e-3)


def test_the_made_up_document_has_the_shape_of_the_schema(document: ResultDocument) -> None:
    """And keys that the schema does not know are let through."""
    assert [*faults({**document, "a_later_key": 1}, ResultDocument)] == []


def test_every_mistake_is_found_with_its_path(document: ResultDocument) -> None:
    """Missing, of another kind, true for 1, a number for a text, in nested rows too."""
    wrong = json.loads(dump(document))
    del wrong["seed"]
    wrong["events"] = True
    wrong["locks"][2]["name"] = 7
    wrong["time"]["3"] = []
    wrong["memory"]["numa"] = {}
    wrong["memory"]["buddyinfo"][0]["free_blocks"][4] = "many"
    wrong["trace"]["lost"] = None

    assert sorted(fault.key + ": " + fault.message for fault in faults(wrong, ResultDocument)) == [
        "events: should be a number, not True",
        "locks[2].name: should be a text, not 7",
        "memory.buddyinfo[0].free_blocks[4]: should be a number, not a text",
        "memory.numa: should be a list, not an object",
        "seed: missing",
        "time.3: should be an object, not a list",
        "trace.lost: should be a number, not null",
    ]
    assert Fault(("locks", 3, "name"), "").key == "locks[3].name"
