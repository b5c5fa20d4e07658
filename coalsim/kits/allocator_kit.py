"""The kit of frame allocators: what every allocator promises, tried with random programs.

    from coalsim.kits import check_allocator
    check_allocator(MyAllocator)

blocks         every block is free, inside the zone, aligned, and nobody else's, and found in
               no more steps than announced
exhaustion     all frames can be had one by one, then none; what is given back can be had again
coalescing     when all is given back, the largest blocks can be had as at the beginning
repetition     the same calls get the same answers
running        a study runs with it: memory is conserved, and the engine's modes agree

Every answer is looked at as in a run (`own_source.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from random import Random

from coalsim.errors import ConfigError
from coalsim.kits.short_study import SMALL, outcome_of, same_in_all_modes
from coalsim.kits.verdicts import Broken, Report, Trials
from coalsim.mm.phys.allocator import NOTHING, FrameAllocator
from coalsim.mm.phys.own_source import OwnSource
from coalsim.profiles.profile import load_profile
from coalsim.units import Time

SEEDS = (1, 2, 3, 4, 5, 6, 7, 8)
QUICK_SEEDS = (1, 2, 3)
STEPS = 400
"""Requests of a random program."""
TOP = 6
"""The largest block has 2**TOP frames."""
CLOCK = Decimal(1)
"""GHz at which steps are priced; nothing is compared with a measurement."""


def allocator_report(policy: type[FrameAllocator], *, seeds: Sequence[int] = SEEDS) -> Report:
    """Try every promise of an allocator."""
    return _trials(policy, seeds).report()


def check_allocator(policy: type[FrameAllocator], *, seeds: Sequence[int] = SEEDS) -> Report:
    """Try every promise of an allocator.

    Args:
        policy: the class.
        seeds: a random program for each.

    Raises:
        PromiseBroken: some do not hold.
    """
    return _trials(policy, seeds).demand()


@dataclass(frozen=True)
class _Toucher:
    """A processor, as far as an allocator sees one."""

    id: int
    transfer: Sequence[Time]


CPU = _Toucher(0, (0,))


def _trials(policy: type[FrameAllocator], seeds: Sequence[int]) -> Trials:
    kit = _AllocatorKit(policy, seeds)
    trials = Trials("allocator", policy, "check_allocator")
    works = trials.promise(
        "interface", "it is a FrameAllocator that can be made, taken from and given to", kit.works
    )
    if not works:
        return trials
    trials.promise("blocks", "every block is free, inside the zone, aligned, and nobody else's", kit.blocks)
    trials.promise("exhaustion", "all frames can be had one by one, and then none", kit.exhaustion)
    trials.promise(
        "coalescing", "when all is given back, the largest blocks can be had again", kit.coalescing
    )
    trials.promise("repetition", "the same calls get the same answers", kit.repetition)
    if trials.report().passed:
        trials.promise("running", "a study runs with it, and the engine's modes agree", kit.running)
    return trials


class _AllocatorKit:
    """The trials of one class."""

    def __init__(self, policy: type[FrameAllocator], seeds: Sequence[int]) -> None:
        self._policy = policy
        self._seeds = seeds

    def _fresh(self, seed: int) -> OwnSource:
        """A zone of a few hundred frames, checked at every call."""
        first = 64 * Random(seed).randrange(1, 50)
        profile = load_profile("coal")
        return OwnSource(self._policy, first, 64 * (3 + seed % 5), TOP, profile.costs(CLOCK), 0)

    def works(self) -> None:
        """The least that it must do."""
        if not issubclass(self._policy, FrameAllocator):
            raise Broken("it is no subclass of FrameAllocator")
        source = self._fresh(1)
        head, _ = source.take(0, CPU)
        if head == NOTHING:
            raise Broken("a zone of which nobody has had anything gives nothing")
        source.give(head, 0, CPU)

    def _program(self, seed: int) -> list[tuple[int, int]]:
        """Play a random program; what was asked and what came, for comparison.  Checked by `OwnSource`."""
        source, draw = self._fresh(seed), Random(seed)
        held: list[tuple[int, int]] = []
        said: list[tuple[int, int]] = []
        for step in range(STEPS):
            wanted = 0.6 if step // 100 % 2 == 0 else 0.35  # the zone fills and empties
            try:
                if draw.random() < wanted or not held:
                    order = min(int(draw.expovariate(0.9)), TOP)
                    head, _ = source.take(order, CPU)
                    said.append((order, head))
                    if head != NOTHING:
                        held.append((head, order))
                else:
                    source.give(*held.pop(draw.randrange(len(held))), CPU)
                source.validate()
            except ConfigError as error:
                raise Broken(f"at request {step} of a random program: {error}", _again(seed)) from None
        return said

    def blocks(self) -> None:
        """No frame twice, whatever the mix of requests."""
        for seed in self._seeds:
            self._program(seed)

    def exhaustion(self) -> None:
        """Single frames until there is none, and back."""
        for seed in self._seeds:
            source, draw = self._fresh(seed), Random(seed)
            frames = source.free_frames
            held = [head for _ in range(frames) if (head := source.take(0, CPU)[0]) != NOTHING]
            if len(held) != frames:
                raise Broken(f"of {frames} free frames it gives {len(held)}", _again(seed))
            if (head := source.take(0, CPU)[0]) != NOTHING:
                raise Broken(f"all {frames} frames are taken, and it gives {head:#x}", _again(seed))
            back = held.pop(draw.randrange(frames))
            source.give(back, 0, CPU)
            if (head := source.take(0, CPU)[0]) != back:
                raise Broken(f"frame {back:#x} is the only free one, and it gives {head}", _again(seed))

    def coalescing(self) -> None:
        """Taken to pieces and put together again."""
        for seed in self._seeds:
            source, draw = self._fresh(seed), Random(seed)
            before = _largest(source)
            for head in before:
                source.give(head, TOP, CPU)
            held = [source.take(0, CPU)[0] for _ in range(source.free_frames)]
            held = [head for head in held if head != NOTHING]
            draw.shuffle(held)
            for head in held:
                source.give(head, 0, CPU)
            after = _largest(source)
            if len(after) < len(before):
                raise Broken(
                    f"{len(before)} blocks of {1 << TOP} frames could be had; all was taken in single "
                    f"frames and given back, and now {len(after)} can be had",
                    _again(seed),
                )

    def repetition(self) -> None:
        """Two of them, treated alike, behave alike."""
        for seed in self._seeds:
            if self._program(seed) != self._program(seed):
                raise Broken("two allocators that got the same requests gave different frames", _again(seed))

    def running(self) -> None:
        """A short run of a real load in all modes."""
        settings = {
            "workload.cpus": "4",
            "workload.frames_per_cpu": "200",
            "machine.name": SMALL,
            "machine.memory": "32MiB",
        }
        same_in_all_modes(
            lambda mode: outcome_of(
                "page_random", settings, mode, lambda config: replace(config, allocator=self._policy)
            )
        )


def _largest(source: OwnSource) -> list[int]:
    """Take all largest blocks that there are."""
    heads: list[int] = []
    while (head := source.take(TOP, CPU)[0]) != NOTHING:
        heads.append(head)
    return heads


def _again(seed: int) -> str:
    return f"seeds=({seed},)"
