"""Studies: what is accepted, what it means, and how every mistake is told."""

import json
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from coalsim.errors import ConfigError
from coalsim.study.document import Document, find_study, named_studies, read_document
from coalsim.study.overrides import parse_settings, with_settings
from coalsim.study.sections import TimeText
from coalsim.study.spec import StudySpec, parse_spec
from coalsim.units import MS, NS


class LoopParameters(BaseModel):
    """What a lock loop can be told."""

    cpus: int = Field(default=4, ge=1)
    think: TimeText = 100 * NS
    order: Literal["fifo", "random"] = "fifo"


class RecordedLoad(BaseModel):
    """A load with a kernel that suits it, and a file."""

    default_profile: ClassVar[str] = "linux-6.18"
    paths: ClassVar[tuple[str, ...]] = ("trace",)
    trace: str = ""


WORKLOADS: dict[str, type[BaseModel]] = {"lock_loop": LoopParameters}

STUDY = """\
# Question: what does it cost?
machine = "clx2"

[study]
name = "loop"
question = "what does it cost?"

[kernel]
profile = "linux-6.0"
lock = "mcs"
hz = 0
[kernel.cost]
pcp_pop = "12ns"

[workload]
kind = "lock_loop"
cpus = 8
think = "56.3ns"

[engine]
run_ahead = 0

[run]
duration = "2ms"
seed = 7
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A file with a good study."""
    path = tmp_path / "loop.toml"
    path.write_text(STUDY, encoding="utf-8")
    return path


def spec_of(path: Path, *settings: str, trust: bool = False) -> StudySpec:
    """The checked study of a file with settings."""
    document = with_settings(read_document(path), parse_settings(settings))
    return parse_spec(document, workloads=WORKLOADS, trust=trust)


def mistakes(path: Path, *settings: str) -> list[str]:
    """What is wrong with it, line by line, file names without their folder."""
    with pytest.raises(ConfigError) as refusal:
        spec_of(path, *settings)
    return [str(problem).replace(f"{path.parent}/", "") for problem in refusal.value.problems]


def test_a_study_means_what_it_says(study: Path) -> None:
    """Every section arrives, with defaults where it is silent."""
    spec = spec_of(study)
    assert (spec.name, spec.machine, spec.machine_changes) == ("loop", "clx2", {})
    assert spec.kernel.name == "linux-6.0"
    assert (spec.kernel.switches.lock, spec.kernel.switches.hz) == ("mcs", 0)
    assert dict(spec.kernel.parameters())["pcp_pop"].value == 12
    assert spec.workload_kind == "lock_loop"
    assert spec.workload == LoopParameters(cpus=8, think="56.3ns")  # type: ignore[arg-type]
    assert (spec.engine.run_ahead, spec.engine.fast_paths, spec.engine.tick_events) == (False, True, False)
    assert (spec.run.duration, spec.run.seed, spec.run.replications) == (2 * MS, 7, 1)


def test_settings_go_over_the_file(study: Path) -> None:
    """Machine, kernel, workload, engine and run can all be set, times and laws as text."""
    spec = spec_of(
        study,
        "machine.clock_ghz=2.2",
        "kernel.profile=coal",
        "kernel.pcp_orders=[0, 1]",
        "workload.cpus=16",
        "engine.fast_paths=false",
        "engine.tick_events=1",
        "run.replications=3",
        "run.duration=5us",
    )
    assert (spec.machine, spec.machine_changes) == ("clx2", {"clock_ghz": "2.2"})
    assert spec.kernel.name == "coal"
    assert spec.kernel.switches.pcp_orders == (0, 1)
    assert spec.kernel.switches.lock == "mcs", "the file's switch stays"
    assert spec.workload.model_dump()["cpus"] == 16
    assert (spec.engine.fast_paths, spec.engine.tick_events) == (False, True)
    assert (spec.run.replications, spec.run.duration) == (3, 5_000_000)


