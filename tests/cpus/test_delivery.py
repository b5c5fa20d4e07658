"""Delivery of interrupts: who is hit when, what it takes from the sender, and preempted vCPUs."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coalsim.cpus.apic import apic_clusters, apic_ids
from coalsim.cpus.cpu import Cpu
from coalsim.cpus.delivery import DELIVERIES, Delivery, DeliveryCosts, Sends, lookahead
from coalsim.cpus.vcpu import VcpuSchedule
from coalsim.engine.clock import Engine
from coalsim.engine.streams import Streams
from coalsim.errors import ConfigError
from coalsim.topology.machine import Machine
from coalsim.topology.presets import load_machine, load_preset
from coalsim.units import MS, NS, US, CpuId, NodeId, Time

GUEST = {
    "vm_exit": 1_500 * NS,
    "hypercall": 1_700 * NS,
    "per_target": 120 * NS,
    "post": 200 * NS,
    "kick": 900 * NS,
    "notify": 1_300 * NS,
}
MILAN = load_preset("milan2-nps4")
SKYLAKE = load_preset("kvm80")
SMALL = load_machine("pack:2 core:4 pu:2")


def model(name: str, machine: Machine, *, all_but_self: bool = True) -> Delivery:
    return DELIVERIES[name](DeliveryCosts(machine=machine, all_but_self=all_but_self, **GUEST))


def processors(machine: Machine) -> list[Cpu]:
    env = Engine()
    return [Cpu(env, place.cpu, node=NodeId(0)) for place in machine.cpus]


def others(cpus: Sequence[Cpu], sender: int) -> list[Cpu]:
    return [cpu for cpu in cpus if cpu.id != sender]


def write_cost(machine: Machine) -> Time:
    return machine.ipi_send.picoseconds(machine.clock_ghz.value)


def hypercalls(sends: Sends) -> float:
    """How many it took, by the time that the sender was busy."""
    return (sends.busy - len(sends.arrivals) * GUEST["per_target"]) / GUEST["hypercall"]


def at_target(sends: Sends) -> dict[int, Time]:
    return {cpu.id: at for at, cpu in sends.arrivals}


# -- ids ---------------------------------------------------------------------------------


def test_threads_of_a_core_have_neighbouring_ids() -> None:
    """Whatever the processors' numbers, the threads of a core share all but the lowest bit."""
    ids = apic_ids(MILAN)
    assert len(set(ids)) == MILAN.num_cpus
    by_core: dict[int, list[int]] = {}
    for place in MILAN.cpus:
        by_core.setdefault(place.core, []).append(ids[place.cpu])
    assert all(len({number >> 1 for number in core}) == 1 for core in by_core.values())


def test_sockets_begin_at_powers_of_two() -> None:
    """20 cores of 2 threads take a field of 64 ids per socket, of which 24 are unused: 3 clusters each."""
    ids, clusters = apic_ids(SKYLAKE), apic_clusters(SKYLAKE)
    for socket in (0, 1):
        own = [ids[place.cpu] for place in SKYLAKE.cpus if place.socket == socket]
        assert sorted(own) == list(range(64 * socket, 64 * socket + 40))
    assert len(set(clusters)) == 6


# -- bare metal ----------------------------------------------------------------------------


def test_one_write_reaches_a_cluster() -> None:
    """As many writes as clusters have a target, one after the other; all of a cluster leave together."""
    cpus, clusters, write = processors(MILAN), apic_clusters(MILAN), write_cost(MILAN)
    targets = others(cpus, 0)[:-1]
    sends = model("x2apic_cluster", MILAN).send_times(cpus[0], targets)
    touched = list(dict.fromkeys(clusters[cpu.id] for cpu in targets))
    assert (sends.busy, sends.irq_off) == (len(touched) * write, True)
    for at, cpu in sends.arrivals:
        turn = touched.index(clusters[cpu.id]) + 1
        assert at == turn * write + MILAN.ipi_row(CpuId(0))[cpu.id]


def test_everybody_else_is_one_write() -> None:
    """The shorthand is used for n - 1 targets, not for n - 2, and not by kernels without it."""
    cpus, write = processors(SKYLAKE), write_cost(SKYLAKE)
    everybody = others(cpus, 5)
    cluster = model("x2apic_cluster", SKYLAKE)
    assert cluster.send_times(cpus[5], everybody).busy == write
    assert not cluster.send_times(cpus[5], everybody).irq_off
    assert cluster.send_times(cpus[5], everybody[1:]).busy == 6 * write
    before = model("x2apic_cluster", SKYLAKE, all_but_self=False)
    assert before.send_times(cpus[5], everybody).busy == 6 * write


