"""Replay with leak tracking: the sites with unfreed memory, against a count over the text alone."""

import gzip
import re
from collections import Counter
from pathlib import Path
from typing import Literal

import pytest
from replaying import FTRACE, PERF, kfree, kmalloc, page_alloc, page_free, written

from coalsim.observe.document import ResultDocument
from coalsim.study.overrides import Setting
from coalsim.study.replay import open_replay
from coalsim.study.run import run_study
from coalsim.units import PAGE_SIZE

ON = ("kernel.leak_tracking", "on")


def unfreed(path: Path, kind: str = "req") -> dict[str, int]:
    """Bytes by call site that the text allocates and does not free; no code shared with coalsim."""
    live: dict[object, tuple[str, int]] = {}
    with gzip.open(path, "rt", encoding="utf-8") as text:
        for line in text:
            if event := re.search(r" (?:kmem:)?(kmalloc|kmem_cache_\w+|kfree|mm_page_\w+): (.*)", line):
                of = dict(word.split("=", 1) for word in event[2].split() if "=" in word)
                pointer = int(of.get("ptr", "0").replace("(nil)", "0"), 16)
                frames = (
                    [(int(of["pfn"], 16), n) for n in range(1 << int(of["order"]))] if "pfn" in of else []
                )
                if event[1] in ("kmalloc", "kmem_cache_alloc") and pointer:
                    live[pointer] = (of["call_site"].partition("/")[0], int(of[f"bytes_{kind}"]))
                elif event[1] == "mm_page_alloc":
                    live |= {("frame", first + n): (event[1], PAGE_SIZE) for first, n in frames}
                elif event[1] in ("kfree", "kmem_cache_free", "mm_page_free"):
                    for key in [pointer, *(("frame", first + n) for first, n in frames)]:
                        live.pop(key, None)
    total: Counter[str] = Counter()
    for site, size in live.values():
        total[site] += size
    return dict(total)


def replayed(path: Path | str, *settings: tuple[str, object]) -> ResultDocument:
    """The document of a replay."""
    asked = [Setting(key=key, value=value, option=f"--set {key}") for key, value in (ON, *settings)]
    return run_study(open_replay(str(path), asked))


def by_site(document: ResultDocument, kind: Literal["bytes", "allocated"] = "bytes") -> dict[str, int]:
    """Bytes that each call site holds."""
    total: Counter[str] = Counter()
    for row in document["leaks"]["sites"]:
        total[row["site"].partition("/")[0]] += int(row[kind])
    return {site: size for site, size in total.items() if size}


@pytest.mark.parametrize("path", [PERF, FTRACE], ids=["perf", "ftrace"])
@pytest.mark.parametrize("profile", ["linux-6.18", "coal"])
def test_unfreed_memory_by_site_equals_a_count_over_the_text(path: Path, profile: str) -> None:
    """Every site and every byte, whatever kernel replays it; and what Linux spent on them."""
    expected = unfreed(path)
    document = replayed(path, ("kernel.profile", profile))
    assert len(expected) > 20
    assert by_site(document) == expected
    pages = expected["mm_page_alloc"]
    assert document["leaks"]["bytes"] == document["trace"]["live_bytes"] + pages
    if profile == "linux-6.18":
        assert by_site(document, "allocated") == unfreed(path, "alloc")
        assert document["leaks"]["allocated"] > document["leaks"]["bytes"]


@pytest.mark.parametrize("settings", [{"workload.clone": 2}, {"workload.mode": "closed"}])
def test_copies_and_pace_do_not_change_what_is_left(settings: dict[str, object]) -> None:
    """Each copy leaves the same."""
    copies = settings.get("workload.clone", 1)
    assert isinstance(copies, int)
    found = by_site(replayed(PERF, *settings.items(), ("machine", "clx2")))
    assert found == {site: copies * size for site, size in unfreed(PERF).items()}


def test_an_implied_free_is_one(tmp_path: Path) -> None:
    """A pointer that is handed out again was freed; a block of which a part is live is live as a whole."""
    path = written(
        tmp_path,
        kmalloc(1000, 0, 0x10, 100),
        kmalloc(2000, 0, 0x10, 70),
        kmalloc(3000, 0, 0x20, 50),
        kfree(4000, 0, 0x20),
        page_alloc(5000, 0, 8, order=2),
        page_free(6000, 0, 8),
    )
    document = replayed(path)
    rows = [(row["site"], row["cache"], row["live"], row["bytes"]) for row in document["leaks"]["sites"]]
    assert rows == [("mm_page_alloc", "pages", 1, 4 * PAGE_SIZE), ("maker+0x1", "kmalloc", 1, 70)]
    assert document["leaks"]["sites"][1]["allocs"] == 3
    assert document["leaks"]["sites"][1]["frees"] == 2
