"""`coalsim leaks`: what it prints and what it refuses."""

import json
import re
from pathlib import Path

import pytest
from command import accepted, json_of, refused

from coalsim.cli import main as command_line
from coalsim.observe.kmemleak import kmemleak_text
from coalsim.observe.leak_document import UnreferencedEntry

RESULT = str(Path(__file__).parent.parent / "data" / "result")
SHORT = ("--set=run.duration=6ms", "--set=kernel.kmemleak_scan=1ms", "--set=workload.leak=100")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An output folder of a driver that leaks."""
    made = tmp_path_factory.mktemp("leaks") / "result"
    assert command_line.run(["run", "leaking_driver", *SHORT, "--out", str(made)]) == 0
    return str(made)


def test_everything_is_printed_without_a_choice(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Sites, ages, growth and how many objects the scans found."""
    text = accepted(capsys, "leaks", folder)
    titles = ("live after 6 ms: ", "site ", "age_from ", "bytes held after", "kmemleak: 5 scans")
    places = [re.search(f"^{title}", text, re.MULTILINE) for title in titles]
    assert all(places)
    starts = [place.start() for place in places if place]
    assert starts == sorted(starts)
    assert text.count("leaking_driver:0 ") == 2


def test_sites_are_the_largest_first_and_add_up(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The bytes of all sites are those of all ages and of the last point of the growth."""
    leaks = json_of(capsys, "leaks", folder)["leaks"]
    assert isinstance(leaks, dict)
    sizes = [row["bytes"] for row in leaks["sites"]]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(sizes) == leaks["bytes"] > 0
    assert sum(row["bytes"] for row in leaks["ages"]) == leaks["bytes"]
    assert sum(row["live"] for row in leaks["ages"]) == leaks["live"]
    assert leaks["growth"]["bytes"][-1] == leaks["bytes"]
    assert [row["bytes"][-1] for row in leaks["growth"]["sites"]] == sizes
    assert all(row["allocs"] - row["frees"] == row["live"] for row in leaks["sites"])
    assert leaks["sites"][0]["site"] in ("leaking_driver:0", "leaking_driver:1")


def test_tables_asked_for_and_no_others(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And as many rows as were asked for."""
    text = accepted(capsys, "leaks", folder, "--sites", "-E", "2")
    assert text.count("kmalloc") == 2
    assert text.endswith("6 more call sites\n")
    assert accepted(capsys, "leaks", folder, "--ages").startswith("age_from")
    part = json_of(capsys, "leaks", folder, "--sites", "-E", "1")["leaks"]
    assert isinstance(part, dict)
    assert len(part["sites"]) == 1
    assert "growth" not in part


def test_kmemleak_has_the_layout_of_the_kernel(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Line by line; one report for each object."""
    report = (
        r"unreferenced object 0xffff[0-9a-f]{12} \(size 192\):\n"
        r'  comm "driver/\d", pid 0, jiffies \d+\n'
        r"  hex dump \(first 32 bytes\):\n"
        r"(    ([0-9a-f]{2} ){16} [ -~]{16}\n){2}"
        r"  backtrace \(crc [0-9a-f]{1,8}\):\n"
        r"    leaking_driver:[01]\n"
    )
    text = accepted(capsys, "leaks", folder, "--kmemleak")
    assert re.fullmatch(f"({report})+", text)
    leaks = json_of(capsys, "leaks", folder, "--kmemleak")["leaks"]
    assert isinstance(leaks, dict)
    assert text.count("unreferenced object") == leaks["kmemleak"]["reported"] > 3
    assert "sites" not in leaks


def test_a_report_to_the_letter() -> None:
    """As the kernel would print it."""
    entry: UnreferencedEntry = {
        "address": 0xFFFF888001234540,
        "size": 20,
        "site": "probe+0x1f",
        "cache": "kmalloc",
        "comm": "modprobe",
        "pid": 0,
        "cpu": 3,
        "jiffies": 4294892300,
        "age_ns": 83_004_999_999,
        "found_ns": 1,
        "hex": (b"coalsim" + bytes(range(13))).hex(),
        "crc": 0xAB,
    }
    assert kmemleak_text([entry]) == (
        "unreferenced object 0xffff888001234540 (size 20):\n"
        '  comm "modprobe", pid 0, jiffies 4294892300\n'
        "  hex dump (first 20 bytes):\n"
        "    63 6f 61 6c 73 69 6d 00 01 02 03 04 05 06 07 08  coalsim.........\n"
        "    09 0a 0b 0c                                      ....\n"
        "  backtrace (crc ab):\n"
        "    probe+0x1f\n"
    )


def test_replications_have_means_and_all_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each report says which run it belongs to; --run shows one."""
    made = str(tmp_path / "runs")
    accepted(capsys, "run", "leaking_driver", *SHORT, "--set=run.replications=2", "--out", made)
    document = json.loads((tmp_path / "runs" / "result.json").read_text(encoding="utf-8"))
    first, second = (run["leaks"] for run in document["runs"])
    assert document["leaks"]["bytes"] == (first["bytes"] + second["bytes"]) / 2
    rows = document["leaks"]["kmemleak"]["unreferenced"]
    assert [row["run"] for row in rows].count(2) == len(second["kmemleak"]["unreferenced"])
    assert document["leaks"]["growth"]["times_ns"] == first["growth"]["times_ns"]
    assert accepted(capsys, "leaks", made) != accepted(capsys, "leaks", made, "--run", "2")


def test_bad_input_is_refused(folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line each, with what to do."""
    (line,) = refused(capsys, "leaks", RESULT)
    assert "nothing about leaks in this result" in line
    assert "--set kernel.leak_tracking=on" in line
    (line,) = refused(capsys, "leaks", RESULT, "--kmemleak")
    assert "nothing about leaks" in line
    (line,) = refused(capsys, "leaks", folder, "-E", "0")
    assert "give a number from 1 up" in line
    (line,) = refused(capsys, "leaks", str(tmp_path / "nowhere"))
    assert "no such file" in line
    made = str(tmp_path / "unscanned")
    accepted(capsys, "run", "leaking_driver", *SHORT, "--set=kernel.kmemleak=off", "--out", made)
    (line,) = refused(capsys, "leaks", made, "--kmemleak")
    assert "no scan in this result" in line
    assert "kernel.kmemleak=on" in line
    (line,) = refused(capsys, "run", "leaking_driver", "--set=kernel.leak_tracking=off")
    assert "needs leak_tracking" in line


def test_a_damaged_result_is_refused_with_its_place(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anybody prints it."""
    document = json.loads((Path(folder) / "result.json").read_text(encoding="utf-8"))
    document["leaks"]["sites"][0]["bytes"] = "many"
    del document["leaks"]["end_ns"]
    (tmp_path / "result.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    lines = refused(capsys, "leaks", str(tmp_path))
    assert len(lines) == 2
    assert any("leaks.sites[0].bytes" in line for line in lines)


def test_a_scan_that_can_tell_nothing_warns(capsys: pytest.CaptureFixture[str]) -> None:
    """A load that writes no pointers down gets no false leaks, and its user is told why."""
    names = (
        "leak_tracking=on",
        "kmemleak=on",
        "kmemleak_first=20us",
        "kmemleak_scan=20us",
        "kmemleak_min_age=1us",
    )
    settings = [*(f"--set=kernel.{name}" for name in names), "--set=run.warmup=0", "--set=run.duration=50us"]
    document = json_of(capsys, "run", "kmalloc_pairs", *settings)
    (warning,) = document["warnings"]  # type: ignore[misc]
    assert warning == "kernel.kmemleak reports nothing here: this load keeps its pointers where no scan looks"
    assert document["leaks"]["kmemleak"]["reported"] == 0  # type: ignore[index]


def test_a_run_that_holds_nothing_says_so(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line where nothing was ever allocated; else who did, without a table of ages that is empty."""
    document = json.loads((Path(folder) / "result.json").read_text(encoding="utf-8"))
    leaks = document["leaks"]
    del leaks["kmemleak"]
    leaks.update(live=0, bytes=0, allocated=0)
    for row in leaks["sites"]:
        row.update(live=0, bytes=0, allocated=0, frees=row["allocs"], oldest_ns=0)
    for row in leaks["ages"]:
        row.update(live=0, bytes=0)
    result = tmp_path / "result.json"
    result.write_text(json.dumps(document), encoding="utf-8")
    text = accepted(capsys, "leaks", str(tmp_path))
    assert text.startswith("nothing is held after 6 ms\n")
    assert "leaking_driver:0" in text
    assert "age_from" not in text
    assert accepted(capsys, "leaks", str(tmp_path), "--ages") == "nothing is held after 6 ms\n"
    leaks.update(
        sites=[], growth={**leaks["growth"], "sites": [], "bytes": [0] * len(leaks["growth"]["bytes"])}
    )
    result.write_text(json.dumps(document), encoding="utf-8")
    assert accepted(capsys, "leaks", str(tmp_path)) == "nothing is held after 6 ms\n"
