"""Tables for people and for pipes.

A `Table` is plain data; `render` draws it for a `Style`, which says what the output
can take: a terminal gets rich's tables (colour unless NO_COLOR is set), a pipe gets
aligned columns that awk can split: one heading of single words, one line a row.
rich would wrap its tables at 80 columns in a pipe, so it is never used there, and it
is imported only when it is needed.

Invariant: no cell changes how the terminal behaves; text from traces and studies
goes through `clean`, and rich gets it as text, never as markup.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TextIO

from coalsim.guarded import clean

Align = Literal["left", "right"]

_EIGHTHS = " ▏▎▍▌▋▊▉"
_FULL = "█"


@dataclass(frozen=True)
class Column:
    """One heading and the side its cells stand at."""

    title: str
    align: Align = "right"


def columns(text: str, left: int = 1) -> tuple[Column, ...]:
    """Columns from headings between blanks; the first `left` are for words, the rest for numbers."""
    return tuple(Column(title, "left" if at < left else "right") for at, title in enumerate(text.split()))


@dataclass(frozen=True)
class Table:
    """Headings and cells; `title` and `note` are whole lines above and below.

    The last `totals` rows are sums of those before them.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    note: str = ""
    totals: int = 0

    def __post_init__(self) -> None:
        for row in self.rows:
            assert len(row) == len(self.columns), (
                f"{len(row)} cells under {len(self.columns)} headings: {row}"
            )


@dataclass(frozen=True, kw_only=True)
class Style:
    """What the output can take."""

    terminal: bool = False
    colour: bool = False
    unicode: bool = True
    width: int = field(default=80, compare=False)

    @classmethod
    def of(cls, stream: TextIO, environ: Mapping[str, str] | None = None) -> "Style":
        """The style that suits a stream; NO_COLOR (any text) and TERM=dumb forbid colour."""
        environ = os.environ if environ is None else environ
        terminal = stream.isatty()
        encoding = (stream.encoding or "ascii").lower().replace("-", "").replace("_", "")
        return cls(
            terminal=terminal,
            colour=terminal and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb",
            unicode=encoding.startswith("utf"),
            width=_width(stream) if terminal else 80,
        )

    def bar(self, part: float, width: int = 24) -> str:
        """A bar for a share of 0..1, to an eighth of a cell; whole `#` where there is no Unicode."""
        part = min(max(part, 0.0), 1.0)
        if not self.unicode:
            return "#" * round(part * width)
        full, eighths = divmod(round(part * width * 8), 8)
        return (_FULL * full + _EIGHTHS[eighths]).rstrip()

    def fit(self, text: str) -> str:
        """The text as the output can encode it; other characters become escapes such as ``\\u2588``."""
        return text if self.unicode else text.encode("ascii", "backslashreplace").decode("ascii")


PLAIN = Style()


def render(table: Table, style: Style = PLAIN) -> str:
    """The table as text, ending in a newline."""
    rows = [tuple(clean(cell) for cell in row) for row in table.rows]
    drawn = _rich(table, rows, style) if style.terminal else plain(table.columns, rows)
    lines = [clean(table.title)] if table.title else []
    lines.append(drawn.rstrip("\n"))
    if table.note:
        lines.append(clean(table.note))
    return style.fit("\n".join(lines) + "\n")


def plain(heads: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns, two blanks apart, no blanks at the ends of lines.

    An empty cell reads `-`, so that columns can be counted, but for the last one.
    """
    cells = [
        [head.title for head in heads],
        *([*(cell or "-" for cell in row[:-1]), row[-1]] for row in rows),
    ]
    widths = [max(len(line[at]) for line in cells) for at in range(len(heads))]
    return "\n".join(_aligned(line, widths, heads).rstrip() for line in cells) + "\n"


def _aligned(line: Sequence[str], widths: Sequence[int], heads: Sequence[Column]) -> str:
    return "  ".join(
        cell.ljust(width) if head.align == "left" else cell.rjust(width)
        for cell, width, head in zip(line, widths, heads, strict=True)
    )


def _rich(table: Table, rows: Sequence[Sequence[str]], style: Style) -> str:
    from io import StringIO

    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(box=box.SIMPLE_HEAD if style.unicode else box.ASCII2, pad_edge=False)
    for head in table.columns:
        drawn.add_column(head.title, justify=head.align, no_wrap=True)
    for at, row in enumerate(rows):
        is_total = at >= len(rows) - table.totals
        drawn.add_row(*(Text(cell) for cell in row), style="bold" if is_total else "")
    # Never narrower than the table: a shortened number is a wrong number.
    natural = 4 * len(table.columns) + sum(
        max(len(line[at]) for line in [[head.title for head in table.columns], *rows])
        for at in range(len(table.columns))
    )
    out = StringIO()
    console = Console(
        file=out,
        force_terminal=True,
        no_color=not style.colour,
        color_system="standard" if style.colour else None,
        width=max(style.width, natural),
        legacy_windows=False,
        _environ={},
    )
    console.print(drawn)
    return "\n".join(line.rstrip() for line in out.getvalue().split("\n") if line.strip())


def _width(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return 80
