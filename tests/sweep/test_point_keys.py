"""Keys of points: what changes them and what does not."""

import json
from pathlib import Path

import pytest

from coalsim.study.overrides import parse_settings
from coalsim.sweep.keys import fingerprint, folder_fingerprint, versions
from coalsim.sweep.named_files import file_digest
from coalsim.sweep.sweep_spec import SweepSpec, open_sweep

STUDY = """\
machine = "icx2"
[workload]
kind = "lock_loop"
[run]
duration = "1ms"
"""


def opened(path: Path, text: str, *settings: str, trust: bool = False) -> SweepSpec:
    path.write_text(text, encoding="utf-8")
    return open_sweep(str(path), parse_settings(settings), trust=trust)


def key(path: Path, text: str, *settings: str, trust: bool = False) -> str:
    (point,) = opened(path, text, *settings, trust=trust).points
    return point.key


@pytest.mark.parametrize(
    "change",
    [
        "machine=ivx8",
        "machine.clock_ghz=2.2",
        "kernel.hz=0",
        "kernel.cost.pcp_pop=1ns",
        "workload.cpus=5",
        "run.duration=2ms",
        "run.warmup=1us",
        "run.batches=20",
        "engine.run_ahead=0",
        "inject.away=cpu 1 from=1us for=1us",
    ],
)
def test_a_setting_that_can_change_a_result_changes_the_key(tmp_path: Path, change: str) -> None:
    """Of every section."""
    path = tmp_path / "study.toml"
    assert key(path, STUDY) != key(path, STUDY, change)


def test_words_seeds_and_repetitions_do_not_change_the_key(tmp_path: Path) -> None:
    """Nor does the name, the folder or the order of the file, nor a default that is written out."""
    wanted = key(tmp_path / "study.toml", STUDY)
    (tmp_path / "other").mkdir()
    said = STUDY.replace(
        "[run]", '[study]\nname = "b"\nquestion = "?"\nexpectation = "!"\n[run]\nseed = 7\nreplications = 9'
    )
    assert key(tmp_path / "other" / "b.toml", said + 'warmup = "0"\n[stop]\nmost = 19\n') == wanted
    assert key(tmp_path / "study.toml", STUDY, "run.duration=1000us") == wanted


def test_a_point_of_a_sweep_has_the_key_of_the_study_that_it_is(tmp_path: Path) -> None:
    """So an axis that grows finds the results that are there."""
    sweep = opened(tmp_path / "study.toml", STUDY + '[[axis]]\nkey = "workload.cpus"\nvalues = [3, 5]\n')
    assert sweep.points[1].key == key(tmp_path / "study.toml", STUDY, "workload.cpus=5")


def test_a_file_counts_by_what_is_in_it_and_not_by_where_it_is(tmp_path: Path) -> None:
    """A user's class: moved, it is the same; changed, it is another."""
    text = STUDY + '[kernel]\nlock = "./own.py:Own"\n'
    for folder in ("a", "b", "c"):
        (tmp_path / folder).mkdir()
        body = "    changed = True\n" if folder == "c" else "    pass\n"
        (tmp_path / folder / "own.py").write_text(
            f"from coalsim.locks.mcs import McsLock\nclass Own(McsLock):\n{body}"
        )
    first, moved, changed = (
        key(tmp_path / folder / "s.toml", text, trust=True) for folder in ("a", "b", "c")
    )
    assert first == moved != changed
    sweep = opened(tmp_path / "a" / "s.toml", text, trust=True)
    kernel = sweep.task_config(sweep.points[0])["kernel"]
    assert isinstance(kernel, dict)
    assert kernel["lock"] == f"{tmp_path / 'a' / 'own.py'}:Own"
    json.dumps(sweep.task_config(sweep.points[0]))


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    """Digests are kept, but not beyond a change; those of folders go by names and contents."""
    file = tmp_path / "a"
    file.write_text("1")
    before, folder_before = file_digest(file), file_digest(tmp_path)
    file.write_text("22")
    assert file_digest(file) != before
    assert file_digest(tmp_path) != folder_before


def test_the_fingerprint_is_that_of_programs_and_their_data(tmp_path: Path) -> None:
    """A changed, renamed or added program counts; studies that come along and other files do not."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "a.py").write_text("1")
    first = folder_fingerprint(tmp_path)
    (tmp_path / "experiments" / "s.toml").write_text("x")
    (tmp_path / "notes.txt").write_text("x")
    assert folder_fingerprint(tmp_path) == first
    (tmp_path / "b.toml").write_text("")
    second = folder_fingerprint(tmp_path)
    (tmp_path / "b.toml").rename(tmp_path / "c.toml")
    assert len({first, second, folder_fingerprint(tmp_path)}) == 3
    assert fingerprint() == fingerprint()
    assert sorted(versions()) == ["coalsim", "numpy", "simpy"]
