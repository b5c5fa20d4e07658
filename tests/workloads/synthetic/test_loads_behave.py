"""What each load does, against what is known of it exactly or was measured."""

from collections.abc import Mapping

import pytest
from load_bench import build, run, system

from coalsim.boot import System
from coalsim.mm.kmem.magazine_types import fixed_type
from coalsim.observe.document import ResultDocument
from coalsim.units import MS, NS, US, Time

pytestmark = pytest.mark.fast_one_in(3, in_turn=True)

FREE_LOCKS = {"hz": "0", "cost.lock_uncontended": "0ps", "cost.lock_release": "0ps"}


def ideal(**switches: str) -> System:
    """The machine without costs and a kernel whose locks cost nothing: for theory."""
    return system("ideal", "coal", {**FREE_LOCKS, **switches})


def run_kind(
    host: System, kind: str, parameters: Mapping[str, object], duration: Time = 0, warmup: Time = 0
) -> ResultDocument:
    return run(host, build(kind, parameters), duration, warmup)


# -- lock loop


@pytest.mark.parametrize(("cpus", "cycle"), [(1, "94"), (2, "94"), (3, "113.1"), (8, "301.6"), (26, "980.2")])
def test_a_constant_loop_has_the_exact_cycle(cpus: int, cycle: str) -> None:
    """max(think + hold, N hold): each CPU completes one operation per cycle, to the picosecond."""
    loop = {"cpus": cpus, "think": "const:56.3ns", "hold": "const:37.699ns"}  # and 1 ps to take or pass on
    period = round(float(cycle) * NS)
    result = run_kind(ideal(), "lock_loop", loop, duration=1000 * period, warmup=100 * period)
    assert result["throughput"]["ops"] == 1000 * cpus
    assert result["latency_ns"]["min"] == result["latency_ns"]["max"] == (period - 56_300) / NS


def test_an_exponential_loop_is_the_machine_repairman() -> None:
    """Eight CPUs, hold 1, think 4: X = 0.969580, R = 4.25100."""
    loop = {"cpus": 8, "think": "exp:4us", "hold": "exp:1us"}
    result = run_kind(ideal(), "lock_loop", loop, duration=60 * MS, warmup=2 * MS)
    assert result["throughput"]["ops_per_s"] == pytest.approx(969_580, rel=0.01)
    assert result["latency_ns"]["mean"] == pytest.approx(4251.0, rel=0.03)


def test_locks_drawn_by_weight_have_the_product_form() -> None:
    """Demands 0.7 and 0.3, think 4, eight CPUs: X = 1.22398, and each lock its share of visits."""
    loop = {"cpus": 8, "think": "exp:4us", "hold": "exp:1us", "locks": 2, "weights": [7, 3]}
    result = run_kind(ideal(), "lock_loop", loop, duration=40 * MS, warmup=2 * MS)
    assert result["throughput"]["ops_per_s"] == pytest.approx(1_223_980, rel=0.015)
    first, second = (row["acquisitions"] for row in result["locks"])
    assert first / (first + second) == pytest.approx(0.7, abs=0.01)


@pytest.mark.slow
def test_locks_in_turn_are_all_taken_by_every_operation() -> None:
    """Demands 2, 1 and 0.5, think 10, ten CPUs: X = 0.472638, R = 11.1578."""
    loop = {"cpus": 10, "think": "exp:10us", "hold": ["exp:2us", "exp:1us", "exp:500ns"]}
    result = run_kind(ideal(), "lock_loop", loop, duration=100 * MS, warmup=4 * MS)
    assert result["throughput"]["ops_per_s"] == pytest.approx(472_638, rel=0.015)
    assert result["latency_ns"]["mean"] == pytest.approx(11_157.8, rel=0.03)


def test_a_contended_operation_is_one_event() -> None:
    """Computed sections are counted by their span, so nothing is waited for after them."""
    host = ideal()
    loop = {"cpus": 64, "think": "const:100ns", "hold": "const:100ns"}
    result = run_kind(host, "lock_loop", loop, duration=2 * MS)
    assert result["events"] <= 1.01 * result["throughput"]["ops"] + 3 * 256


# -- cache line


def test_writers_in_one_socket_wait_for_one_transfer_each() -> None:
    """N CPUs, one line: every write takes N times the time for which a transfer occupies the line."""
    host = system("wex8", "coal", {"hz": "0"})
    result = run_kind(host, "line_contention", {"cpus": 8, "mode": "ww"}, duration=200 * US, warmup=20 * US)
    occupancy = host.machine.occupancy_row(host.cpus[0].id)[1]
    assert result["latency_ns"]["min"] == result["latency_ns"]["max"] == 8 * occupancy / NS
    assert list(result["phases"]) == ["write"]


