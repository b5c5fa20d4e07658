"""The OOM reaper: a victim that cannot go by itself loses its memory all the same.

    kill -> `oom_reaper_delay` -> lock the victim's space for reading, if that is possible at once
         -> unmap every private area, flush, free -> the victim counts no more
         -> else once more a tenth of a second later, ten times; then it is given up

A victim may wait for a lock whose holder waits for memory: its threads then cannot end, but
nobody will use its memory again.  The reaper leaves areas, tables and locks to the exit.
Source: Linux mm/oom_kill.c (`oom_reaper`, `oom_reap_task`, `__oom_reap_task_mm`).
"""

from collections.abc import Callable

from simpy.events import Event

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.runqueue import Thread
from coalsim.engine.clock import RANK_MESSAGE, Op
from coalsim.locks.nap import make_ready, nap
from coalsim.mm.virt.process import Process
from coalsim.mm.virt.unmap import Unmapping
from coalsim.units import MS, PAGE_SIZE, Time

KIB = PAGE_SIZE // 1024
REAPER = "oom_reaper"
TRIES = 10
BETWEEN_TRIES: Time = 100 * MS


class OomReaper:
    """Takes victims' memory.

    Args:
        cpus: the processors; it runs on one that idles, if there is any, else the first.
        delay: from the kill to its first try.
        say: takes a line for the kernel's log.
    """

    def __init__(self, cpus: list[Cpu], delay: Time, say: Callable[[Time, str], None]) -> None:
        self._cpus = cpus
        self._delay = delay
        self._say = say
        self.reaped = 0  # pages
        self.given_up = 0

    def start(self, cpu: Cpu, victim: Process) -> None:
        """The victim has been killed; synchronised."""
        env = cpu.env

        def fire(_: Event) -> None:
            target = next((other for other in self._cpus if other.is_idle), self._cpus[0])
            make_ready(target, Thread(REAPER, self._run(target, victim)), env._now + env.lookahead + 1)

        # not before the kill has reached the victim's processors
        env.post_event(cpu.clock + max(self._delay, 2 * env.lookahead + 1), RANK_MESSAGE + cpu.id, fire)

    def _run(self, cpu: Cpu, victim: Process) -> Op[None]:
        space = victim.space
        for attempt in range(TRIES):
            if attempt:
                yield from nap(cpu, BETWEEN_TRIES, REAPER)
            yield from cpu.sync()
            if victim.is_over:
                return
            if not space.faults_to_end and (yield from space.mmap_lock.try_read(cpu, REAPER)):
                yield from self._take(cpu, victim)
                yield from space.mmap_lock.release_read(cpu)
                yield from cpu.sync()
                victim.is_spent = True
                return
        self.given_up += 1
        victim.is_spent = True
        self._say(cpu.clock, f"oom_reaper: unable to reap pid:{victim.pid} ({victim.name})")

    def _take(self, cpu: Cpu, victim: Process) -> Op[None]:
        """Unmap what is private to the victim."""
        space = victim.space
        yield from cpu.sync()
        before = space.rss.total
        ranges = [(int(area.first), int(area.last)) for area in space.areas if not area.shared]
        if ranges:
            yield from Unmapping(space, cpu, REAPER).run(ranges, free_tables=False)
        yield from cpu.sync()
        taken = before - space.rss.total
        self.reaped += taken
        left = space.rss.written_by_kind
        self._say(
            cpu.clock,
            f"oom_reaper: reaped process {victim.pid} ({victim.name}), now anon-rss:{left.anon * KIB}kB, "
            f"file-rss:{left.file * KIB}kB, shmem-rss:{left.shmem * KIB}kB",
        )
