"""Effects that hardware carries to other processors: no interrupt, no handler, no answer.

    sender, synchronised --flight--> every target at one time: `effect` is there

The effect changes private state of its targets, with interrupts off too: what they look at
before the arrival is old, what they look at from it on is new.  It enters every target's
`inbox` when it is sent, as a message does, so nobody runs ahead past it.  Where microcode
of the target has to work for it, that time is taken when interrupts are on, as a handler's
is: the length of a section with interrupts off does not depend on what others send.

Invariant: an effect arrives at least one lookahead after it is sent.
Source: the order of an instant in `engine/clock.py`; AMD64 Architecture Programmer's
Manual, volume 3 (INVLPGB, TLBSYNC); Arm Architecture Reference Manual (TLBI, DSB).
"""

from collections.abc import Callable, Sequence

from simpy.events import Event

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import RANK_MESSAGE
from coalsim.engine.messages import Shot
from coalsim.units import Time


def broadcast(
    sender: Cpu,
    targets: Sequence[Cpu],
    at: Time,
    effect: Callable[[Cpu], None],
    work: Shot[Cpu] | None = None,
) -> None:
    """Let an effect arrive at all targets at one time; synchronised.

    Args:
        sender: who asks; it may be among the targets.
        targets: where, in any order.
        at: when, at least the engine's lookahead after now.
        effect: what changes there.
        work: what it takes from each target as soon as its interrupts are on; nobody waits for that.
    """
    env = sender.env
    assert sender.clock == env._now, "a broadcast needs sync before it"
    assert at >= env._now + env.lookahead, "an effect may not arrive within the lookahead"
    assert work is None or work.initiator is None, "nobody waits for the work of a broadcast"
    if not targets:
        return
    in_order = sorted(targets, key=lambda cpu: cpu.id)
    for target in in_order:
        target.inbox.append(at)
    if env.broadcasts.listeners:
        env.broadcasts.fire(sender.id, [target.id for target in in_order], env._now, at)

    def arrive(_: Event) -> None:
        for target in in_order:
            target.take_ticks(at)
            effect(target)
            if work is None:
                target.inbox.remove(at)
            else:
                target.deliver(at, work)

    env.post_event(at, RANK_MESSAGE + sender.id, arrive)
