"""Tables: for awk in a pipe, drawn on a terminal, harmless always."""

import os
import pty
import subprocess
import sys
from io import StringIO

from hypothesis import given
from hypothesis import strategies as st

from coalsim.observe import numbers
from coalsim.observe.tables import Style, Table, columns, render

TABLE = Table(
    columns("lock type wait-us", left=2),
    (("zone_lock", "spinlock", "7410.88"), ("depot", "", "288.41")),
    title="locks",
    note="2 more",
    totals=1,
)


def test_a_plain_table_is_aligned_and_has_one_word_in_each_cell() -> None:
    """Headings, then rows; an empty cell is a dash, so awk counts the same columns."""
    assert render(TABLE) == (
        "locks\n"
        "lock       type      wait-us\n"
        "zone_lock  spinlock  7410.88\n"
        "depot      -          288.41\n"
        "2 more\n"
    )


def test_a_plain_table_is_never_wrapped() -> None:
    """Rows stay whole however long they are."""
    long = Table(columns("name value"), (("x" * 300, "1"),))

    assert render(long).splitlines()[1] == "x" * 300 + "      1"


@given(st.text(), st.booleans(), st.booleans())
def test_no_text_in_a_cell_escapes_its_line(text: str, terminal: bool, unicode: bool) -> None:
    """Escapes, newlines and rich's own markup come out as harmless text on the same line."""
    style = Style(terminal=terminal, colour=False, unicode=unicode)
    drawn = render(Table(columns("name value"), ((f"<{text}>", "1"), ("[bold]b[/bold]", "2"))), style)

    assert len(drawn.splitlines()) == (4 if terminal and unicode else 6 if terminal else 3)
    assert "\x1b" not in drawn
    assert "[bold]b[/bold]" in drawn
    assert unicode or drawn.isascii()


def test_a_terminal_gets_every_digit_even_if_it_is_narrow() -> None:
    """A number that is cut short is a wrong number."""
    wide = Table(
        columns(" ".join(f"column-{n}" for n in range(12))), (tuple("1234567890123" for _ in range(12)),)
    )

    drawn = render(wide, Style(terminal=True, colour=True, width=40))

    assert drawn.count("1234567890123") == 12


def test_colour_needs_a_terminal_and_nobody_who_forbids_it() -> None:
    """NO_COLOR counts when it holds any text; a dumb terminal has none."""

    class Terminal(StringIO):
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    assert Style.of(Terminal(), {}).colour
    assert Style.of(Terminal(), {"NO_COLOR": ""}).colour
    assert not Style.of(Terminal(), {"NO_COLOR": "1"}).colour
    assert not Style.of(Terminal(), {"TERM": "dumb"}).colour
    assert not Style.of(StringIO(), {}).terminal


def test_an_output_that_is_not_utf_8_gets_ascii() -> None:
    """The encoding of the stream decides."""
    with open(os.devnull, "w", encoding="latin-1") as sink:
        assert not Style.of(sink, {}).unicode
    with open(os.devnull, "w", encoding="UTF-8") as sink:
        assert Style.of(sink, {}).unicode
    assert Style(unicode=False).fit("█ µ") == "\\u2588 \\xb5"


def test_on_a_real_terminal_rich_draws_and_in_a_pipe_it_is_not_even_imported() -> None:
    """The same program, once on a pseudo-terminal and once in a pipe."""
    program = (
        "import sys\n"
        "from coalsim.observe.tables import Style, Table, columns, render\n"
        "text = render(Table(columns('name value'), (('zone_lock', '1'),)), Style.of(sys.stdout))\n"
        "sys.stdout.write(text + str('rich' in sys.modules))\n"
    )
    environ = {**os.environ, "TERM": "xterm", "PYTHONUTF8": "1"}
    environ.pop("NO_COLOR", None)
    piped = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environ
    )
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", program], stdout=theirs, env=environ) as child:
        child.wait()
    os.close(theirs)
    drawn = os.read(ours, 10_000).decode()
    os.close(ours)

    assert piped.stdout == "name       value\nzone_lock      1\nFalse"
    assert "\x1b[1mname" in drawn
    assert "───" in drawn
    assert drawn.endswith("True")


def test_a_share_that_rounds_to_nothing_has_no_sign() -> None:
    """-0.0 would make people look for what was lost."""
    assert numbers.share(-1, 100_000) == "0.0"
    assert numbers.share(-1, 100) == "-1.0"