def test_an_empty_study_needs_only_a_workload() -> None:
    """Machine and kernel have defaults, the name is the load's; a load can have a kernel that suits it."""
    for kind, kernel in (("lock_loop", "coal"), ("recorded", "linux-6.18")):
        document = Document(raw={"workload": {"kind": kind}})
        spec = parse_spec(document, workloads={**WORKLOADS, "recorded": RecordedLoad})
        assert (spec.name, spec.machine, spec.kernel.name, spec.run.seed) == (kind, "coal", kernel, 1)


def test_the_resolved_configuration_is_a_study_that_asks_the_same(study: Path, tmp_path: Path) -> None:
    """Written as JSON and read again, it gives the same specification."""
    spec = spec_of(study, "machine.clock_ghz=2.2")
    again = tmp_path / "resolved.json"
    again.write_text(json.dumps(spec.resolved()), encoding="utf-8")
    second = spec_of(again)
    assert second.resolved() == spec.resolved()
    assert second.kernel.switches == spec.kernel.switches
    assert second.workload == spec.workload
    assert second.run == spec.run


def test_all_mistakes_are_told_at_once_with_file_line_and_remedy(tmp_path: Path) -> None:
    """One line per mistake: unknown keys, wrong kinds, wrong ranges, in every section."""
    path = tmp_path / "bad.toml"
    path.write_text(
        """\
[kernell]
[kernel]
profile = "linux-6.1"
lokc = "mcs"
cost.pcp_pop = 3
[workload]
kind = "lock_loop"
cpus = 0
think = "5 parsecs"
order = "lifo"
thinc = 1
[engine]
run_ahead = "perhaps"
[run]
seed = "x"
duration = 5
replications = 1.5
""",
        encoding="utf-8",
    )
    assert mistakes(path) == [
        "bad.toml:1: kernell: no such key; did you mean kernel?",
        "bad.toml:3: kernel.profile = linux-6.1: no such profile; did you mean linux-6.18?",
        "bad.toml:4: kernel.lokc: no such key; did you mean kernel.lock?",
        "bad.toml:5: kernel.cost.pcp_pop = 3: not a cost; write it like 12ns, 1.5us or 30cycles",
        "bad.toml:11: workload.thinc: no such key; did you mean think?",
        "bad.toml:8: workload.cpus = 0: too small; give a number from 1 up",
        "bad.toml:9: workload.think = 5 parsecs: '5 parsecs' has no time unit; "
        "write ps, ns, us, ms or s behind the number",
        "bad.toml:10: workload.order = lifo: no such choice; use one of 'fifo' or 'random'",
        "bad.toml:13: engine.run_ahead = perhaps: not a truth value; write true or false, 1 or 0",
        "bad.toml:16: run.duration = 5: no time unit; write it as text, like 2ms",
        "bad.toml:17: run.replications = 1.5: not a whole number; write it like 4",
        "bad.toml:15: run.seed = x: not a whole number; write it like 4",
    ]


