"""`coalsim locks`, `mem` and `where`: what they print and what they refuse."""

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coalsim.cli.locks import locks
from coalsim.cli.mem import mem
from coalsim.cli.resultfile import load_result
from coalsim.cli.where import where
from coalsim.errors import ConfigError, InputError
from coalsim.observe.document import dump
from coalsim.observe.lock_stat import lock_stat
from coalsim.observe.memory_report import memory_text
from coalsim.observe.perf_lock import Options, perf_lock
from coalsim.observe.summary import summary
from coalsim.observe.where import folded, where_text

FOLDER = Path(__file__).parent.parent / "data" / "result"
TEXT = (FOLDER / "result.json").read_text(encoding="utf-8")


def output(command: click.Command, *arguments: str) -> str:
    """What a command prints; its own errors are raised, as the program's main sees them."""
    result = CliRunner().invoke(command, [str(FOLDER), *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def refusal(path: Path, run: int | None = None) -> InputError:
    with pytest.raises(InputError) as refused:
        load_result(path, run)
    return refused.value


def written(folder: Path, text: str | bytes) -> Path:
    file = folder / "result.json"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


@pytest.mark.parametrize(
    ("arguments", "first_row"),
    [
        ((), "        49     66.96 ms      9.15 ms      1.37 ms      rwsem:W   __x64_sys_munmap"),
        (
            ("-E", "1", "-k", "contended"),
            "      2011      5.22 ms     44.14 us      2.60 us     spinlock   rmqueue_bulk",
        ),
        (("-t",), "       426     19.87 ms      7.66 ms     46.63 us            6   kworker/0:1 H"),
        (("-F", "wait_min, contended"), "      420 ns         49      rwsem:W   __x64_sys_munmap"),
    ],
)
def test_locks_takes_the_options_of_perf(arguments: tuple[str, ...], first_row: str) -> None:
    """The first line says simulated, the fourth is the first row."""
    lines = output(locks, *arguments).splitlines()

    assert lines[0] == "# coalsim 0.1.0 simulated, perf-lock-contention layout"
    assert lines[3] == first_row


def test_locks_prints_csv_and_lock_stat() -> None:
    """-x, puts commas between whole ns; --lock-stat is the kernel's file."""
    assert output(locks, "-x,", "-l", "-E1").splitlines()[2] == (
        "3010, 7400000, 44140, 2458, ffff888627c2ba40, zone_lock/0:Normal, spinlock"
    )
    assert output(locks, "--lock-stat").splitlines()[1] == "lock_stat version 0.4"


def test_the_file_itself_does_as_well_as_its_folder() -> None:
    """DIR and DIR/result.json are the same to every command."""
    by_file = CliRunner().invoke(locks, [str(FOLDER / "result.json")], catch_exceptions=False)

    assert by_file.output == output(locks)


@pytest.mark.parametrize(
    ("command", "arguments", "part"),
    [
        (locks, (), "locks"),
        (locks, ("-t",), "lock_waits_by_cpu"),
        (locks, ("-l",), "lock_instances"),
        (mem, (), "memory"),
        (where, (), "time"),
    ],
)
def test_json_is_one_document_with_the_rows(
    command: click.Command, arguments: tuple[str, ...], part: str
) -> None:
    """Nothing else on stdout; the rows as the result has them, with what they belong to."""
    document = json.loads(output(command, "--json", *arguments))
    stored = json.loads(TEXT)

    assert sorted(document) == sorted(["coalsim", "machine", "profile", "seed", "sim_time_ps", "study", part])
    found, expected = document[part], stored[part]
    if isinstance(expected, list):
        found, expected = (sorted(rows, key=json.dumps) for rows in (found, expected))
    assert found == expected


def test_mem_prints_the_sections_asked_for_and_no_others() -> None:
    """In the order of the report, whatever the order of the options."""
    text = output(mem, "--slabinfo", "--buddyinfo")

    assert text.splitlines()[0] == "# coalsim 0.1.0 simulated, buddyinfo layout"
    assert "slabinfo - version: 2.1" in text
    assert "magazines" not in text
    assert list(json.loads(output(mem, "--json", "--numa"))["memory"]) == ["numa"]


def test_where_prints_nodes_or_cpus_and_writes_folded_stacks(tmp_path: Path) -> None:
    """--folded FILE writes beside the tables, --folded - instead of them."""
    file = tmp_path / "out.folded"

    assert output(where).splitlines()[0] == "time by node, shares in percent"
    assert output(where, "--per-cpu").splitlines()[0] == "time by CPU, shares in percent"
    assert output(where, "--folded", str(file)) == output(where)
    assert output(where, "--folded", "-") == file.read_text(encoding="utf-8")
    with pytest.raises(InputError, match="cannot be written"):
        output(where, "--folded", str(tmp_path / "missing" / "out.folded"))


def test_a_replication_can_be_chosen(tmp_path: Path) -> None:
    """Runs count from 1; one that is not there is named with those that are."""
    means = json.loads(TEXT)
    second = {**means, "seed": 2}
    file = written(tmp_path, dump({**means, "runs": [means, second]}))

    assert load_result(file, 2)["seed"] == 2
    assert "it holds runs 1 to 2" in str(refusal(file, 3))
    assert "without replications" in str(refusal(FOLDER, 1))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "result.json:1: not JSON"),
        (TEXT[: len(TEXT) // 2], "not JSON"),
        ("[1, 2]", "not a result of coalsim"),
        ('{"traceEvents": []}', "not a result of coalsim"),
        ('{"coalsim": NaN}', "NaN is not a number"),
        ('{"coalsim": 1e999}', "the number 1e999 is too large"),
        ('{"coalsim": ' + "9" * 5000 + "}", "a number of 5000 digits"),
        ("[" * 100_000, "nested too deeply"),
        (b"\x80\x81\x00", "not a text in UTF-8"),
        (b"\x1f\x8b\x08\x00", "the gzip ends too early"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, text: str | bytes, complaint: str) -> None:
    """With the file, and the folder to give instead."""
    refused = refusal(written(tmp_path, text))

    assert complaint in str(refused)
    assert str(tmp_path / "result.json") in str(refused)
    assert len(refused.problems) == 1


@pytest.mark.parametrize("name", ["missing", "empty", "empty/result.json"])
def test_a_missing_result_is_refused(tmp_path: Path, name: str) -> None:
    """An empty folder has none either."""
    (tmp_path / "empty").mkdir()

    assert "no such file" in str(refusal(tmp_path / name))


def test_every_mistake_comes_with_its_line_and_key(tmp_path: Path) -> None:
    """The line is that of the value, or of the object that should hold it."""
    wrong = json.loads(TEXT)
    del wrong["locks"][1]["type"]
    wrong["memory"]["numa"][1]["numa_hit"] = "many"
    file = written(tmp_path, dump(wrong))
    lines = file.read_text(encoding="utf-8").splitlines()

    first, second = refusal(file).problems

    assert (first.key, first.message) == ("locks[1].type", "missing")
    assert lines[first.line - 1] == "  {"
    assert lines[first.line : first.line + 2] == ['   "acq_bounces": 6011,', '   "acquisitions": 9120,']
    assert second.key == "memory.numa[1].numa_hit"
    assert lines[second.line - 1].strip() == '"numa_hit": "many",'


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        (("locks", 0, "contentions"), 99_999, "lock zone_lock: contentions 99999 above acquisitions 48213"),
        (("locks", 0, "waittime_avg"), 1, "waittime_avg 1 is not waittime_total"),
        (("cpu_nodes",), [0], "CPU 1 has no node"),
        (("time", "eight"), {}, "'eight' is not the number of a CPU"),
    ],
)
def test_numbers_that_cannot_be_true_are_refused(
    tmp_path: Path, key: tuple[str | int, ...], value: object, complaint: str
) -> None:
    """The rules of the lock columns hold for a stored result as for a fresh one."""
    wrong = json.loads(TEXT)
    place = wrong
    for step in key[:-1]:
        place = place[step]
    place[key[-1]] = value

    assert complaint in str(refusal(written(tmp_path, dump(wrong))))


def paths(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every place in a JSON value."""
    if isinstance(value, dict):
        return [path, *(p for key, item in value.items() for p in paths(item, (*path, key)))]
    if isinstance(value, list):
        return [path, *(p for at, item in enumerate(value) for p in paths(item, (*path, at)))]
    return [path]


PATHS = [path for path in paths(json.loads(TEXT)) if path]
oddities = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1, 10**29, 0.5, -0.5, 1e29, 1e-300]),
    st.text(max_size=5),
    st.sampled_from([[], {}, [[]], [{}], {"": 0}, {"0": {"idle": 1}}, [0], [-5, 10**29]]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(changes=st.lists(st.tuples(st.sampled_from(PATHS), oddities), min_size=1, max_size=3))
def test_whatever_is_accepted_can_be_printed(
    tmp_path: Path, changes: list[tuple[tuple[str | int, ...], object]]
) -> None:
    """A result with odd values in any place is refused as bad input, or printed; nothing else happens."""
    value = json.loads(TEXT)
    for path, oddity in changes:
        place = value
        try:
            for step in path[:-1]:
                place = place[step]
            place[path[-1]] = oddity
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took this place away
    file = written(tmp_path, dump(value))
    try:
        document = load_result(file)
        memory_text(document)
    except ConfigError:
        return
    for view in ("caller", "thread", "address"):
        assert perf_lock(document, Options(view=view))
    texts = [summary(document), lock_stat(document), where_text(document), folded(document)]
    assert all(isinstance(text, str) for text in texts)
