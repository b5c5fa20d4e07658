"""What a timeline shows is what the model does."""

import pytest
from recordings import LOOP, OOM, SMALL, plan_of, recorded

from coalsim.observe.timeline.facts import HANDLER, OPERATION, edges
from coalsim.observe.timeline.timeline import Timeline, lanes
from coalsim.study.timeline import Asked, record, wanted_of


def shared(policy: str) -> Timeline:
    return recorded("munmap_shared", kernel__shootdown=policy, machine=SMALL).timeline


def frames_at(timeline: Timeline, cpu: int, at: int) -> list[str]:
    """What a CPU is in right after a moment."""
    return [frame.name for leaf in timeline.leaves(cpu) if leaf.begin <= at < leaf.end for frame in leaf.path]


@pytest.mark.parametrize("policy", ["serial", "broadcast", "linux", "early_ack"])
def test_an_interrupt_leads_from_a_munmap_to_handlers_and_back(policy: str) -> None:
    """It is sent in a shootdown, taken at the begin of a handler, and answered before the sender goes on."""
    timeline = shared(policy)

    assert timeline.messages
    for message in timeline.messages:
        assert message.sent < message.started <= message.ended < message.seen
        assert {"shootdown"} & set(frames_at(timeline, message.sender, message.sent))
        assert any("handler" in name for name in frames_at(timeline, message.target, message.started))
        assert "shootdown" in frames_at(timeline, message.sender, message.seen - 1)


def test_the_wait_of_a_munmap_is_divided_in_the_order_of_things() -> None:
    """Sent, in flight, in the remote handler, acknowledged: as the last answer came about."""
    timeline = shared("linux")
    sender = timeline.messages[0].sender
    order = [
        edge.frame.name
        for edge in edges(timeline.leaves(sender))
        if edge.opens and edge.frame.name.startswith("shootdown:")
    ]
    flight = order.index("shootdown:flight")

    assert order[flight - 1] == "shootdown:send"
    assert order[flight + 1 : flight + 3] == ["shootdown:remote handler", "shootdown:acknowledge"]


def test_broadcasts_of_hardware_have_no_answer() -> None:
    """An arrow from the sender to each target, and no handler."""
    messages = shared("tlbi").messages

    assert messages
    assert all(message.seen == -1 and message.started > message.sent for message in messages)


def test_operations_hold_their_phases_and_interrupts_lie_inside() -> None:
    """Frames come in the order operation, phase, cause, interrupt."""
    timeline = shared("linux")
    kinds = [OPERATION, "phase", "cause", HANDLER]
    for cpu in timeline.cpus:
        for leaf in timeline.leaves(cpu):
            places = [kinds.index(frame.kind) for frame in leaf.path]
            assert places == sorted(places)
    assert any("munmap" in frames_at(timeline, one.sender, one.sent) for one in timeline.messages)


def test_an_oom_kill_and_page_faults_are_marked() -> None:
    """Instants say when the kernel killed, and where each fault began."""
    timeline = recorded("oom_storm", **OOM).timeline
    names = {getattr(event, "name", "") for cpu in timeline.cpus for event in timeline.events(cpu)}

    assert any(mark.name == "OOM kill" and "Killed process" in mark.text for mark in timeline.marks)
    assert any(mark.name == "signal" for mark in timeline.marks)
    assert "page fault" in names


def test_counters_follow_free_pages_and_queues() -> None:
    """Free pages never go below 0, and a queue that filled is empty again."""
    storm = recorded("oom_storm", **OOM).timeline
    loop = recorded("lock_loop", **LOOP).timeline
    queues = [sample for sample in loop.counters() if sample.name.startswith("waiting for")]

    assert min(one.value for one in storm.counters() if one.name == "free pages") >= 0
    assert len({one.value for one in storm.counters() if one.name == "free pages"}) > 3
    assert max(one.value for one in queues) > 1
    assert queues[-1].value == 0


def test_waits_that_overlap_lie_in_different_lanes() -> None:
    """In each lane one wait ends before the next one begins."""
    timeline = recorded("lock_loop", **LOOP, kernel__lock="mutex").timeline
    for cpu in timeline.cpus:
        ends: dict[int, int] = {}
        for lane, wait in lanes(timeline.waits_of(cpu)):
            assert wait.arrived >= ends.get(lane, 0)
            ends[lane] = wait.granted


def test_a_window_is_a_part_of_the_whole() -> None:
    """What is told of a window is the same as in a recording of everything."""
    whole = recorded("lock_loop", **LOOP).timeline
    plan = plan_of("lock_loop", **LOOP)
    part = record(plan, wanted_of(Asked(window="150us..170us", cpus="1-2"), plan)).timeline

    assert part.cpus == [1, 2]
    assert (part.begin, part.end) == (150_000_000, 170_000_000)
    for cpu in part.cpus:
        kept = [(leaf.begin, leaf.end, leaf.path[-1].name) for leaf in part.leaves(cpu)]
        same = [
            (max(leaf.begin, part.begin), min(leaf.end, part.end), leaf.path[-1].name)
            for leaf in whole.leaves(cpu)
            if leaf.begin < part.end and leaf.end > part.begin
        ]
        assert kept == same
    assert part.waits == [
        wait
        for wait in whole.waits
        if wait.cpu in part.cpus and wait.released >= part.begin and wait.arrived < part.end
    ]
    assert any("only 2 of" in note for note in part.notes)


def test_the_limit_ends_the_timeline_for_all_cpus_at_one_time() -> None:
    """Nothing is told beyond it, no CPU ends early, and a note says when that was."""
    plan = plan_of("lock_loop", **LOOP)
    found = record(plan, wanted_of(Asked(limit=200), plan)).timeline
    whole = recorded("lock_loop", **LOOP).timeline

    assert found.end < whole.end
    assert "the limit of 200 events was reached" in found.notes[0]
    for cpu in found.cpus:
        kept = [(leaf.begin, leaf.end) for leaf in found.leaves(cpu)]
        assert kept[-1][1] == found.end
        assert len(kept) < 400
