"""Room at boot: what is refused could not begin, and what could is not refused."""

import pytest

from coalsim.boot import System, SystemConfig
from coalsim.boot_room import check_room
from coalsim.cpus.runqueue import Thread
from coalsim.errors import ConfigError
from coalsim.locks.queued import QueuedLock
from coalsim.observe.histogram import Histogram
from coalsim.profiles.profile import load_profile
from coalsim.topology.presets import load_machine


def system_of(**switches: str) -> System:
    """Two nodes with 2 MiB each and two processors each."""
    return System(
        SystemConfig(
            machine=load_machine("pack:2 numa:1 core:2 pu:1").with_overrides({"memory": "2MiB"}),
            profile=load_profile("linux-6.18").with_overrides(switches),
            lock=QueuedLock,
            recorder=Histogram,
        )
    )


def threads_of(count: int) -> list[Thread]:
    """Threads of one process each."""
    threads = [Thread(f"thread {number}", iter(())) for number in range(count)]
    for thread in threads:
        thread.space = object()
    return threads


def use_up(system: System, node: int, *, left: int) -> None:
    """Take all frames of a node but so many."""
    for zone in system.memory.pages.zones:
        while zone.node == node and zone.source.free_frames > left:
            zone.source.take(0, system.cpus[0])


def test_threads_that_wait_for_their_turn_need_nothing_yet() -> None:
    """A thousand threads with stacks on one processor begin one after the other."""
    system = system_of(debug_guard_pages="on")
    check_room(system.memory, [threads_of(1000), [], [], []], system.machine)


def test_copies_at_once_need_room_on_every_node() -> None:
    """Four spaces want a root on each node, and node 1 has three frames left; others take from elsewhere."""
    threads = [threads_of(1) for _ in range(4)]
    for replication, is_refused in (("eager", True), ("none", False)):
        system = system_of(table_replication=replication)
        use_up(system, 1, left=3)
        if not is_refused:
            check_room(system.memory, threads, system.machine)
            continue
        with pytest.raises(
            ConfigError, match=r"machine.memory = 2 MiB: 4 threads need .* on node 1; give each"
        ):
            check_room(system.memory, threads, system.machine)