def test_the_first_core_of_the_second_socket_is_a_knee() -> None:
    """One more core costs a write several times what one more in the socket did."""
    cost = {
        cpus: run_kind(
            system("wex8", "coal", {"hz": "0"}),
            "line_contention",
            {"cpus": cpus, "mode": "ww"},
            duration=200 * US,
            warmup=20 * US,
        )["latency_ns"]["mean"]
        for cpus in (9, 10, 11)
    }
    assert cost[11] - cost[10] > 4 * (cost[10] - cost[9])


def test_readers_of_one_line_and_writers_of_their_own_do_not_disturb_each_other() -> None:
    """rr, rx and wx: an access costs what it costs a CPU by itself."""
    for mode in ("rr", "rx", "wx"):
        host = system("wex8", "coal", {"hz": "0"})
        result = run_kind(
            host, "line_contention", {"cpus": 40, "mode": mode}, duration=20 * US, warmup=5 * US
        )
        own = host.machine.transfer_row(host.cpus[0].id)[0]
        assert result["latency_ns"]["min"] == result["latency_ns"]["max"] == own / NS


def test_one_writer_makes_all_readers_wait() -> None:
    """rw: reads and writes are phases; a reader loses its copy with every write."""
    host = system("wex8", "coal", {"hz": "0"})
    result = run_kind(host, "line_contention", {"cpus": 8, "mode": "rw"}, duration=50 * US, warmup=5 * US)
    assert sorted(result["phases"]) == ["read", "write"]
    assert result["latency_ns"] == result["phases"]["read"]["latency_ns"]
    assert result["latency_ns"]["max"] > host.machine.transfer_row(host.cpus[0].id)[1] / NS


# -- objects


@pytest.mark.parametrize("kernel", [("coal", {}), ("linux-6.0", {}), ("linux-6.18", {"slab": "sheaves"})])
def test_pairs_never_leave_their_cpu(kernel: tuple[str, dict[str, str]]) -> None:
    """After the first one no lock is taken, and CPUs do not slow each other down."""
    profile, switches = kernel
    results = [
        run_kind(
            system("clx2", profile, {**switches, "hz": "0"}),
            "kmalloc_pairs",
            {"cpus": cpus, "size": 64},
            duration=50 * US,
            warmup=150 * US,
        )
        for cpus in (1, 32)
    ]
    for result in results:
        assert not result["locks"]
        assert result["latency_ns"]["min"] == result["latency_ns"]["max"]
    assert results[0]["latency_ns"]["mean"] == results[1]["latency_ns"]["mean"]


def test_pairs_count_requests_that_fail_apart() -> None:
    """Memory of one page of 256 KiB blocks: nothing that large can be had."""
    host = system("coal", "coal", {"hz": "0"}, machine_changes={"memory": "512KiB"})
    load = build("kmalloc_pairs", {"cpus": 1, "size": "1MiB"})
    result = run(host, load, 50 * US)
    assert not result["throughput"]["ops"]
    assert host.meter.cpu(host.cpus[0].id).failed > 10


def test_bursts_visit_the_depot_as_the_formula_says() -> None:
    """100 objects, magazines of 15: 10 visits a burst, 12 where bursts begin between two magazines."""
    host = system("clx2", "coal", {"hz": "0"}, magazine_types=fixed_type(15))
    burst = {"cpus": 4, "size": 64, "depth": 100}
    result = run_kind(host, "kmalloc_burst", burst, duration=400 * US, warmup=100 * US)
    (row,) = result["memory"]["magazines"]
    bursts = result["phases"]["free"]["throughput"]["ops"] / 100
    assert 9.9 < (row["depot_allocs"] + row["depot_frees"]) / bursts < 12.1
    assert row["slab_allocs"] < 0.01 * row["allocs"]
    assert row["alloc_hits"] > 0.9 * row["allocs"]


@pytest.mark.parametrize("spread", ["compact", "scatter"])
def test_remote_frees_visit_the_depot_once_per_magazine_on_each_side(spread: str) -> None:
    """Each visit brings M objects, or takes them; every free is of another CPU's object."""
    host = system("clx2", "coal", {"hz": "0"}, magazine_types=fixed_type(15))
    remote = {"cpus": 8, "size": 64, "spread": spread}
    result = run_kind(host, "kmalloc_remote_free", remote, duration=300 * US, warmup=100 * US)
    (row,) = result["memory"]["magazines"]
    assert row["depot_frees"] / row["frees"] == pytest.approx(1 / 15, rel=0.05)
    assert row["depot_allocs"] * 15 + row["slab_allocs"] == pytest.approx(row["allocs"], rel=0.02)
    remote_frees = result["memory"]["remote_frees"]
    assert remote_frees["objects"] == pytest.approx(remote_frees["objects_remote"], abs=4)  # under way
    assert result["throughput"]["ops"] == pytest.approx(row["frees"], abs=8)


