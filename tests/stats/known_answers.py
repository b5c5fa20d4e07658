"""One lock in a closed loop on an ideal machine of four CPUs: short real runs with a known answer.

M/M/1//4 (the machine repairman) and M/D/1//4 after Lazowska, Zahorjan, Graham, Sevcik,
"Quantitative system performance", 1984; times in us.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.resources import files
from math import comb, exp
from pathlib import Path

from coalsim.observe.document import ResultDocument
from coalsim.study.overrides import Setting
from coalsim.study.planning import Plan, open_study
from coalsim.study.run import run_study

CPUS, HOLD, THINK = 4, 1.0, 4.0


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What queueing theory says: operations per us, and us from asking to releasing."""

    throughput: float

    @property
    def latency(self) -> float:
        return CPUS / self.throughput - THINK


def exponential_hold() -> Answer:
    """M/M/1//4."""
    weight, total = 1.0, 0.0
    for waiting in range(CPUS + 1):
        total += weight
        weight *= (CPUS - waiting) * HOLD / THINK
    return Answer(throughput=(1 - 1 / total) / HOLD)


def constant_hold() -> Answer:
    """M/D/1//4, by the chain of those left behind at a release."""
    still = exp(-HOLD / THINK)
    come = [
        [comb(out, k) * (1 - still) ** k * still ** (out - k) for k in range(out + 1)] for out in range(CPUS)
    ]
    left = [1.0] + [0.0] * (CPUS - 1)
    for _ in range(2000):
        after = [0.0] * CPUS
        for behind, share in enumerate(left):
            first, out = (behind - 1, CPUS - behind) if behind else (0, CPUS - 1)
            for arrived, chance in enumerate(come[out]):
                after[first + arrived] += share * chance
        left = after
    return Answer(throughput=1 / (HOLD + left[0] * THINK / CPUS))


class Loop:
    """Short runs of one of the two, as many as are asked for.

    Args:
        folder: where the machine's file may be put.
        hold, think: their laws, such as ``exp:1us``.
        settings: keys of [run] to change.
    """

    def __init__(self, folder: Path, hold: str, think: str = f"exp:{THINK:g}us", **settings: object) -> None:
        text = files("coalsim").joinpath("topology/machines/ideal.toml").read_text("utf-8")
        small = text.replace("cores_per_socket = 256", f"cores_per_socket = {CPUS}")
        assert small != text, "256 CPUs would be built for every run"
        (folder / "ideal4.toml").write_text(small, "utf-8")
        asked = {
            "machine": str(folder / "ideal4.toml"),
            "workload.cpus": CPUS,
            "workload.think": think,
            "workload.hold": hold,
            "run.warmup": "50us",
            "run.duration": "500us",
            **{f"run.{key}": value for key, value in settings.items()},
        }
        given = [Setting(key=key, value=value, option=f"--set {key}={value}") for key, value in asked.items()]
        self._plan = open_study("lock_loop", given)

    def run(self, seed: int) -> ResultDocument:
        """One run."""
        return run_study(self._seeded(seed))

    def throughputs(self, seeds: range) -> Iterator[float]:
        """Operations per us of one run after the other."""
        for seed in seeds:
            yield self.run(seed)["throughput"]["ops_per_s"] / 1e6

    def _seeded(self, seed: int) -> Plan:
        spec = self._plan.spec
        return replace(self._plan, spec=replace(spec, run=spec.run.model_copy(update={"seed": seed})))
