"""One processor asks one other to run something, as kernels do: by joining its handler or by an interrupt."""

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.ipi import CallQueue, Party, interrupt
from coalsim.engine.messages import Shot
from coalsim.units import Time


def request(queue: CallQueue, initiator: Cpu, arrival: Time, shot: Shot[Cpu]) -> None:
    """Ask the queue's processor; synchronised.  An interrupt sent now would arrive then."""
    if not queue.joins(initiator, shot):
        queue.claim(shot)
        interrupt(initiator, 0, [Party(arrival, [queue._cpu], [queue], [0])], shot)