def test_physical_mode_writes_once_per_target() -> None:
    """The n-th target is hit n writes after the start, plus its flight."""
    cpus, write = processors(SKYLAKE), write_cost(SKYLAKE)
    targets = [cpus[number] for number in (1, 2, 39, 40, 79)]
    sends = model("x2apic_physical", SKYLAKE).send_times(cpus[0], targets)
    flight = SKYLAKE.ipi_row(CpuId(0))
    assert sends.arrivals == [(n * write + flight[cpu.id], cpu) for n, cpu in enumerate(targets, 1)]
    assert (sends.busy, sends.irq_off) == (5 * write, True)


def test_posting_takes_the_targets_line() -> None:
    """Each posting moves the target's descriptor to the sender first; no exit, so not a guest's write."""
    cpus, post, notify = processors(SMALL), GUEST["post"], GUEST["notify"]
    sends = model("posted", SMALL).send_times(cpus[0], [cpus[3], cpus[9]])
    near, far = SMALL.transfer_row(CpuId(0))[3], SMALL.transfer_row(CpuId(0))[9]
    assert near != far
    assert at_target(sends) == {
        3: post + near + notify,
        9: post + near + post + far + notify,
    }
    assert sends.busy == 2 * post + near + far


@pytest.mark.parametrize("name", ["x2apic_cluster", "x2apic_physical"])
def test_a_single_target_is_sent_to_with_interrupts_on(name: str) -> None:
    """One write that nothing can tear apart needs no protection."""
    cpus = processors(MILAN)
    sends = model(name, MILAN).send_times(cpus[0], [cpus[9]])
    assert (sends.busy, sends.irq_off) == (write_cost(MILAN), False)


def test_posting_gains_what_was_measured() -> None:
    """About 10 % of one way: 1,459 and 1,317 ns (Zeng Guang, IPI virtualization v7, 2022)."""
    costs = DeliveryCosts.of(SKYLAKE, SKYLAKE.guest, all_but_self=True)
    cpus = processors(SKYLAKE)
    sends = {name: DELIVERIES[name](costs).send_times(cpus[0], [cpus[5]]) for name in ("kvm_exit", "posted")}
    one_way = {name: sent.arrivals[0][0] for name, sent in sends.items()}
    assert one_way["kvm_exit"] == 2_239 * NS
    assert one_way["posted"] / one_way["kvm_exit"] == pytest.approx(1_317 / 1_459, abs=0.001)
    assert sends["posted"].busy < 200 * NS < 1_000 * NS < sends["kvm_exit"].busy


@pytest.mark.parametrize("name", ["kvm_exit", "kvm_pv", "posted"])
def test_a_bare_machine_is_no_guest(name: str) -> None:
    """A guest's model needs the costs of a hypervisor, and says so."""
    with pytest.raises(ConfigError, match="no costs of a hypervisor"):
        DELIVERIES[name](DeliveryCosts.of(SMALL, None, all_but_self=True))


# -- guests --------------------------------------------------------------------------------


def test_a_guest_without_help_exits_per_target() -> None:
    """Each target costs an exit and the host's work, then the kick brings it in."""
    cpus = processors(SKYLAKE)
    targets = others(cpus, 0)[:30]
    sends = model("kvm_exit", SKYLAKE).send_times(cpus[0], targets)
    step = GUEST["vm_exit"] + GUEST["per_target"]
    assert sends.busy == 30 * step
    assert sends.arrivals == [(n * step + GUEST["kick"], cpu) for n, cpu in enumerate(targets, 1)]


def test_a_hypercall_names_128_ids() -> None:
    """80 vCPUs with ids below 128 take one hypercall, 256 take two; the host's work is per target.

    Where numbers go through both sockets' first threads before the second ones, the kernel,
    which reads its mask by number, comes to each socket's 128 ids twice: four.
    """
    for machine, windows in ((SKYLAKE, 1), (load_preset("ideal"), 2), (MILAN, 4)):
        cpus = processors(machine)
        targets = others(cpus, 3)
        sends = model("kvm_pv", machine).send_times(cpus[3], targets)
        assert sends.busy == windows * GUEST["hypercall"] + len(targets) * GUEST["per_target"]
        assert sends.irq_off


def test_a_window_begins_at_its_first_target() -> None:
    """Ids 100 and 227 fit in one bitmap, 100 and 228 do not, wherever multiples of 128 lie."""
    machine = load_preset("ideal")
    cpus, guest = processors(machine), model("kvm_pv", machine)
    assert hypercalls(guest.send_times(cpus[0], [cpus[100], cpus[227]])) == 1
    assert hypercalls(guest.send_times(cpus[0], [cpus[100], cpus[228]])) == 2
    assert hypercalls(guest.send_times(cpus[0], [cpus[100], cpus[10], cpus[137]])) == 1
    assert hypercalls(guest.send_times(cpus[0], [cpus[100], cpus[10], cpus[138]])) == 2


