"""The summary's part about virtual memory."""

from coalsim.observe.document import ResultDocument
from coalsim.observe.summary import summary
from coalsim.observe.tables import Style
from coalsim.observe.vm_document import FindingEntry

BROKEN: FindingEntry = {
    "time_ns": 1,
    "cpu": 3,
    "kind": "promise",
    "space": 1,
    "page": 4096,
    "frame": 7,
    "write": True,
    "text": "CPU 3 wrote through a dead translation",
}


def row_below(lines: list[str], heading: str) -> dict[str, str]:
    """The first row of the table whose heading begins so, by column."""
    at = next(number for number, line in enumerate(lines) if line.startswith(heading))
    return dict(zip(lines[at].split(), lines[at + 1].split(), strict=True))


def test_operations_shootdowns_and_tlbs_come_after_the_throughput(vm_document: ResultDocument) -> None:
    """Each table says what the document says, and all stand before the locks."""
    lines = summary(vm_document).splitlines()
    starts = [line.split(" ")[0] for line in lines]
    order = [starts.index(word) for word in ("all", "operation", "policy", "tlb", "page", "oracle:", "lock")]
    assert order == sorted(order)

    shootdowns, latency = vm_document["vm"]["shootdowns"], vm_document["shootdown_ns"]
    row = row_below(lines, "policy ")
    assert row["policy"] == vm_document["vm"]["policy"]
    for name in ("flushes", "local", "remote", "targets", "interrupts", "joined", "ranged", "full"):
        assert row[name] == str(shootdowns[name]), name
    assert row["up-to-date"] == str(shootdowns["up_to_date"])
    assert (row["p50-ns"], row["p99-ns"]) == (f"{latency['p50']:.1f}", f"{latency['p99']:.1f}")
    assert shootdowns["remote"] > 0

    tlb = next(line for line in lines if line.startswith("all CPUs")).removeprefix("all CPUs").split()
    counts = vm_document["vm"]["tlb"]
    assert tlb[:3] == [str(counts[name]) for name in ("hits_l1", "hits_l2", "misses")]
    assert tlb[4] == str(vm_document["vm"]["walks"])


def test_a_policy_that_defers_or_broadcasts_has_columns_for_it(vm_document: ResultDocument) -> None:
    """Which other policies have not."""
    assert "deferred" not in summary(vm_document)
    vm_document["vm"]["shootdowns"]["deferred"] = 17
    assert row_below(summary(vm_document).splitlines(), "policy ")["deferred"] == "17"


def test_a_run_without_shootdowns_has_no_table_of_them(vm_document: ResultDocument) -> None:
    """Its operations and TLBs are still shown."""
    vm_document["vm"]["shootdowns"]["flushes"] = 0
    del vm_document["shootdown_ns"]
    text = summary(vm_document)
    assert "shootdowns (" not in text
    assert "TLBs (" in text
    assert "\n\n\n" not in text


def _grouped_counts(line: str) -> list[tuple[str, int]]:
    """The counts of a line, by name."""
    found = []
    for part in line.split(": ")[-1].split(", "):
        name, _, number = part.rpartition(" ")
        found.append((name, int(number.replace(",", ""))))
    return found


def test_what_became_of_the_faults_adds_up(vm_document: ResultDocument) -> None:
    """Tables, zapped pages and forks are no faults and stand in a line of their own."""
    faults = vm_document["vm"]["faults"]
    lines = summary(vm_document).splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("page faults: "))
    parts = dict(_grouped_counts(lines[at]))
    assert sum(parts.values()) == faults["faults"] > 0
    assert parts["anonymous"] == faults["anonymous"]
    besides = dict(_grouped_counts(lines[at + 1]))
    assert lines[at + 1].startswith("besides: ")
    assert besides["pages zapped"] == faults["pages_zapped"]
    assert not besides.keys() & parts.keys()


def test_faults_at_the_edges_of_the_measured_time_are_told(vm_document: ResultDocument) -> None:
    """One that is not over is in no part yet; one that began before is in a part already."""
    faults = vm_document["vm"]["faults"]
    faults["faults"] += 3
    assert "not over, or out of memory 3\n" in summary(vm_document)
    faults["faults"] -= 4
    assert "begun before the measured time 1\n" in summary(vm_document)


def test_titles_say_what_the_columns_are(vm_document: ResultDocument) -> None:
    """How handlers add up, and that a switch-flush is not always part of a switch."""
    text = " ".join(summary(vm_document).split())
    assert "ranged + full + up-to-date = targets + flushes" in text
    assert "when a CPU that idled with it went on" in text


def test_the_oracle_says_what_it_checked_and_found(vm_document: ResultDocument) -> None:
    """Stale uses within the contract are counted, and nothing more."""
    vm_document["oracle"] = {
        "checked": 12345, "stale": 0, "broken": 0, "worst_stale_ns": 0, "findings": [],
    }  # fmt: skip
    said = "oracle: checked 12,345 uses: 0 stale within the policy's contract, none broken\n"
    assert said in summary(vm_document)

    vm_document["oracle"] |= {"stale": 3, "worst_stale_ns": 1500, "findings": [{**BROKEN, "kind": "stale"}]}
    text = summary(vm_document)
    assert "3 stale within the policy's contract (at most 1.5 us after the end), none broken\n" in text
    assert BROKEN["text"] not in text


def test_every_broken_promise_is_told_in_full(vm_document: ResultDocument) -> None:
    """With its run, if there were several; those beyond the list are counted."""
    vm_document["oracle"] |= {
        "broken": 5,
        "findings": [BROKEN, {**BROKEN, "kind": "reuse", "run": 2, "text": "evil\x1b[31m"}],
    }
    lines = summary(vm_document).splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("oracle:"))

    assert lines[at].endswith("5 BROKEN PROMISES")
    assert lines[at + 1 : at + 4] == [
        "  used after the promise: CPU 3 wrote through a dead translation",
        "  run 2: used after its frame was given out again: evil",
        "  3 more are only counted",
    ]


def test_a_run_without_an_oracle_says_so(vm_document: ResultDocument) -> None:
    """Silence would look like a clean bill."""
    del vm_document["oracle"]
    assert "oracle: off; nobody checked" in summary(vm_document, Style(unicode=False))