def test_a_mistake_in_a_setting_names_the_option(study: Path) -> None:
    """What the command line set is not blamed on the file."""
    assert mistakes(study, "workload.cpus=-2", "kernel.hz=often") == [
        "--set kernel.hz=often: kernel.hz = often: not a whole number; write it like 63",
        "--set workload.cpus=-2: workload.cpus = -2: too small; give a number from 1 up",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "workload.kind: missing; use one of lock_loop"),
        (
            "[workload]\nkind = 'lock_lop'",
            ":2: workload.kind = lock_lop: no such workload; did you mean lock_loop?",
        ),
        ("workload = 3", ":1: workload = 3: not a table; write [workload] and its keys below"),
        ("machine = 3\n[workload]\nkind='lock_loop'", ":1: machine = 3: neither a name nor a table"),
        ("a = ", ":1: not TOML: invalid value; correct this line"),
        ("[run]\nseed = 1\nseed = 2\n", ":3: not TOML: cannot overwrite a value; correct this line"),
    ],
)
def test_a_study_that_is_none_is_refused(tmp_path: Path, text: str, says: str) -> None:
    """Missing parts, wrong kinds and broken TOML each give one line."""
    path = tmp_path / "bad.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as refusal:
        spec_of(path)
    assert len(refusal.value.problems) == 1
    assert str(refusal.value).startswith(str(path))
    assert says in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.toml", b"\xff\xfe", "not a text in UTF-8"),
        ("a.toml", b"x = " + b"[" * 100_000, "nested too deeply"),
        ("a.toml", b"x = " + b"9" * 5000, "a number too long"),
        ("a.json", b"{", ":1: not JSON"),
        ("a.json", b"[]", "not JSON: the outermost value is not an object"),
        ("a.toml", b"#" * (1 << 21), "more than 1 MiB"),
    ],
)
def test_a_hostile_study_file_is_refused(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    """No bytes whatever get past as a traceback."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ConfigError) as refusal:
        read_document(path)
    assert says in str(refusal.value)


@settings(deadline=None)  # it writes files
@given(st.one_of(st.binary(max_size=200), st.text(alphabet="[]{}=.,\"'\n #ax1", max_size=60).map(str.encode)))
def test_any_bytes_are_refused_in_order(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Nothing so short names a workload, and nothing fails in another way."""
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as refusal:
        spec_of(path)
    assert all(problem.message and problem.remedy for problem in refusal.value.problems)


def test_a_file_may_not_name_code_without_trust(study: Path) -> None:
    """A lock by file in a study is refused with file, line and remedy; trust or the command line allow it."""
    study.write_text(STUDY.replace('"mcs"', '"./mine.py:Mine"'), encoding="utf-8")
    (line,) = mistakes(study)
    assert line.startswith("loop.toml:10: kernel.lock = ./mine.py:Mine: a lock by file or module")
    assert line.endswith("--trust")

    trusted = spec_of(study, trust=True)
    assert trusted.kernel.switches.lock == "./mine.py:Mine"
    assert trusted.asked("kernel.lock").trust
    assert trusted.asked("kernel.lock").folder == study.parent

    typed = spec_of(study, "kernel.lock=./other.py:Mine")
    assert typed.asked("kernel.lock").trust
    assert typed.asked("kernel.lock").folder == Path()


def test_a_study_is_found_by_name_or_path(tmp_path: Path) -> None:
    """A name with a slash or an ending is a path; any other must be one that coalsim brings along."""
    assert find_study("./x") == Path("./x")
    assert find_study("x.toml") == Path("x.toml")
    for name, path in named_studies().items():
        assert find_study(name) == path
        assert path.is_file()
    with pytest.raises(ConfigError, match="no such study"):
        find_study("no_such_study_at_all")


def test_paths_in_a_study_file_are_relative_to_it_and_those_of_options_to_where_we_are(
    tmp_path: Path,
) -> None:
    """The same for machine, lock and the files of a load; a preset's name stays a name."""
    (tmp_path / "mine.toml").touch()
    file = tmp_path / "study.toml"
    file.write_text(
        'machine = "mine.toml"\n[kernel]\nlock = "./own.py:Own"\n'
        '[workload]\nkind = "recorded"\ntrace = "t.txt"\n'
    )
    loads = {"recorded": RecordedLoad}
    spec = parse_spec(read_document(file), workloads=loads, trust=True)
    assert spec.name == "study"
    assert spec.machine == str(tmp_path / "mine.toml")
    assert spec.workload.model_dump() == {"trace": str(tmp_path / "t.txt")}
    kernel = spec.resolved()["kernel"]
    assert isinstance(kernel, dict)
    assert Path(kernel["lock"].removesuffix(":Own")) == tmp_path / "own.py"

    asked = ("machine=coal", "kernel.lock=./own.py:Own", "workload.trace=t.txt")
    spec = parse_spec(with_settings(read_document(file), parse_settings(asked)), workloads=loads)
    assert (spec.machine, spec.workload.model_dump()) == ("coal", {"trace": "t.txt"})
    kernel = spec.resolved()["kernel"]
    assert isinstance(kernel, dict)
    assert kernel["lock"] == "./own.py:Own"
