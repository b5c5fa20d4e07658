"""Twelve changes: what is predicted for each, and what comes out when the change is really made.

A prediction is a virtual speed-up (`WhatIf`) or is extrapolated from an elasticity, which knows the
configuration as it is and nothing else.  The truth is another configuration, made by other means:
another law of the load, a machine file, a cost or a switch of the kernel, the clock.  Both use the
same seeds as the base, so all three come in pairs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import log
from pathlib import Path

from coalsim.analysis.cases import Cases, metric_of
from coalsim.analysis.what_if import THROUGHPUT, predict
from coalsim.stats.effects import RatioInterval, ratio_interval
from coalsim.stats.student import interval
from coalsim.study.overrides import parse_settings
from coalsim.study.what_if import Change, WhatIf, parse_what_if
from coalsim.sweep.pools import Serial
from coalsim.sweep.sweep_spec import SweepSpec, open_sweep
from coalsim.topology.machine_writer import machine_file_text
from coalsim.topology.presets import load_machine

PAIRS = 5
POINT = 0.01
"""Gains that differ by less than this are the same gain."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One change.

    Args:
        name: in the table.
        study, settings: the configuration as it is.
        predicted: the change, by target; truth: the settings that really make it.
        metric: that is compared.
        by_elasticity: whether the prediction is extrapolated from one.
        hits: whether prediction and truth agree; a miss is a limit of the method, and stays in.
    """

    name: str
    study: str
    settings: tuple[str, ...]
    predicted: Mapping[str, str]
    truth: tuple[str, ...]
    metric: str = THROUGHPUT
    by_elasticity: bool = False
    hits: bool = True


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was predicted, and what is so; as changed / base."""

    predicted: RatioInterval
    truth: RatioInterval

    @property
    def agree(self) -> bool:
        """The intervals overlap, or the gains are the same to a percentage point."""
        overlap = self.predicted.low <= self.truth.high and self.truth.low <= self.predicted.high
        return overlap or abs(self.predicted.ratio - self.truth.ratio) <= POINT


LOOP = ("machine=icx2", "workload.cpus=24", "run.warmup=100us", "run.duration=3ms")
LOOP_COSTS = ("kernel.cost.lock_uncontended=6cycles", "kernel.cost.lock_release=4cycles")
TICKET = ("kernel.lock=ticket", "workload.cpus=32", "workload.hold=exp:200ns")
BULK = ("workload.frames_per_cpu=600",)
FLUSH = ("run.warmup=200us", "run.duration=1500us", "workload.cpus=8", "workload.start=spread")

CASES = (
    Case(
        name="a lock's sections half as long; no other cost",
        study="lock_loop",
        settings=("run.warmup=1ms", "run.duration=20ms"),
        predicted={"lock:lock_loop": "0.5"},
        truth=("workload.hold=exp:500ns",),
    ),
    Case(
        name="the same on a real machine, 24 CPUs",
        study="lock_loop",
        settings=(*LOOP, *LOOP_COSTS, "workload.hold=const:250ns"),
        predicted={"lock:lock_loop": "0.5"},
        truth=(
            *("workload.hold=const:125ns", "kernel.cost.lock_uncontended=3cycles"),
            "kernel.cost.lock_release=2cycles",
        ),
    ),
    Case(
        name="the zone lock's sections half as long",
        study="page_bulk",
        settings=BULK,
        predicted={"lock:zone": "0.5"},
        truth=("kernel.cost.refill_per_page=10.05ns", "kernel.cost.refill_fixed=1281.5cycles"),
    ),
    Case(
        name="interrupts at half their price, in a machine file",
        study="tlb_flush2",
        settings=FLUSH,
        predicted={"ipi": "0.5"},
        truth=("machine=FILE",),
    ),
    Case(
        name="the same: mean latency of a shootdown",
        study="tlb_flush2",
        settings=FLUSH,
        predicted={"ipi": "0.5"},
        truth=("machine=FILE",),
        metric="shootdown_ns.mean",
    ),
    Case(
        name="pages cleared at twice the price",
        study="page_fault1",
        settings=("workload.cpus=4", "workload.mib=1", "workload.start=spread", "run.duration=1500us"),
        predicted={"cost:zero_page*": "2"},
        truth=("kernel.cost.zero_page=ZERO", "kernel.cost.zero_page_warm=WARM"),
    ),
    Case(
        name="refilling a page list, a fifth cheaper, by its elasticity",
        study="page_bulk",
        settings=BULK,
        predicted={"cost:refill_per_page": "0.8"},
        truth=("kernel.cost.refill_per_page=16.08ns",),
        by_elasticity=True,
    ),
    Case(
        name="a hand-over a third dearer, by its elasticity",
        study="lock_loop",
        settings=(*LOOP, *LOOP_COSTS, "workload.hold=const:100ns", "workload.think=exp:1us"),
        predicted={"machine:line_transfer.socket": "1.3"},
        truth=("machine.line_transfer.socket=HANDOVER",),
        by_elasticity=True,
    ),
    Case(
        name="a lock's sections a fifth as long, by the elasticity to them",
        study="lock_loop",
        settings=("run.warmup=1ms", "run.duration=20ms"),
        predicted={"lock:lock_loop": "0.2"},
        truth=("workload.hold=exp:200ns",),
        by_elasticity=True,
        hits=False,
    ),
    Case(
        name="the address space's lock free of sections, against range locks",
        study="next_bottleneck",
        settings=("workload.cpus=8", "run.warmup=100us", "run.duration=500us"),
        predicted={"lock:mmap": "0"},
        truth=("kernel.mmap_lock=range",),
        hits=False,
    ),
    Case(
        name="a lock's sections twice as long, 32 CPUs and a ticket lock: mean latency",
        study="lock_loop",
        settings=(*LOOP[:1], *LOOP[2:], *LOOP_COSTS, *TICKET),
        predicted={"lock:lock_loop": "2"},
        truth=(
            *("workload.hold=exp:400ns", "kernel.cost.lock_uncontended=12cycles"),
            "kernel.cost.lock_release=8cycles",
        ),
        metric="latency_ns.mean",
    ),
    Case(
        name="a slower clock, in a machine file",
        study="page_fault1",
        settings=("workload.cpus=4", "workload.mib=1", "workload.start=spread", "run.duration=1500us"),
        predicted={"machine:clock_ghz": "0.8"},
        truth=("machine=SLOW",),
    ),
)


