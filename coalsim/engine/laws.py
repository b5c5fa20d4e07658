"""Laws of random times: how long a load thinks, holds or lives.

Written as ``const:37.7ns``, ``exp:56.3ns`` (mean), ``uniform:10ns:20ns`` (from, to),
``erlang:4:1us`` (shape, mean) or ``hyper:4:1us`` (squared coefficient of variation > 1,
mean; two balanced exponential phases).
Samples are whole picoseconds, drawn by inversion from the uniforms of one stream.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log, sqrt
from random import Random

from coalsim.units import MS, NS, SEC, US, Time, parse_time

Sampler = Callable[[], Time]


@dataclass(frozen=True, kw_only=True)
class Law:
    """A law by its kind and parameters; times in ps."""

    kind: str
    mean: Time
    low: Time = 0
    high: Time = 0
    shape: float = 1.0

    def sampler(self, stream: Random) -> Sampler:
        """A function that draws from `stream`."""
        mean, uniform = self.mean, stream.random
        if self.kind == "const":
            return lambda: mean
        if self.kind == "exp":
            return lambda: round(-mean * log(1.0 - uniform()))
        if self.kind == "uniform":
            low, span = self.low, self.high - self.low
            return lambda: low + round(span * uniform())
        if self.kind == "erlang":
            phases = int(self.shape)
            return lambda: round(-mean / phases * sum(log(1.0 - uniform()) for _ in range(phases)))
        # balanced two-phase hyperexponential: each phase carries half of the mean
        share = (1 + sqrt((self.shape - 1) / (self.shape + 1))) / 2
        fast, slow = mean / (2 * share), mean / (2 * (1 - share))

        def hyper() -> Time:
            phase = fast if uniform() < share else slow
            return round(-phase * log(1.0 - uniform()))

        return hyper

    def __str__(self) -> str:
        """As `parse_law` reads it back, exactly."""
        if self.kind == "uniform":
            return f"uniform:{_exact(self.low)}:{_exact(self.high)}"
        shape = f"{self.shape!r}:".replace(".0:", ":") if self.kind in ("erlang", "hyper") else ""
        return f"{self.kind}:{shape}{_exact(self.mean)}"


def _exact(time: Time) -> str:
    """A time in the largest unit that it fills, without rounding."""
    for unit, size in (("s", SEC), ("ms", MS), ("us", US), ("ns", NS)):
        if time >= size:
            whole, rest = divmod(time, size)
            digits = len(str(size)) - 1
            return f"{whole}.{rest:0{digits}}".rstrip("0").rstrip(".") + unit
    return f"{time}ps"


def parse_law(text: str) -> Law:
    """The law written as in this file's header.

    Raises:
        ValueError: the kind is unknown or a parameter does not fit.
    """
    kind, *rest = text.strip().split(":")
    if kind in ("const", "exp") and len(rest) == 1:
        return Law(kind=kind, mean=parse_time(rest[0]))
    if kind == "uniform" and len(rest) == 2:
        low, high = parse_time(rest[0]), parse_time(rest[1])
        if low > high:
            raise ValueError(f"{text!r} runs from the larger to the smaller time; swap them")
        return Law(kind=kind, mean=(low + high) // 2, low=low, high=high)
    if kind in ("erlang", "hyper") and len(rest) == 2:
        try:
            shape = float(rest[0])
        except ValueError:
            raise ValueError(f"{text!r}: {rest[0]!r} is not a number") from None
        if kind == "erlang" and not (shape.is_integer() and 1 <= shape <= 1000):
            raise ValueError(f"{text!r}: an Erlang law has 1 to 1000 whole phases")
        if kind == "hyper" and not 1 < shape < 1e6:
            raise ValueError(f"{text!r}: a hyperexponential law has a squared variation above 1")
        return Law(kind=kind, mean=parse_time(rest[1]), shape=shape)
    raise ValueError(
        f"{text!r} is not a law; write const:37.7ns, exp:56.3ns, uniform:10ns:20ns, erlang:4:1us, hyper:4:1us"
    )
