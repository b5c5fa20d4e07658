"""What a timeline is made of; all times are absolute simulated picoseconds.

    frame   a named level of what a CPU does: operation > phase > cause > interrupt
    leaf    a stretch of time of one CPU in which its frames stay the same
    edge    the begin or the end of a frame

Invariant: the leaves of a CPU follow each other without gap or overlap, so its edges nest.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from coalsim.units import Time

OPERATION, PHASE, CAUSE, HANDLER = "operation", "phase", "cause", "handler"
"""Kinds of frames, outermost first."""


class Frame(NamedTuple):
    """One level of what a CPU does; two stretches with equal frames are in the same instance of it."""

    name: str
    kind: str
    key: tuple[int, int]  # tells instances of one name apart


Path = tuple[Frame, ...]


class Leaf(NamedTuple):
    """A stretch of one CPU's time; the last frame names the cause that the time is counted for."""

    begin: Time
    end: Time
    path: Path


class Edge(NamedTuple):
    """A frame begins or ends."""

    at: Time
    opens: bool
    frame: Frame


class LockWait(NamedTuple):
    """One contended acquisition that is over, as the lock table counts it."""

    cpu: int
    name: str  # of the lock class, as in the lock table
    type: str
    lock: str  # the instance
    site: str  # who waited
    behind: str  # call site of whoever was right ahead; may be empty
    arrived: Time
    granted: Time
    released: Time


class Message(NamedTuple):
    """A request from one CPU to another: an interrupt, or an effect that hardware carries."""

    sender: int
    target: int
    sent: Time
    started: Time  # the handler, or the effect
    ended: Time
    seen: Time  # the answer, by the sender; -1: there is none


class Mark(NamedTuple):
    """Something that happens at one moment; CPU -1: to the whole machine."""

    at: Time
    cpu: int
    name: str
    text: str


class Sample(NamedTuple):
    """The value of a counter from a moment on; node -1: of the whole machine."""

    at: Time
    name: str
    node: int
    value: int


def common_prefix(first: Path, second: Path) -> Path:
    """The frames that both are in."""
    shared = 0
    for mine, other in zip(first, second, strict=False):
        if mine != other:
            break
        shared += 1
    return first[:shared]


def edges(leaves: Iterable[Leaf]) -> Iterator[Edge]:
    """Begins and ends of all frames of one CPU, in order of time, nested strictly."""
    path: Path = ()
    at: Time = 0
    for leaf in leaves:
        shared = len(common_prefix(path, leaf.path))
        for frame in reversed(path[shared:]):
            yield Edge(at, False, frame)
        for frame in leaf.path[shared:]:
            yield Edge(leaf.begin, True, frame)
        path, at = leaf.path, leaf.end
    for frame in reversed(path):
        yield Edge(at, False, frame)
