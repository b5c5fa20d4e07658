"""The made-up result document, fresh for each test."""

import json
from pathlib import Path
from typing import cast

import pytest

from coalsim.observe.document import ResultDocument

RESULT = Path(__file__).parent.parent / "data" / "result" / "result.json"


@pytest.fixture
def document() -> ResultDocument:
    return cast(ResultDocument, json.loads(RESULT.read_text(encoding="utf-8")))
