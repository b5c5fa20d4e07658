"""Opening a replay: a trace and some settings become a study, without a study file.

The study is what `config.json` of an output folder holds: ``kind = "replay"`` with the trace's
path.  Keys of the replay may be spelled `replay.KEY` or `workload.KEY`.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from coalsim.errors import ConfigError
from coalsim.guarded import clean
from coalsim.study.document import Document
from coalsim.study.overrides import Setting, with_settings
from coalsim.study.replay_load import ReplayLoad
from coalsim.study.run import Plan, plan
from coalsim.study.spec import StudySpec, parse_spec
from coalsim.workloads.replay.recorded_start import memory_needed, recorded_zones
from coalsim.workloads.trace.snapshot import read_snapshot

DEFAULT_PROFILE: Final = "linux-6.18"


def open_replay(
    trace: str, settings: Iterable[Setting] = (), *, trust: bool = False, max_input: int | None = None
) -> Plan:
    """Build what is needed to replay a trace, without running it.

    Args:
        trace: text of perf script, ftrace or trace-cmd, plain or gzip.
        settings: keys to change, later ones over earlier ones.
        trust: whether classes may be loaded from files and modules that are not on the command line.
        max_input: unpacked bytes to read at most.

    Raises:
        ConfigError: every mistake, with its place; of files an InputError.
    """
    raw: dict[str, object] = {
        "study": {"name": f"replay of {clean(Path(trace).name)}"},
        "workload": {"kind": "replay", "trace": trace} | ({"max_input": max_input} if max_input else {}),
    }
    document = with_settings(Document(raw=raw), [_renamed(setting) for setting in settings])
    spec = _checked(document, trust)
    if spec.run.warmup:
        message, remedy = "a recording is replayed from its beginning", "leave it out"
        raise ConfigError([document.problem("run.warmup", message, remedy)])
    assert isinstance(spec.workload, ReplayLoad)
    if spec.workload.snapshots:
        spec = _checked(_with_recorded_memory(document, spec, spec.workload.snapshots), trust)
    return plan(spec, max_input)


def _renamed(setting: Setting) -> Setting:
    table, dot, key = setting.key.partition(".")
    return replace(setting, key=f"workload.{key}") if dot and table == "replay" else setting


def _checked(document: Document, trust: bool) -> StudySpec:
    models = {"replay": ReplayLoad}
    return parse_spec(document, workloads=models, trust=trust, default_profile=DEFAULT_PROFILE)


def _with_recorded_memory(document: Document, spec: StudySpec, snapshots: str) -> Document:
    """The study with as much memory as the recorded zones need."""
    zones = recorded_zones(read_snapshot(snapshots), snapshots)
    needed = memory_needed(zones, spec.kernel.switches.max_order)
    option = f"--snapshots {snapshots}"
    return with_settings(document, [Setting(key="machine.memory", value=needed, option=option)])