@pytest.mark.slow
def test_an_inherited_array_is_mostly_freed_by_others() -> None:
    """Larson: the more slots in comparison with the rounds, the more frees are remote."""
    shares = []
    for slots in (50, 2000):
        host = system("clx2", "linux-6.0", {"hz": "0"})
        result = run_kind(host, "larson", {"cpus": 8, "slots": slots, "rounds": 200}, duration=500 * US)
        frees = result["memory"]["remote_frees"]
        shares.append(frees["objects_remote"] / frees["objects"])
    assert 0.2 < shares[0] < 0.4  # 200 draws from 50 slots leave few of another's
    assert shares[1] > 0.6


# -- pages

LLFREE = {"clock_ghz": "2.2"}  # Wrenger and others, USENIX ATC 2023: Linux 6.0, one core, ns


def pages(kind: str, order: int, cpus: int = 1, count: int = 4000) -> ResultDocument:
    host = system("icx2", "linux-6.0", {"hz": "0"}, machine_changes=LLFREE)
    blocks: dict[str, object] = {} if kind == "page_repeat" else {"frames_per_cpu": count << order}
    duration = 500 * US if kind == "page_repeat" else 0
    return run_kind(host, kind, {"cpus": cpus, "order": order, **blocks}, duration=duration)


@pytest.mark.parametrize(
    ("kind", "order", "phase", "measured", "tolerance"),
    [
        ("page_bulk", 0, "alloc", 94.0, 0.01),  # these three calibrated
        ("page_bulk", 0, "free", 90.25, 0.04),
        ("page_bulk", 9, "alloc", 2615.0, 0.01),
        ("page_bulk", 9, "free", 443.8, 0.03),  # and these did not
        ("page_repeat", 0, "", 112.3, 0.05),
        ("page_repeat", 9, "", 362.3, 0.03),
    ],
)
def test_one_core_needs_what_was_measured(
    kind: str, order: int, phase: str, measured: float, tolerance: float
) -> None:
    """Published times of one operation by one core, orders 0 and 9."""
    result = pages(kind, order, count=20_000 >> order // 4)
    latency = result["phases"][phase]["latency_ns"] if phase else result["latency_ns"]
    assert latency["mean"] == pytest.approx(measured, rel=tolerance)


def test_a_thread_s_operations_fill_its_wall_time() -> None:
    """So the mean over the threads is the mean of the operations, and nothing is left out."""
    host = system("icx2", "linux-6.0", {"hz": "0"})
    load = build("page_bulk", {"cpus": 4, "frames_per_cpu": 2000})
    run(host, load)
    for cpu in host.cpus[:4]:
        spent = {cause: time for cause, time in cpu.spent.items() if cause not in ("idle", "rendezvous")}
        counted = sum(host.meter.cpu(cpu.id, phase).latencies.total for phase in ("alloc", "free"))
        assert sum(spent.values()) == counted


def test_bulk_stops_where_memory_ends() -> None:
    """What was found is freed again; the failure is counted once per CPU."""
    host = system("coal", "coal", {"hz": "0"}, machine_changes={"memory": "4MiB"})
    result = run_kind(host, "page_bulk", {"cpus": 4, "frames_per_cpu": 4000})
    assert result["phases"]["alloc"]["throughput"] == result["phases"]["free"]["throughput"]
    assert 1500 < result["phases"]["alloc"]["throughput"]["ops"] <= 2048
    assert [host.meter.cpu(cpu.id, "alloc").failed for cpu in host.cpus] == [1] * 4
    host.memory.validate()
    assert not host.memory.pages.taken_pages()


@pytest.mark.parametrize("cpus", [1, 2, 8])
def test_random_frees_are_mostly_of_other_cpus_pages(cpus: int) -> None:
    """A shuffled block is another's with probability 1 - 1/N, and its descriptor has to come over."""
    result = pages("page_random", 0, cpus)
    frees = result["memory"]["remote_frees"]
    assert frees["pages"] == 4000 * cpus
    assert frees["pages_remote"] / frees["pages"] == pytest.approx(1 - 1 / cpus, abs=0.03)
    assert list(result["phases"]) == ["free"]
    dealt, in_order = (
        result["latency_ns"]["p90"],
        pages("page_bulk", 0, cpus)["phases"]["free"]["latency_ns"]["p90"],
    )
    assert dealt == in_order if cpus == 1 else dealt > in_order


@pytest.mark.parametrize("order", [0, 4])
def test_a_repeated_page_takes_the_zone_lock_only_without_a_list(order: int) -> None:
    """Order 4 has no per-CPU list in Linux: two visits a pair, and CPUs queue for them."""
    result = pages("page_repeat", order, cpus=8)
    (zone_lock,) = result["locks"]
    if order:
        assert zone_lock["acquisitions"] == pytest.approx(2 * result["throughput"]["ops"], abs=16)
        assert zone_lock["contentions"] > 0.9 * zone_lock["acquisitions"]
    else:
        assert zone_lock["acquisitions"] == 8  # each list was filled once
