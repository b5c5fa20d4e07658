"""Result documents, fresh for each test: a made-up one, and a small real one with virtual memory."""

import copy
import json
from pathlib import Path
from typing import cast

import pytest

from coalsim.api import run
from coalsim.observe.document import ResultDocument

RESULT = Path(__file__).parent.parent / "data" / "result" / "result.json"


@pytest.fixture
def document() -> ResultDocument:
    return cast(ResultDocument, json.loads(RESULT.read_text(encoding="utf-8")))


@pytest.fixture(scope="session")
def small_run() -> ResultDocument:
    """Three threads touch four pages, one of them unmaps; again and again."""
    settings = {"workload.cpus": 3, "workload.pages": 4, "run.warmup": "0", "run.duration": "60us"}
    return run("munmap_shared", settings, machine="ivb-laptop")


@pytest.fixture
def vm_document(small_run: ResultDocument) -> ResultDocument:
    return copy.deepcopy(small_run)