def test_windows_reach_downwards_too() -> None:
    """A mask is read by processor number; ids that jump back still fit if the whole span does."""
    machine = MILAN  # numbers go through the cores of both sockets before the second threads
    ids, cpus, guest = apic_ids(machine), processors(machine), model("kvm_pv", machine)
    back = next(n for n in range(1, machine.num_cpus) if ids[n] < ids[n - 1])
    sends = guest.send_times(cpus[0], [cpus[back - 1], cpus[back]])
    assert hypercalls(sends) == (1 if ids[back - 1] - ids[back] < 128 else 2)
    same_socket = [cpu for cpu in others(cpus, 0) if machine.cpus[cpu.id].socket == 1]
    assert hypercalls(guest.send_times(cpus[0], same_socket)) == 1


def test_the_host_works_through_a_window_by_id() -> None:
    """Within a window the order of ids decides, not that of processor numbers."""
    ids, cpus = apic_ids(SKYLAKE), processors(SKYLAKE)
    sends = model("kvm_pv", SKYLAKE).send_times(cpus[0], others(cpus, 0))
    by_time = sorted((at, ids[cpu.id]) for at, cpu in sends.arrivals)
    assert [number for _, number in by_time] == sorted(ids[1:])
    assert by_time[0][0] == GUEST["hypercall"] + GUEST["per_target"] + GUEST["kick"]
    assert [b - a for (a, _), (b, _) in pairwise(by_time)] == [GUEST["per_target"]] * 78


def test_a_single_target_is_not_worth_a_hypercall() -> None:
    """The kernel sends to one processor by a plain write, paravirtual or not."""
    cpus = processors(SKYLAKE)
    plain = model("kvm_exit", SKYLAKE).send_times(cpus[0], [cpus[7]])
    assert model("kvm_pv", SKYLAKE).send_times(cpus[0], [cpus[7]]) == plain
    assert not plain.irq_off


# -- all models ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", DELIVERIES)
def test_lookahead_is_the_earliest_arrival_of_all_pairs(name: str) -> None:
    """Equal to the minimum found by trying every pair; no less than the shortest flight or the kick."""
    cpus, way = processors(SMALL), model(name, SMALL)
    alone = [
        way.send_times(sender, [target]).arrivals[0][0]
        for sender in cpus
        for target in others(cpus, sender.id)
    ]
    assert lookahead(way) == min(alone)
    flights = [SMALL.ipi_row(cpu.id)[other.id] for cpu in cpus for other in others(cpus, cpu.id)]
    assert lookahead(way) >= (min(flights) if name.startswith("x2apic") else GUEST["kick"])


@pytest.mark.parametrize("name", DELIVERIES)
def test_a_cheap_hypercall_lowers_the_lookahead(name: str) -> None:
    """Nothing arrives before the lookahead also where several targets are cheaper than one."""
    costs = DeliveryCosts(machine=SMALL, **{**GUEST, "hypercall": 1 * NS})
    way, cpus = DELIVERIES[name](costs), processors(SMALL)
    first = min(at for at, _ in way.send_times(cpus[0], others(cpus, 0)).arrivals)
    assert first >= lookahead(way)
    if name == "kvm_pv":
        assert first == lookahead(way)


@settings(max_examples=60)
@given(st.sampled_from(list(DELIVERIES)), st.integers(0, 15), st.sets(st.integers(0, 15)), st.booleans())
def test_each_target_is_hit_once_and_not_too_early(
    name: str, sender: int, chosen: set[int], shorthand: bool
) -> None:
    """Any mask: every target once, not before the lookahead; the sender is done before the last lands."""
    cpus = processors(SMALL)
    targets = [cpus[number] for number in sorted(chosen - {sender})]
    way = model(name, SMALL, all_but_self=shorthand)
    sends = way.send_times(cpus[sender], targets)
    assert sorted(cpu.id for _, cpu in sends.arrivals) == [cpu.id for cpu in targets]
    assert all(at >= lookahead(way) for at, _ in sends.arrivals)
    if targets:
        assert 0 < sends.busy < max(at for at, _ in sends.arrivals)
    else:
        assert sends == (0, [], False)


@pytest.mark.parametrize("name", DELIVERIES)
def test_more_targets_never_come_sooner(name: str) -> None:
    """Sends are served one after the other: a target added at the end delays nobody, and nobody overtakes."""
    cpus, way = processors(SMALL), model(name, SMALL, all_but_self=False)
    few = way.send_times(cpus[0], cpus[1:9])
    more = way.send_times(cpus[0], cpus[1:12])
    if name != "kvm_pv":  # there the host's order is by id
        assert more.arrivals[:8] == few.arrivals
    assert more.busy >= few.busy


