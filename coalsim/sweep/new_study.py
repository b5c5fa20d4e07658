"""A new study file: a small sweep with a comment at every section, or a study that is there, to be changed.

Invariant: what is written is a study that can be run as it stands.
"""

from pathlib import Path

from coalsim.errors import ConfigError, Problem
from coalsim.study.document import find_study, read_document

TEMPLATE = """\
# Question: how many operations per second does one lock allow, and how long does each wait?
#
# Setup: CPUs think for an exponential time (mean 4 us), take one lock and hold it for a constant time.
#
# Expectation: the lock is the bottleneck from (4 + 1) / 1 = 5 CPUs on; more CPUs only wait longer.
#
# Reading it: throughput.ops_per_s levels off, latency_ns.p99 grows with the CPUs.
#
# coalsim study check {name}.toml     all mistakes, or how much there is to run
# coalsim run {name}.toml --quick     a short look
# coalsim run {name}.toml --out {name}

machine = "icx2"                # `coalsim machines list`; or a file, lstopo, numactl, "pack:2 core:8 pu:2"

[study]
name = "{name}"
title = "One lock, more and more CPUs"
question = "How many operations per second does one lock allow, and how long does each wait?"
expectation = "Throughput levels off at 5 CPUs; from there on only the waiting grows."
reading = "throughput.ops_per_s levels off, latency_ns.p99 grows with the CPUs."

[kernel]
profile = "linux-6.18"          # coal, linux-3.5 ... linux-6.18, sv6
# hz = 0                        # any switch of the profile can be changed
# [kernel.cost]
# pcp_pop = "12ns"              # and any cost

[workload]
kind = "lock_loop"              # which parameters there are depends on the kind
cpus = 4
think = "exp:4us"
hold = "const:1us"

[run]
warmup = "200us"                # simulated time before counting begins
duration = "2ms"                # and while counting; 0: until the load ends by itself
replications = 3                # replication r has seed + r, in every point
seed = 1

[[axis]]                        # axes make a grid: every value of one with every value of the others
key = "kernel.lock"
values = ["ticket", "mcs"]

[[axis]]
key = "workload.cpus"
from = 1                        # or values = [1, 2, 4, 8, 16, 32]
to = 32
count = 6
scale = "log"
label = "CPUs"

[show]                          # what tables and the report show
metrics = ["throughput.ops_per_s", "latency_ns.p99"]
x = "workload.cpus"

# [stop]                        # instead of run.replications: repeat until the interval is narrow enough
# metric = "throughput.ops_per_s"
# relative = 0.02
# least = 10
# most = 40

[quick]                         # what --quick changes
run.replications = 1
[quick.axis."workload.cpus"]
values = [1, 8]
"""


def new_study_text(name: str, source: str = "") -> str:
    """The text of a new study.

    Args:
        name: of the new study.
        source: a study to begin with, a file or one that coalsim brings along; empty: a small sweep.

    Raises:
        ConfigError: there is no such study.
    """
    if not source:
        return TEMPLATE.format(name=name)
    path = find_study(source)
    read_document(path)  # says what is wrong with it
    return path.read_text(encoding="utf-8").replace(f'name = "{path.stem}"', f'name = "{name}"', 1)


def write_new_study(path: Path, text: str) -> None:
    """Write a new file; one that is there stays as it is.

    Raises:
        ConfigError: there is one, or it cannot be written.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        message, remedy = "is there already", "give another name, or remove it"
        raise ConfigError([Problem(where=str(path), message=message, remedy=remedy)]) from None
    except OSError as error:
        remedy = "name a folder that you may write to"
        message = f"cannot be written: {error.strerror}"
        raise ConfigError([Problem(where=str(path), message=message, remedy=remedy)]) from None


def study_path(name: str) -> Path:
    """The file of a new study of that name, which may have a folder and its ending.

    Raises:
        ConfigError: not a name.
    """
    path = Path(name if name.endswith(".toml") else f"{name}.toml")
    if not path.stem.replace("-", "_").isidentifier():
        remedy = "use letters, digits, - and _"
        raise ConfigError([Problem(where=name, message="not a name for a study", remedy=remedy)])
    return path
