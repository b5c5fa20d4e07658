"""Markdown: tables and cells of the reference pages."""

from collections.abc import Iterable, Sequence

_MARKS = str.maketrans({mark: f"\\{mark}" for mark in "\\*_<>[]|$`"})


def cell(text: str) -> str:
    """Plain text as Markdown shows it, in one line; what stands between backticks stays code."""
    parts = " ".join(text.split()).split("`")
    if len(parts) % 2 == 0:  # a backtick without its partner is no code
        return "`".join(parts).translate(_MARKS)
    shown = (code(part) if at % 2 else part.translate(_MARKS) for at, part in enumerate(parts))
    return "".join(shown)


def code(text: str) -> str:
    """Text in code type, also in a cell."""
    return "`" + text.replace("|", "\\|") + "`" if text else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