def test_models_are_known_by_name() -> None:
    """The five names that a study can give."""
    assert list(DELIVERIES) == ["x2apic_cluster", "x2apic_physical", "kvm_exit", "kvm_pv", "posted"]


# -- preempted vCPUs -------------------------------------------------------------------------


def schedule(share: str = "0.25", resume: Time = 50 * US, seed: int = 1) -> VcpuSchedule:
    return VcpuSchedule(Decimal(share), resume, Streams(seed))


times_drawn = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5 * MS)), min_size=1, max_size=30)


@given(times_drawn)
def test_the_order_of_asking_changes_nothing(asked: list[tuple[int, int]]) -> None:
    """Backwards, twice or once: the answer depends on the vCPU and the time alone."""
    one, two = schedule(), schedule()
    forwards = [one.runs_from(CpuId(cpu), at) for cpu, at in asked]
    backwards = [two.runs_from(CpuId(cpu), at) for cpu, at in reversed(asked)]
    assert forwards == backwards[::-1]
    assert forwards == [one.runs_from(CpuId(cpu), at) for cpu, at in asked]


@given(st.lists(st.integers(0, 5 * MS), min_size=2, max_size=30))
def test_running_again_is_never_earlier_for_a_later_arrival(asked: list[int]) -> None:
    """Monotone, not before the arrival, and at the time it names the vCPU runs."""
    vcpus = schedule("0.5")
    answers = [vcpus.runs_from(CpuId(2), at) for at in sorted(asked)]
    assert answers == sorted(answers)
    assert all(answer >= at for answer, at in zip(answers, sorted(asked), strict=True))
    assert all(vcpus.runs(CpuId(2), answer) for answer in answers)


@given(st.integers(0, 2 * MS), st.integers(0, 2 * MS))
def test_time_away_is_what_is_not_spent_running(begin: int, length: int) -> None:
    """Going from edge to edge, the pieces that run and the time away add up."""
    vcpus, cpu, end = schedule("0.5"), CpuId(1), begin + length
    ran, at = 0, begin
    while at < end:
        runs_from = min(end, vcpus.runs_from(cpu, at))
        taken = min(end, vcpus.stolen_after(cpu, runs_from).taken)
        ran += max(0, taken - runs_from)
        at = max(taken, runs_from)
    assert vcpus.time_away(cpu, begin, end) == length - ran


@pytest.mark.parametrize("share", ["0.1", "0.5", "0.8"])
def test_the_share_and_the_mean_are_as_asked(share: str) -> None:
    """Over many vCPUs and samples, and from the very start, the stolen share and the mean delay come out."""
    vcpus = schedule(share, resume=50 * US)
    at_once = [vcpus.runs(CpuId(cpu), 0) for cpu in range(1_000)]
    assert at_once.count(False) / 1_000 == pytest.approx(float(share), abs=0.05)
    delays = [vcpus.runs_from(CpuId(cpu), at) - at for cpu in range(40) for at in range(0, 40 * MS, 97 * US)]
    stolen = [delay for delay in delays if delay]
    assert len(stolen) / len(delays) == pytest.approx(float(share), abs=0.03)
    assert sum(stolen) / len(stolen) == pytest.approx(50 * US, rel=0.1)


def test_vcpus_and_seeds_have_schedules_of_their_own() -> None:
    """No two vCPUs are stolen together by construction; another seed is another schedule."""

    def answers(vcpus: VcpuSchedule, cpu: int) -> list[Time]:
        return [vcpus.runs_from(CpuId(cpu), at) for at in range(0, 2 * MS, 10 * US)]

    assert answers(schedule(), 0) != answers(schedule(), 1)
    assert answers(schedule(), 0) != answers(schedule(seed=2), 0)
    assert answers(schedule(), 0) == answers(schedule(), 0)


def test_nobody_is_stolen_from_a_guest_that_fits() -> None:
    """A share of 0 means that every vCPU always runs."""
    vcpus = VcpuSchedule(Decimal(0), 0, Streams(1))
    assert [vcpus.runs_from(CpuId(0), at) for at in (0, 7, MS)] == [0, 7, MS]


@pytest.mark.parametrize(("share", "resume"), [("1", US), ("-0.1", US), ("0.5", 0)])
def test_impossible_shares_are_refused(share: str, resume: Time) -> None:
    """All of the time, less than none, or some of it but for no time."""
    with pytest.raises(ConfigError, match="cannot be stolen"):
        VcpuSchedule(Decimal(share), resume, Streams(1))
