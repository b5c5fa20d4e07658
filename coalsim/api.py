"""The Python interface: what the command line can do, as functions.

    import coalsim
    result = coalsim.run("lock_loop", {"kernel.lock": "ticket", "workload.cpus": 16})
    print(coalsim.summary(result))

Results are the documents that `--json` prints (`observe/document.py`).
"""

from collections.abc import Mapping
from pathlib import Path

from coalsim.observe.document import ResultDocument
from coalsim.observe.summary import summary as _summary
from coalsim.study.overrides import Setting
from coalsim.study.run import open_study, run_study
from coalsim.study.validate import Verdict
from coalsim.study.validate import validate as _validate
from coalsim.topology.machine import Machine
from coalsim.topology.presets import load_machine

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


def validate(name: str, settings: Settings | None = None, *, points: tuple[int, ...] = ()) -> Verdict:
    """Predict a published curve; `points` picks some of its points."""
    return _validate(name, _settings(settings, "", -1), points)


def machine(name: str) -> Machine:
    """A machine: a preset, a machine file, lstopo XML, numactl text, sysfs copy, synthetic description."""
    return load_machine(name)


def summary(result: ResultDocument) -> str:
    """What the command line prints at the end of a run."""
    return _summary(result)


def _settings(settings: Settings | None, machine: str, seed: int) -> tuple[Setting, ...]:
    named = [Setting(key="machine", value=machine, option=f"machine={machine!r}")] if machine else []
    if seed >= 0:
        named.append(Setting(key="run.seed", value=seed, option=f"seed={seed}"))
    given = (settings or {}).items()
    return (*named, *(Setting(key=key, value=value, option=f"{key}={value!r}") for key, value in given))
