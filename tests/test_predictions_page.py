"""The page of predictions says what its points say."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "docs" / "predictions" / "page.py"


def test_the_page_is_the_words_with_the_tables_of_the_points() -> None:
    """To the letter, and every point of the sweep is there."""
    done = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False)
    assert (done.stderr, done.returncode) == ("", 0)