def outcome_of(case: Case, folder: Path) -> Outcome:
    """Predict, and make the change."""
    spec = open_sweep(case.study, parse_settings(case.settings))
    truth = open_sweep(case.study, parse_settings((*case.settings, *_settings(case, spec, folder))))
    with Serial() as pool:
        cases = Cases(spec, spec.points[0], pool)
        others = Cases(truth, truth.points[0], pool)
        base = metric_of(cases.documents(cases.base, PAIRS), case.metric)
        real = metric_of(others.documents(others.base, PAIRS), case.metric)
        what_if = parse_what_if(case.predicted, [])
        if case.by_elasticity:
            found = _extrapolated(cases, what_if.changes[0], case.metric)
        else:
            ratio = predict(cases, what_if, PAIRS, case.metric).ratio
            assert ratio is not None
            found = ratio
    return Outcome(predicted=found, truth=ratio_interval(base, real))


def _extrapolated(cases: Cases, change: Change, metric: str) -> RatioInterval:
    """What the elasticity over 10 % says of the whole change."""
    sides = [WhatIf(changes=(Change(target=change.target, factor=Decimal(f)),)) for f in ("1.1", "0.9")]
    high, low = (metric_of(cases.documents(side, PAIRS), metric) for side in sides)
    steps = [log(b / a) / log(1.1 / 0.9) for a, b in zip(low, high, strict=True)]
    found = interval(steps)
    ends = sorted(float(change.factor) ** end for end in (found.low, found.high))
    ratio = float(change.factor) ** found.mean
    return RatioInterval(ratio=ratio, low=ends[0], high=ends[1], count=PAIRS, confidence=found.confidence)


def _settings(case: Case, spec: SweepSpec, folder: Path) -> tuple[str, ...]:
    """The settings that make the change, with what follows from the configuration put in."""
    plan = spec.plan(spec.points[0])
    costs, machine = plan.spec.kernel.costs_table, plan.config.machine
    hand_over = machine.line_transfer[next(d for d in machine.line_transfer if d.key == "socket")]
    words = {
        "ZERO": lambda: f"{costs['zero_page'].value * 2:f}{costs['zero_page'].unit}",
        "WARM": lambda: f"{costs['zero_page_warm'].value * 2:f}{costs['zero_page_warm'].unit}",
        "HANDOVER": lambda: f"{hand_over.value * Decimal('1.3'):f}{hand_over.unit}",
        "FILE": lambda: str(_halved(plan.spec.machine, folder)),
        "SLOW": lambda: str(_slowed(plan.spec.machine, folder)),
    }
    settings = []
    for text in case.truth:
        key, _, value = text.partition("=")
        settings.append(f"{key}={words[value]()}" if value in words else text)
    return tuple(settings)


def _halved(name: str, folder: Path) -> Path:
    """A file of the machine with interrupts at half their price."""
    machine = load_machine(name)
    numbers = dict(machine.parameters())
    changes = {
        key: f"{number.value / 2:f}{number.unit}"
        for key, number in numbers.items()
        if key.startswith("ipi_") or key in ("mmu.interrupt_entry", "mmu.interrupt_exit")
    }
    file = folder / "halved.toml"
    file.write_text(machine_file_text(machine.with_overrides(changes)), encoding="utf-8")
    return file


def _slowed(name: str, folder: Path) -> Path:
    """A file of the machine with a clock of four fifths."""
    machine = load_machine(name)
    clock = machine.clock_ghz
    changes = {"clock_ghz": f"{clock.value * 4 / 5:f}{clock.unit}"}
    file = folder / "slow.toml"
    file.write_text(machine_file_text(machine.with_overrides(changes)), encoding="utf-8")
    return file
