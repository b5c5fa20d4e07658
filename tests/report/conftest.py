"""One study for all tests that only read its results."""

from pathlib import Path

import pytest
from reported import small_results

from coalsim.sweep.results import StudyResults, load_results


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_results(tmp_path_factory.mktemp("reported"))


@pytest.fixture(scope="session")
def results(folder: Path) -> StudyResults:
    return load_results(folder)
