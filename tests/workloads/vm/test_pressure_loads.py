"""The loads for bad days: what they do to a small machine, read off their results."""

from functools import cache

import pytest

import coalsim
from coalsim.errors import ConfigError
from coalsim.mm.cache.counts import FileCounts
from coalsim.mm.virt.counts import VmCounts
from coalsim.observe.document import ResultDocument

Settings = dict[str, str]


def number(document: ResultDocument, *path: str) -> float:
    """A number in the document, zero where there is none."""
    found: object = document
    for key in path:
        assert isinstance(found, dict)
        found = found.get(key, 0)
    assert isinstance(found, int | float)
    return found


SCAN = {"run.warmup": "0", "run.duration": "2ms", "machine.memory": "4MiB", "workload.mib": "12"}


@cache
def scanned() -> ResultDocument:
    """A short run of readers that push each other's pages out."""
    return coalsim.run("reclaim_flushes", SCAN)


@pytest.mark.slow
def test_one_flush_for_many_pages_is_fewer_flushes() -> None:
    """Batches of 32 send a fraction of the flushes that single pages need, for more pages reclaimed."""
    many = scanned()
    one = coalsim.run("reclaim_flushes", {**SCAN, "kernel.flush_batch": "1"})
    flushes = [number(document, "vm", "shootdowns", "flushes") for document in (many, one)]
    pages = [
        number(document, "pressure", "counts", "pgsteal_kswapd")
        + number(document, "pressure", "counts", "pgsteal_direct")
        for document in (many, one)
    ]
    assert pages[0] > 500
    assert flushes[0] / pages[0] < 0.5 < flushes[1] / pages[1]
    assert number(many, "throughput", "ops") > number(one, "throughput", "ops")
    assert not many["oracle"]["broken"]
    assert not one["oracle"]["broken"]


def test_reclaim_keeps_free_pages_between_the_marks() -> None:
    """In a steady load that fills memory with pages of a file, zones end above min and below twice high."""
    document = scanned()
    free = sum(
        count << order
        for row in document["memory"]["buddyinfo"]
        for order, count in enumerate(row["free_blocks"])
    )
    assert 0 < free < 4 * 1024  # of 2,048 pages; nothing died
    assert not number(document, "pressure", "counts", "oom_kill")


def test_stalls_for_pages_of_processes_are_those_of_the_movable_zone() -> None:
    """All that stalls here are readers and their faults; the kernel's own requests do not."""
    document = scanned()
    vmstat = document["memory"]["vmstat"]
    assert vmstat["allocstall_movable"] == number(document, "pressure", "counts", "allocstall") > 0
    assert vmstat["allocstall_normal"] == 0


def test_pages_are_stolen_once_whoever_is_asked() -> None:
    """The pressure part, by node too, and /proc/vmstat agree where a run crosses the warm-up's end."""
    document = coalsim.run("reclaim_flushes", {**SCAN, "run.warmup": "1ms", "run.duration": "1ms"})
    vmstat, pressure = document["memory"]["vmstat"], document["pressure"]
    for name in ("pgsteal_kswapd", "pgsteal_direct"):
        assert pressure["counts"][name] == vmstat[name] > 0
    assert sum(row["pgsteal_kswapd"] for row in pressure["kswapd"]) == vmstat["pgsteal_kswapd"]


def test_faults_that_reclaim_interferes_with_end_once_each() -> None:
    """Faults that waited and tried again are one each; what is left over is under way at the end."""
    document = scanned()
    faults, files = document["vm"]["faults"], document["vm"]["files"]
    done = sum(faults[name] for name in VmCounts.OUTCOMES) + sum(files[name] for name in FileCounts.OUTCOMES)
    assert files["retries"] > 0
    assert 0 <= faults["faults"] - done <= 8


@pytest.mark.slow
def test_hogs_make_the_neighbour_wait() -> None:
    """A neighbour whose rounds do not fit into its CPU's own list pays for others who fill memory."""
    settings = {"run.warmup": "10ms", "run.duration": "10ms", "machine.memory": "16MiB", "workload.mib": "32"}
    alone = coalsim.run("noisy_neighbour", {**settings, "workload.where": "none"})
    beside = coalsim.run("noisy_neighbour", {**settings, "workload.where": "same"})
    assert number(beside, "phases", "hog", "throughput", "ops") > 50
    mean = [number(one, "phases", "neighbour", "latency_ns", "mean") for one in (alone, beside)]
    assert mean[1] > 1.02 * mean[0]
    assert number(beside, "pressure", "counts", "pgsteal_kswapd") > 500


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"workload.where": "other", "machine": "ideal"}, "has one node with CPUs"),
        ({"machine": "pack:2 numa:1 core:1 pu:1"}, "has no CPU for hogs but the neighbour's"),
    ],
)
def test_a_machine_without_room_for_the_hogs_is_refused(settings: Settings, says: str) -> None:
    """The message says how many there are."""
    with pytest.raises(ConfigError, match=says):
        coalsim.run("noisy_neighbour", settings)


def test_drivers_dig_below_min_and_drop_what_they_do_not_get() -> None:
    """Ordinary requests leave the minimum alone; atomic ones go below it, and short bursts are counted."""
    settings = {
        "workload.rounds": "4",
        "machine.memory": "16MiB",
        "workload.begin": "12ms",
        "workload.fill": "90",
        "workload.burst": "256",
    }
    document = coalsim.run("atomic_bursts", settings)
    atomic = document["atomic"]
    assert atomic["bursts"] == 32
    assert atomic["pages_dropped"] > 0
    assert atomic["bursts_short"] > 0
    assert min(atomic["lowest_free"].values()) < 100  # the node's min mark: 112 pages of 4,096


@pytest.mark.slow
def test_long_lives_and_a_full_memory_take_the_huge_blocks_away() -> None:
    """With both, huge blocks are gone after a while; without either one, they can be had to the end."""
    settings = {"run.duration": "600s"}
    both = coalsim.run("fragmentation_ageing", settings)
    no_cache = coalsim.run("fragmentation_ageing", {**settings, "workload.cache": "0"})
    no_long = coalsim.run("fragmentation_ageing", {**settings, "workload.long_share": "0"})
    ends = [document["ageing"]["huge_had_percent"][-1] for document in (both, no_cache, no_long)]
    assert ends == [0, 100, 100]


def test_an_order_that_the_kernel_has_not_is_refused() -> None:
    """The message names the largest."""
    with pytest.raises(ConfigError, match="largest block has order 12"):
        coalsim.run("fragmentation_ageing", {"workload.huge_order": "13"})
