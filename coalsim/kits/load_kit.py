"""The kit of loads.

    from coalsim.kits import check_load
    check_load(MyLoad)

parameters     it can be made from its defaults alone, and writes itself so that it is read again
running        it runs: its threads wait as they should, and time is whole and passes
ending         a load that is not endless ends; one that is, does not
operations     it counts operations, and no more of them than time has room for
repetition     the same seed gives the same result
modes          the engine's short cuts change nothing
"""

import json
from collections.abc import Sequence
from dataclasses import replace

from pydantic import BaseModel, ValidationError

from coalsim.kits.lock_bench import FASTEST
from coalsim.kits.short_study import in_mode, planned, same_in_all_modes
from coalsim.kits.verdicts import Broken, Report, Trials
from coalsim.observe.document import ResultDocument
from coalsim.plugins import Asked
from coalsim.study.own_loads import Watched, find_load
from coalsim.study.parameters import Parameters
from coalsim.study.planning import Plan
from coalsim.study.run import run_study
from coalsim.units import US
from coalsim.workloads.base import Workload

SEEDS = (1, 2)
QUICK_SEEDS = (1,)
DURATION = 60 * US
"""Of a run of a load that does not end."""
LEAST_CORES = 2
"""Of each of the two sockets."""


def load_report(policy: type[BaseModel], *, seeds: Sequence[int] = SEEDS) -> Report:
    """Try every promise of a load."""
    return _trials(policy, seeds).report()


def check_load(policy: type[BaseModel], *, seeds: Sequence[int] = SEEDS) -> Report:
    """Try every promise of a load.

    Args:
        policy: the class: a `Load`, or `Parameters` with a `build`.
        seeds: of the runs.

    Raises:
        PromiseBroken: some do not hold.
    """
    return _trials(policy, seeds).demand()


def _trials(policy: type[BaseModel], seeds: Sequence[int]) -> Trials:
    kit = _LoadKit(policy, seeds)
    trials = Trials("load", policy, "check_load")
    said = "its defaults make a load, and it writes itself so that it is read again"
    if not trials.promise("parameters", said, kit.parameters):
        return trials
    if not trials.promise("running", "it runs, and ends unless it is endless", kit.running):
        return trials
    trials.promise("operations", "it counts operations, no more than time has room for", kit.operations)
    if trials.promise("repetition", "the same seed gives the same result", kit.repetition):
        trials.promise("modes", "the engine's short cuts change nothing", kit.modes)
    return trials


class _LoadKit:
    """The trials of one class."""

    def __init__(self, policy: type[BaseModel], seeds: Sequence[int]) -> None:
        self._policy = policy
        self._seeds = seeds

    def _plan(self, seed: int) -> Plan:
        """The load with its defaults, in place of the one of a named study."""
        model = self._policy()
        cores = max(LEAST_CORES, -(-getattr(model, "cpus", 1) // 2))
        settings = {
            "machine": f"pack:2 numa:1 core:{cores} pu:1",
            "run.seed": seed,
            "run.warmup": 0,
            "run.duration": f"{DURATION}ps",
        }
        plan = planned("page_repeat", settings)
        spec = replace(plan.spec, workload=model, workload_kind=self._policy.__name__)
        load = _built(model)
        run = spec.run.model_copy(update={"duration": DURATION if load.endless else 0})
        return replace(plan, spec=replace(spec, run=run), load=lambda _: _built(self._policy()))

    def _result(self, seed: int) -> ResultDocument:
        return run_study(self._plan(seed))

    def parameters(self) -> None:
        """Made, written, read."""
        find_load(self._policy.__name__, {self._policy.__name__: self._policy}, Asked(key="workload.kind"))
        if not issubclass(self._policy, Parameters):
            raise Broken("it is no subclass of Load or Parameters")
        try:
            model = self._policy()
            again = self._policy.model_validate(json.loads(json.dumps(model.model_dump(mode="json"))))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(map(str, first["loc"]))
            raise Broken(f"field {field}: {first['msg']}; give every field a default") from None
        except TypeError as error:
            raise Broken(f"its parameters cannot be written down: {error}") from None
        if again != model:
            raise Broken(f"{model!r} reads itself back as {again!r}")

    def running(self) -> None:
        """Once for each seed."""
        for seed in self._seeds:
            self._result(seed)

    def operations(self) -> None:
        """Some, and each in its time."""
        for seed in self._seeds:
            result = self._result(seed)
            threads = self._plan(seed).config.machine.num_cpus
            if not (ops := result["throughput"]["ops"]):
                raise Broken("no operation was counted: call meter.done(latency)", f"seeds=({seed},)")
            mean = result["latency_ns"]["mean"]
            if ops * mean * 1000 > 1.01 * threads * result["sim_time_ps"]:
                said = (
                    f"{ops} operations of {mean} ns on the mean do not fit into "
                    f"{result['sim_time_ps']} ps of {threads} CPUs: "
                    "an operation's latency is from its begin to its end"
                )
                raise Broken(said, f"seeds=({seed},)")

    def repetition(self) -> None:
        """Twice for each seed."""
        for seed in self._seeds:
            if in_mode(self._plan(seed), FASTEST) != in_mode(self._plan(seed), FASTEST):
                said = "two runs differ: draw random numbers from host.streams only, keep no global state"
                raise Broken(said, f"seeds=({seed},)")

    def modes(self) -> None:
        """Every mode for each seed."""
        for seed in self._seeds:
            try:
                same_in_all_modes(lambda mode, seed=seed: in_mode(self._plan(seed), mode))  # type: ignore[misc]
            except Broken as broken:
                said = f"{broken.detail}; read the clock right after cpu.look() or cpu.sync() only"
                raise Broken(said, f"seeds=({seed},)") from None


def _built(model: BaseModel) -> Workload:
    """The load, watched as a foreign one is."""
    return Watched(model)
