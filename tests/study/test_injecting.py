"""[inject]: rules in words, what they do to a run, and what is refused."""

import io
import json
from contextlib import redirect_stderr, redirect_stdout

import pytest

from coalsim.cli.main import run

Document = dict[str, object]


def simulate(*arguments: str) -> tuple[int, Document, str]:
    """Exit code, result document (empty if there is none) and what went to stderr."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run(["run", *arguments, "--json", "-q"])
    return code, json.loads(out.getvalue() or "{}"), err.getvalue()


def settings(**keys: str) -> list[str]:
    """`--set` for each; a double underscore stands for the dot."""
    return [word for key, value in keys.items() for word in ("--set", f"{key.replace('__', '.')}={value}")]


PAIRS = ("kmalloc_pairs", *settings(workload__cpus="4", run__duration="50us", run__warmup="0"))
FAULTS = (
    "page_fault1",
    *settings(workload__cpus="4", workload__mode="threads", workload__mib="1", workload__rounds="1"),
    *settings(run__duration="0", run__warmup="0"),
)
SHARED = ("munmap_shared", *settings(workload__cpus="4", workload__rounds="10"))
SHARED = (*SHARED, *settings(run__duration="0", run__warmup="0"))


def test_every_hundredth_object_is_refused() -> None:
    """As many requests get nothing as the rule says, and they are counted by call site."""
    code, document, _ = simulate(*PAIRS, *settings(inject__fail="objects cache=kmalloc-64 every=100"))
    assert code == 0
    refused = document["injected"]["refused"]["0"]  # type: ignore[index]
    (number,) = refused.values()
    asked = document["throughput"]["ops"] + number  # type: ignore[index]
    assert number == asked // 100 or number == (asked + 4) // 100  # a few are under way at the end


def test_a_rule_that_fits_no_cache_changes_nothing() -> None:
    """The same document as without it, but for the rule."""
    _, plain, _ = simulate(*PAIRS)
    _, injected, _ = simulate(*PAIRS, *settings(inject__fail="objects cache=nothing*"))
    assert injected["throughput"] == plain["throughput"]
    assert injected["time"] == plain["time"]
    assert injected["locks"] == plain["locks"]
    (warning,) = injected["warnings"]  # type: ignore[misc]
    assert warning == 'nothing in the run fitted the rule inject.fail "objects cache=nothing*"'


def test_a_delay_of_a_lock_that_is_not_there_is_told_with_the_nearest_name() -> None:
    """The rule is named; one that fitted something is not, whether it was taken or not."""
    rules = '["lock mmap_lok by=1us", "lock mmap_lock by=1us nth=100000"]'
    _, document, _ = simulate(*FAULTS, *settings(inject__delay=rules))
    (warning,) = document["warnings"]  # type: ignore[misc]
    assert 'inject.delay "lock mmap_lok by=1us"' in warning
    assert "did you mean mmap_lock?" in warning


def test_the_fifth_fault_gets_no_page() -> None:
    """One request of one thread is refused: that thread is killed, and its process lives on."""
    code, document, _ = simulate(*FAULTS, *settings(inject__fail="pages site=fault nth=5"))
    assert code == 0
    assert document["injected"]["refused"] == {"0": {"fault": 1}}  # type: ignore[index]
    assert len(document["vm"]["signals"]) == 1  # type: ignore[index]


def test_interrupts_that_are_late_make_each_shootdown_longer() -> None:
    """Every sending is late by what the rule says, and a munmap that waits for it takes that much longer."""
    _, plain, _ = simulate(*SHARED)
    _, late, _ = simulate(*SHARED, *settings(inject__delay="ipi by=5us"))
    assert late["injected"]["ipi_delays"] == plain["shootdown_ns"]["count"]  # type: ignore[index]
    longer = late["shootdown_ns"]["mean"] - plain["shootdown_ns"]["mean"]  # type: ignore[index]
    assert longer == pytest.approx(5000, rel=0.01)


def test_a_lock_is_held_for_longer() -> None:
    """Each writer of mmap_lock holds it for the injected time as well, under a cause of its own."""
    _, plain, _ = simulate(*FAULTS)
    _, slow, _ = simulate(*FAULTS, *settings(inject__delay="lock mmap_lock site=mmap by=7us"))
    number = slow["injected"]["lock_delays"]  # type: ignore[index]
    assert number == 4
    spent = [causes.get("injected:lock delay", 0) for causes in slow["time"].values()]  # type: ignore[attr-defined]
    assert sum(spent) == number * 7_000_000
    assert slow["sim_time_ps"] > plain["sim_time_ps"]  # type: ignore[operator]


def test_a_cpu_that_is_away_keeps_the_others_waiting() -> None:
    """The initiator waits for an answer of a processor that does not run for a while."""
    _, plain, _ = simulate(*SHARED)
    _, away, _ = simulate(*SHARED, *settings(inject__away="cpu 1 from=60us for=300us"))
    assert away["latency_ns"]["max"] > 200_000 > plain["latency_ns"]["max"]  # type: ignore[index]


def test_pages_come_from_elsewhere_while_a_node_is_away() -> None:
    """A load on the first node gets its pages from another one, from the beginning of the run."""
    code, away, _ = simulate(*FAULTS, *settings(inject__away="node 0 from=0us for=1s"))
    assert code == 0
    first, second = away["memory"]["numa"]  # type: ignore[index]
    assert second["numa_miss"] == first["numa_foreign"] > 200


RULES = {  # and the study with which it is fast
    ("inject__fail", "pages site=fault every=40 times=3"): FAULTS,
    ("inject__delay", "lock ptlock by=2us every=5"): SHARED,
    ("inject__delay", "lock zone* by=3us share=30%"): FAULTS,
    ("inject__delay", "ipi by=3us every=2"): SHARED,
    ("inject__away", "cpu 2 from=30us for=80us"): SHARED,
    ("inject__away", "node 0 from=50us for=1ms"): FAULTS,
}
RULES_AND_STUDIES = pytest.mark.parametrize(
    ("rule", "study"),
    [
        pytest.param(
            rule,
            study,
            marks=() if study is fast else pytest.mark.slow,
            id=f"{study[0]}-{rule[1]}",
        )
        for study in (FAULTS, SHARED)
        for rule, fast in RULES.items()
    ],
)
REFERENCE = {"engine__run_ahead": "0", "engine__fast_paths": "0", "engine__tick_events": "1"}


def check_modes(rule: tuple[str, str], study: tuple[str, ...], *modes: dict[str, str]) -> None:
    """One run in the quick mode, and one in each of these."""
    injected = (*study, *settings(**{rule[0]: rule[1]}))
    documents = []
    for mode in ({}, *modes):
        code, document, _ = simulate(*injected, *settings(**mode))
        assert code == 0
        for key in ("host_s", "events", "config"):
            del document[key]
        documents.append(document)
    assert all(document == documents[0] for document in documents)


@RULES_AND_STUDIES
def test_the_reference_agrees(rule: tuple[str, str], study: tuple[str, ...]) -> None:
    """Injected faults happen at the same chances whether the engine takes short cuts or not."""
    check_modes(rule, study, REFERENCE)


@pytest.mark.slow
@RULES_AND_STUDIES
def test_all_modes_agree(rule: tuple[str, str], study: tuple[str, ...]) -> None:
    """So they do with each short cut left out by itself."""
    check_modes(rule, study, *({key: value} for key, value in REFERENCE.items()))


@pytest.mark.parametrize(
    ("key", "rule", "says"),
    [
        ("inject__fail", "page nth=1", "no rule begins with page here; begin with pages or objects"),
        ("inject__fail", "pages nth=0", "nth=0 is not a number from 1 up"),
        ("inject__fail", "pages share=2", "share=2 is not a share such as 1% or 0.01"),
        ("inject__fail", "pages cache=x", "cache=x is no word of such a rule"),
        ("inject__fail", "objects cpu=4000", "has no cpu 4000"),
        ("inject__delay", "lock by=1us", "lock needs a name"),
        ("inject__delay", "ipi", "by is missing"),
        ("inject__delay", "ipi by=3", "by=3 is not a time such as 10us"),
        ("inject__away", "node 9 from=1us for=1us", "has no node 9; use 0 to 1"),
        ("inject__away", "cpu 1 from=1us", "for is missing"),
    ],
)
def test_what_is_no_rule_is_refused_with_its_place(key: str, rule: str, says: str) -> None:
    """Exit code 2, and a line that names the option, the key, the rule and what to do."""
    code, document, error = simulate(*FAULTS, *settings(**{key: rule}))
    assert code == 2
    assert not document
    assert says in error
    assert key.replace("__", ".") in error


def test_all_mistakes_are_told_at_once() -> None:
    """Three wrong words in two rules are three lines."""
    rules = settings(inject__fail='["pages nth=x foo=1", "objects every=0"]')
    code, _, error = simulate(*FAULTS, *rules)
    assert code == 2
    assert len(error.splitlines()) == 3


def test_a_machine_whose_host_takes_cpus_away_refuses_planned_absences() -> None:
    """Both at once have no meaning; the line says what to change."""
    code, _, error = simulate(
        *SHARED,
        *settings(
            machine="kvm80", machine__guest__preempted_share="0.1", inject__away="cpu 0 from=0s for=1us"
        ),
    )
    assert code == 2
    assert "inject.away" in error
