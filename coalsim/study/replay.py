"""Opening a replay: a trace and some settings become a study, without a study file.

The study is what `config.json` of an output folder holds: ``kind = "replay"`` with the trace's
path.  Keys of the replay may be spelled `replay.KEY` or `workload.KEY`.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from coalsim.guarded import clean
from coalsim.study.document import Document
from coalsim.study.overrides import Setting, with_settings
from coalsim.study.planning import Plan, plan
from coalsim.study.replay_load import ReplayLoad
from coalsim.study.spec import parse_spec


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
        "workload": {"kind": "replay", "trace": trace},
    }
    document = with_settings(Document(raw=raw), [_renamed(setting) for setting in settings])
    return plan(parse_spec(document, workloads={"replay": ReplayLoad}, trust=trust), max_input)


def _renamed(setting: Setting) -> Setting:
    table, dot, key = setting.key.partition(".")
    return replace(setting, key=f"workload.{key}") if dot and table == "replay" else setting
