"""The README tells the truth: its example prints what it says, its links lead somewhere."""

import contextlib
import io
import re
from pathlib import Path

from coalsim.cli.main import COMMANDS
from coalsim.study.document import named_studies

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
TEXTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_example_prints_what_the_readme_says() -> None:
    """To the letter: the same seed gives the same numbers."""
    example, printed = re.findall(r"```(?:python)?\n(.*?)```", README, flags=re.DOTALL)
    out = io.StringIO()

    with contextlib.redirect_stdout(out):
        exec(compile(example, "README.md", "exec"), {})

    assert out.getvalue() == printed
    assert len(example.strip().splitlines()) <= 16


def test_every_relative_link_leads_to_a_file() -> None:
    """In the README and in all of docs/."""
    for text in TEXTS:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", text.read_text(encoding="utf-8")):
            assert (text.parent / link).exists(), f"{text.name}: {link} is not there"


def test_every_study_and_command_is_named() -> None:
    """Somebody who reads only the README knows what there is."""
    for name in (*named_studies(), *COMMANDS):
        assert name in README, f"the README does not name {name}"


def test_every_command_shown_in_the_docs_exists() -> None:
    """`coalsim WORD` in any text is a command."""
    for text in TEXTS:
        for word in re.findall(r"^ {4}coalsim (\w+)", text.read_text(encoding="utf-8"), flags=re.MULTILINE):
            assert word in COMMANDS, f"{text.name}: coalsim {word}"
