"""The statistics of a simulated system, in the layouts of /proc, are the start of another."""

import json
from pathlib import Path

import pytest

from coalsim.api import run
from coalsim.cli import main as command_line
from coalsim.observe.memory_document import ZoneInfoRow
from coalsim.observe.memory_report import memory_text

TRACE = Path(__file__).parent.parent / "data" / "compile_excerpt.perf.txt.gz"
ONE_NODE = "pack:1 numa:1 core:4 pu:1"
FILES = ("zoneinfo", "buddyinfo", "pagetypeinfo", "slabinfo", "vmstat")


def test_what_one_run_ends_with_another_can_begin_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A replay reads all five files and starts from the same free memory."""
    settings = {"kernel.profile": "linux-6.18", "run.warmup": "0", "run.duration": "60us", "workload.cpus": 4}
    machine = {"machine.name": ONE_NODE, "machine.memory": "8GiB"}
    first = run("kmalloc_remote_free", {**settings, **machine})
    parts = [
        f"==== /proc/{name} (before)\n{memory_text(first, [name]).partition(chr(10))[2]}" for name in FILES
    ]
    snapshots = tmp_path / "snapshots.txt"
    snapshots.write_text("".join(parts), encoding="utf-8")

    more = ("--snapshots", str(snapshots), "--machine", ONE_NODE, "--json", "-q")
    assert command_line.run(["replay", str(TRACE), *more]) == 0
    memory = json.loads(capsys.readouterr().out)["memory"]

    def shape(rows: list[ZoneInfoRow]) -> list[object]:
        return [[row[key] for key in ("zone", "start_pfn")] for row in rows]

    assert shape(memory["zoneinfo"]) == shape(first["memory"]["zoneinfo"])
    assert memory["bytes"]["reserved"] > 0, "what the first run had taken is nobody's in the second"
