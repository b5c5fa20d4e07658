"""Size: many CPUs, a large machine's start, start-up of the command."""

import os
import subprocess
import sys
from statistics import median
from time import perf_counter

from coalsim.observe.document import ResultDocument
from coalsim.study.overrides import Setting
from coalsim.study.planning import open_study
from coalsim.study.run import run_study

LARGE = "pack:8 numa:2(memory=256GiB) core:64 pu:1"  # 1,024 CPUs, 16 nodes, 4 TB
START = """
import resource, sys, time
began = time.perf_counter()
from coalsim.study.overrides import Setting
from coalsim.study.planning import open_study
from coalsim.boot import System
plan = open_study("kmalloc_pairs", [Setting(key="machine", value=sys.argv[1], option="machine")])
system = System(plan.config)
system.boot()
print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def run_on(study: str, cpus: int, machine: str, duration: str) -> ResultDocument:
    values = {
        "machine": machine,
        "workload.cpus": cpus,
        "run.duration": duration,
        "run.warmup": "0ps",
        "kernel.hz": 0,
    }
    return run_study(open_study(study, [Setting(key=k, value=v, option=k) for k, v in values.items()]))


def cost_per_operation(study: str, cpus: int, short: str, long: str) -> float:
    """Host seconds of one more operation, without what filling the empty caches cost."""
    first, second = (run_on(study, cpus, LARGE, duration) for duration in (short, long))
    operations = second["throughput"]["ops"] - first["throughput"]["ops"]
    return float(second["host_s"] - first["host_s"]) / float(operations)


def test_host_cost_per_operation_at_1024_cpus(benchmark, versus) -> None:  # type: ignore[no-untyped-def]
    """At most twice that at 8 CPUs."""
    benchmark.pedantic(lambda: run_on("lock_loop", 1024, LARGE, "5ms"), rounds=1)
    for study, few, many in (
        ("kmalloc_pairs", ("1ms", "4ms"), ("400us", "430us")),
        ("lock_loop", ("20ms", "100ms"), ("20ms", "100ms")),
    ):
        ratios = [
            cost_per_operation(study, 1024, *many) / cost_per_operation(study, 8, *few) for _ in range(3)
        ]
        versus.value(f"{study}: cost per operation, 1,024 over 8 CPUs", median(ratios), "x", "<= 2")


def test_start_of_a_large_machine(benchmark, versus) -> None:  # type: ignore[no-untyped-def]
    """1,024 CPUs, 16 nodes, 4 TB: under 3 s and 1 GB, imports included."""

    def start() -> tuple[float, float]:
        out = subprocess.run(
            [sys.executable, "-c", START, LARGE],
            capture_output=True,
            text=True,
            check=True,
            env=warm_environment(),
        )
        seconds, megabytes = map(float, out.stdout.split())
        return seconds, megabytes

    seconds, megabytes = benchmark.pedantic(start, rounds=2, warmup_rounds=1)
    versus.value("start of 1,024 CPUs, 16 nodes, 4 TB", seconds, "s", "< 3")
    versus.value("  its memory on the host", megabytes, "MB", "< 1,000")


def warm_environment() -> dict[str, str]:
    """Bytecode may be cached, whatever the caller says."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}


def wall(command: list[str]) -> float:
    """Median milliseconds of a command, after one run to fill the caches."""
    times = []
    for _ in range(6):
        began = perf_counter()
        subprocess.run(command, capture_output=True, check=True, env=warm_environment())
        times.append((perf_counter() - began) * 1000)
    return median(times[1:])


def test_start_of_the_command(benchmark, versus) -> None:  # type: ignore[no-untyped-def]
    """`coalsim --help` under 150 ms, `import coalsim` under 250 ms; quoted with the bare interpreter."""
    benchmark.pedantic(lambda: wall([sys.executable, "-c", "pass"]), rounds=1)
    bare = wall([sys.executable, "-c", "pass"])
    versus.value(
        "coalsim --help",
        wall([sys.executable, "-m", "coalsim", "--help"]),
        "ms",
        "< 150",
        f"bare Python {bare:.0f}",
    )
    versus.value("import coalsim", wall([sys.executable, "-c", "import coalsim"]), "ms", "< 250")
    versus.value(
        "import coalsim and its interface",
        wall([sys.executable, "-c", "import coalsim; coalsim.run"]),
        "ms",
        "quoted",
    )
