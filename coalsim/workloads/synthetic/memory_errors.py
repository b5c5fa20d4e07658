"""Memory errors: threads use kernel objects as they should, but for mistakes planted among them.

Every CPU keeps some objects: each round it replaces one, writes into all of it, and now and then hands one
to the next CPU, which frees it.  At rounds drawn at random a mistake is made instead:

    overflow          some bytes behind what was asked for
    underflow         some bytes before the object
    use after free    some bytes into an object after its free
    double free       a second free
    wrong cache       an object of one cache freed into another
    interior free     a free of an address inside an object

Each has sites of its own, such as `plant_overflow_7`, with `owner_overflow_7` allocating the object.  At the
end everything is freed but the objects with damage, some of which live on.  A last mistake may be one that
no kernel survives: `guard` runs over the end of an allocation of whole pages, `stack` over that of the stack.
An operation is a round.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Literal

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.units import PAGE_SIZE
from coalsim.workloads.base import CpuMeter, Host, Memory
from coalsim.workloads.synthetic.places import Spread, choose_cpus

KINDS = ("overflow", "underflow", "use after free", "double free", "wrong cache", "interior free")
SITE = "memory_errors"
MOST_BYTES = 8
"""A planted overrun is at most this long, so that it ends in the red zone."""
HAND_OVER = 8
"""One round in so many hands an object to the next CPU."""
CACHES = (("planted-a", 192), ("planted-b", 320))
Fatal = Literal["none", "guard", "stack"]


@dataclass(frozen=True, kw_only=True)
class MemoryErrors:
    """N CPUs in a ring.

    Args:
        cpus: how many.
        rounds: of each.
        held: objects that each keeps.
        least, most: bytes of an object, drawn evenly between them.
        errors: mistakes of each kind, over all CPUs.
        kinds: which.
        fatal: the mistake that ends the run, made by the first CPU after its last round.
        spread: which CPUs.
    """

    cpus: int
    rounds: int
    held: int
    least: int
    most: int
    errors: int
    kinds: tuple[str, ...] = KINDS
    fatal: Fatal = "none"
    spread: Spread = "compact"

    endless = False
    headline = ""

    def start(self, host: Host) -> None:
        """One thread per CPU."""
        chosen = choose_cpus(host.machine, self.cpus, self.spread)
        inboxes: list[deque[int]] = [deque() for _ in chosen]
        caches = [host.memory.cache(name, size) for name, size in CACHES]
        for number, cpu_id in enumerate(chosen):
            worker = _Worker(
                self,
                host.cpus[cpu_id],
                host.memory,
                host.streams.stream(SITE, cpu_id),
                inboxes[number],
                inboxes[(number + 1) % len(inboxes)],
                caches,
            )
            mine = [
                (kind, index)
                for kind in self.kinds
                for index in range(self.errors)
                if index % self.cpus == number
            ]
            body = worker.work(mine, host.meter.cpu(cpu_id), is_first=number == 0)
            host.run_thread(cpu_id, SITE, body)

    def results(self) -> Mapping[str, object]:
        """How many mistakes were planted."""
        return {"planted": dict.fromkeys(self.kinds, self.errors)}


class _Worker:
    """One CPU's thread."""

    def __init__(
        self,
        load: MemoryErrors,
        cpu: Cpu,
        memory: Memory,
        random: Random,
        inbox: deque[int],
        onward: deque[int],
        caches: list[int],
    ) -> None:
        self._load = load
        self._cpu = cpu
        self._memory = memory
        self._random = random
        self._inbox = inbox  # shared: objects that the CPU before has handed over
        self._onward = onward
        self._caches = caches
        self._objects: list[tuple[int, int]] = []  # address and size
        self._planted: list[tuple[int, str]] = []  # address and owner

    def work(self, plan: list[tuple[str, int]], meter: CpuMeter, *, is_first: bool) -> Op[None]:
        """All rounds, and what is left at the end."""
        cpu, load, random = self._cpu, self._load, self._random
        at_round: dict[int, list[tuple[str, int]]] = {}
        for planted in plan:
            at_round.setdefault(int(random.random() * load.rounds), []).append(planted)
        for number in range(load.rounds):
            yield from cpu.look()
            began = cpu.clock
            yield from self._replace()
            for kind, index in at_round.get(number, ()):
                yield from self._plant(kind, index)
            yield from cpu.look()
            meter.done(cpu.clock - began)
        yield from self._leave()
        if is_first and load.fatal != "none":
            yield from self._die(load.fatal)

    # -- as it should be

    def _size(self) -> int:
        return self._load.least + int(self._random.random() * (self._load.most - self._load.least + 1))

    def _replace(self) -> Op[None]:
        """Free an object and allocate another; sometimes hand one on, or free what came."""
        cpu, memory, random = self._cpu, self._memory, self._random
        if len(self._objects) >= self._load.held:
            at = int(random.random() * len(self._objects))
            address, _ = self._objects.pop(at)
            if random.random() * HAND_OVER < 1:
                yield from cpu.sync()
                self._onward.append(address)
            else:
                yield from memory.kfree(cpu, address, SITE)
        size = self._size()
        address = yield from memory.kmalloc(cpu, size, SITE)
        if address:
            yield from memory.kernel_store(cpu, address, b"\xee" * size, SITE)
            self._objects.append((address, size))
        yield from self._free_what_came()

    def _free_what_came(self) -> Op[None]:
        yield from self._cpu.sync()
        while self._inbox:
            yield from self._memory.kfree(self._cpu, self._inbox.popleft(), f"{SITE} next")
            yield from self._cpu.sync()

    def _leave(self) -> Op[None]:
        """Free what is held, and every other damaged object: the rest is found by looking at all."""
        for address, _ in self._objects:
            yield from self._memory.kfree(self._cpu, address, SITE)
        for address, owner in self._planted[::2]:
            yield from self._memory.kfree(self._cpu, address, owner)
        yield from self._free_what_came()

    # -- mistakes

    def _plant(self, kind: str, index: int) -> Op[None]:
        """Make one mistake; nothing is planted where no object can be had."""
        cpu, memory = self._cpu, self._memory
        name = f"{kind.replace(' ', '_')}_{index}"
        owner, culprit, size = f"owner_{name}", f"plant_{name}", self._size()
        data = b"!" * (1 + int(self._random.random() * MOST_BYTES))
        if kind == "wrong cache":
            address = yield from memory.cache_alloc(cpu, self._caches[0], owner)
            if address:
                yield from memory.cache_free(cpu, self._caches[1], address, culprit)
            return
        address = yield from memory.kmalloc(cpu, size, owner)
        if not address:
            return
        if kind == "overflow":
            yield from memory.kernel_store(cpu, address + size, data, culprit)
            self._planted.append((address, f"free_{name}"))
        elif kind == "underflow":
            yield from memory.kernel_store(cpu, address - len(data), data, culprit)
            self._planted.append((address, f"free_{name}"))
        elif kind == "use after free":
            yield from memory.kfree(cpu, address, f"free_{name}")
            yield from memory.kernel_store(cpu, address, data[:size], culprit)
        elif kind == "double free":
            yield from memory.kfree(cpu, address, f"free_{name}")
            yield from memory.kfree(cpu, address, culprit)
        else:
            assert kind == "interior free", kind
            yield from memory.kfree(cpu, address + 1 + int(self._random.random() * (size - 1)), culprit)
            yield from memory.kfree(cpu, address, f"free_{name}")

    def _die(self, fatal: Fatal) -> Op[None]:
        """A mistake that ends the run, where guard pages are on."""
        cpu, memory = self._cpu, self._memory
        if fatal == "stack":
            yield from memory.deepen_stack(cpu, 64 * PAGE_SIZE, "plant_stack")
            return
        size = 3 * PAGE_SIZE
        address = yield from memory.kmalloc(cpu, size, "owner_guard")
        if address:
            yield from memory.kernel_store(cpu, address + size - 4, b"!" * 8, "plant_guard")
