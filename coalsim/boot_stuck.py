"""Finds systems in which nothing can happen any more, and says who waits for what.

Asked when the engine runs dry, at the end of a run, and at every barrier of the kernel's periodic
work, which never ends and would hide it.
"""

from collections.abc import Sequence

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.deadlock import report, report_stuck
from coalsim.cpus.runqueue import Thread, report_asleep
from coalsim.engine.clock import Engine
from coalsim.locks.base import Lock


def who_is_stuck(cpus: Sequence[Cpu], threads: Sequence[Sequence[Thread]], env: Engine) -> str:
    """Who can never go on; empty if everybody can.

    Either nothing can happen any more, or all waiters of one lock wait although nobody
    holds it, none of them has been let in, and none is about to be.

    Args:
        cpus: the processors.
        threads: of each.
        env: the engine.
    """
    blocked = [cpu for cpu in cpus if cpu.blocked_on is not None]
    asleep = [thread for own in threads for thread in own if thread.asleep_on is not None]
    if not blocked and not asleep:
        return ""
    moving = [
        cpu.blocked_on
        for cpu in blocked
        if cpu.alarm.armed or (isinstance(cpu.blocked_on, Lock) and cpu.blocked_on.is_passing_on)
    ]
    lost = [
        cpu
        for cpu in blocked
        if isinstance(cpu.blocked_on, Lock)
        and not cpu.blocked_on.blockers()
        and not any(lock is cpu.blocked_on for lock in moving)
    ]
    if lost:
        return report("lost wake-up, nobody will let these in", report_stuck(lost))
    at_rest = all(cpu.waiting and not cpu.alarm.armed and not cpu.inbox for cpu in cpus)
    if not moving and at_rest and env.only_time_passes:
        lines = [*report_stuck(blocked), *report_asleep(asleep)]
        return report("nothing can happen any more", lines)
    return ""
