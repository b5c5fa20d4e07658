"""The page of the shootdown laboratory says what its points say."""

import sys
from pathlib import Path

import pytest

from coalsim.study.overrides import Setting
from coalsim.study.planning import open_study

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "docs" / "laboratory"))

from questions import QUESTIONS, Question  # noqa: E402
from sweep import command, kept, page, points  # noqa: E402


def test_the_page_is_the_words_with_the_tables_of_the_points() -> None:
    """To the letter: a table that was typed, or a point that is missing, shows here."""
    written = page({question.study: kept(question) for question in QUESTIONS})
    assert (ROOT / "docs" / "laboratory.md").read_text(encoding="utf-8") == written


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.study)
def test_every_point_is_a_study_with_settings_that_it_takes(question: Question) -> None:
    """And none is in the file that no table asks for."""
    asked = points(question)
    for study, settings, _ in asked:
        open_study(study, [Setting(key=key, value=value, option="--set") for key, value in settings.items()])
    assert {command(study, settings) for study, settings, _ in asked} == set(kept(question))
