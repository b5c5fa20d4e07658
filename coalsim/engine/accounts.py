"""Where a processor's time went, cut at a barrier without remainder.

Every picosecond from 0 to T belongs to exactly one cause: that of a charge, of a
wait, a handler or the tick.  A processor that runs has charged beyond T, and a
processor that waits has not accounted for its wait yet; `split_at` mends both on
a copy.  Handlers are cut before charges because they run last: an interrupted
charge keeps its own cost and only ends later.
"""

from coalsim.engine.runahead import Clocked
from coalsim.units import Time


def split_at(cpu: Clocked, at: Time) -> dict[str, Time]:
    """Cause to ps of one processor from 0 to the barrier at `at` (== now).

    Raises:
        AssertionError: the causes do not add up to `at`: an engine fault.
    """
    cpu.take_ticks(at - 1)
    spent = dict(cpu.spent)
    overhang = max(0, cpu.handler_until - at)
    if cpu.waiting:
        waited = at - cpu.wait_began - (cpu.stolen - overhang)
        spent[cpu.wait_cause] = spent.get(cpu.wait_cause, 0) + waited
        _cut(spent, cpu.handler_tail, overhang)
    else:
        over = max(0, cpu.clock - at)
        from_handlers = min(over, overhang)
        _cut(spent, cpu.handler_tail, from_handlers)
        _cut(spent, cpu.tail, over - from_handlers)
    total = sum(spent.values())
    assert total == at, f"CPU {cpu.id} accounts for {total} of {at} ps: {spent}"
    return {cause: spent[cause] for cause in sorted(spent) if spent[cause]}


def _cut(spent: dict[str, Time], last: list[tuple[str, Time]], amount: Time) -> None:
    """Take `amount` off the latest entries of `last`."""
    for cause, cost in reversed(last):
        part = min(cost, amount)
        spent[cause] -= part
        amount -= part
        if not amount:
            return
    assert not amount, f"{amount} ps beyond the barrier belong to no recorded charge"
