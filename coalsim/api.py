"""The Python interface: what the command line can do, as functions.

    import coalsim
    result = coalsim.run("lock_loop", {"kernel.lock": "ticket", "workload.cpus": 16})
    print(coalsim.summary(result))

Results are the documents that `--json` prints (`observe/document.py`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from coalsim.observe.document import ResultDocument
from coalsim.observe.summary import summary as _summary
from coalsim.study.overrides import Setting
from coalsim.study.planning import open_study
from coalsim.study.run import run_study
from coalsim.study.validate import Verdict
from coalsim.study.validate import validate as _validate
from coalsim.topology.machine import Machine
from coalsim.topology.presets import load_machine

if TYPE_CHECKING:
    from coalsim.report.tables import ResultTable

Settings = Mapping[str, object]
"""Dotted keys with values, as behind `--set`: ``{"workload.cpus": 16, "machine.clock_ghz": 2.2}``."""


def run(
    study: str | Path,
    settings: Settings | None = None,
    *,
    machine: str = "",
    seed: int = -1,
    trust: bool = False,
) -> ResultDocument:
    """Run a study: a file, or the name of one that coalsim brings along.

    Args:
        study: name or path.
        settings: keys to change.
        machine: a preset, a machine file, or a synthetic description; empty: the study's own.
        seed: of all random numbers; negative: the study's own.
        trust: whether a study file may load classes from files and modules; settings always may.

    Raises:
        ConfigError: every mistake in the study or the settings.
        KernelBug: the simulated kernel broke one of its rules.
    """
    return run_study(open_study(str(study), _settings(settings, machine, seed), trust=trust))


def replay(
    trace: str | Path, settings: Settings | None = None, *, machine: str = "", seed: int = -1
) -> ResultDocument:
    """Replay a recorded kernel trace (perf script or ftrace text, plain or gzip).

    Args:
        trace: its path.
        settings: keys to change; those of the replay begin with ``workload.``.
        machine, seed: as for `run`.

    Raises:
        InputError: the trace cannot be read.
        ConfigError, KernelBug: as for `run`.
    """
    from coalsim.study.replay import open_replay

    return run_study(open_replay(str(trace), _settings(settings, machine, seed)))


def timeline(
    study: str | Path,
    out: str | Path,
    settings: Settings | None = None,
    *,
    format: str = "chrome",
    window: str = "",
    limit: int = 1_000_000,
    cpus: str = "",
    what: str = "",
    machine: str = "",
    seed: int = -1,
    trust: bool = False,
) -> ResultDocument:
    """Run a study once and write down what every CPU did when.

    Args:
        study, settings, machine, seed, trust: as for `run`.
        out: the file to write; a name that ends in .gz is packed.
        format: ``chrome``, ``perfetto``, ``speedscope``, ``folded`` or ``text``.
        window: ``BEGIN..END``, absolute simulated time such as ``1ms..1.2ms``; empty: all that is measured.
        limit: how many events are kept at most; the timeline ends where that is reached, and says so.
        cpus: whose, such as ``0-3,8``; empty: all.
        what: some of ``time,locks,ipis,instants,counters``; empty: all.

    Returns:
        The result of the run, the same as that of `run`, but for the number of the engine's events.

    Raises:
        ConfigError: every mistake in the study, the settings or what is asked for.
        InputError: the file cannot be written.
        KernelBug: as for `run`.
    """
    from coalsim.study.timeline import Asked, record, save, wanted_of

    planned = open_study(str(study), _settings(settings, machine, seed), trust=trust)
    asked = Asked(format=format, window=window, limit=limit, cpus=cpus, what=what)
    recorded = record(planned, wanted_of(asked, planned))
    save(recorded.timeline, format, Path(out))
    return recorded.result


def validate(name: str, settings: Settings | None = None, *, points: tuple[int, ...] = ()) -> Verdict:
    """Predict a published curve; `points` picks some of its points."""
    return _validate(name, _settings(settings, "", -1), points)


def machine(name: str) -> Machine:
    """A machine: a preset, a machine file, lstopo XML, numactl text, sysfs copy, synthetic description."""
    return load_machine(name)


def results(folder: str | Path, metrics: tuple[str, ...] = ()) -> "ResultTable":
    """The runs of a study as a table; ``.to_pandas()`` and the like hand it to other libraries.

    Args:
        folder: what ``coalsim run --out`` wrote; of a sweep or of a single run.
        metrics: dotted paths such as ``latency_ns.p99``; empty: every number of the results.

    Raises:
        InputError: there are no results, or they are damaged.
        ConfigError: no run has one of the metrics.
    """
    from coalsim.report.tables import ResultTable
    from coalsim.sweep.results import load_results

    return ResultTable(load_results(Path(folder)), metrics)


def summary(result: ResultDocument) -> str:
    """What the command line prints at the end of a run."""
    return _summary(result)


def _settings(settings: Settings | None, machine: str, seed: int) -> tuple[Setting, ...]:
    named = [Setting(key="machine", value=machine, option=f"machine={machine!r}")] if machine else []
    if seed >= 0:
        named.append(Setting(key="run.seed", value=seed, option=f"seed={seed}"))
    given = (settings or {}).items()
    return (*named, *(Setting(key=key, value=value, option=f"{key}={value!r}") for key, value in given))
