"""Results as files: CSV, JSON Lines, Parquet.

Spreadsheets run text that begins like a formula, and a study may come from a stranger.  So in CSV such
text has an apostrophe before it; text that has one already gets another, so that taking one off gives the
text back.  Numbers, and the other formats, are as they are.

Invariant: the same results give the same text; the bytes of Parquet also depend on pyarrow's version.
"""

import csv
import io
import json
from pathlib import Path

from coalsim.report.columns import Cell
from coalsim.report.libraries import missing_library
from coalsim.report.tables import ResultTable

FORMATS = ("csv", "jsonl", "parquet")
_RUN_BY_SPREADSHEETS = ("=", "+", "-", "@", "\t", "\r", "'")


def csv_text(table: ResultTable) -> str:
    """Comma-separated values with a heading; empty where a number is missing."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(map(_inert, table.names))
    writer.writerows(zip(*(map(_inert, column.cells) for column in table.columns), strict=True))
    return out.getvalue()


def _inert(cell: Cell) -> Cell:
    """The cell; text that a spreadsheet might run with an apostrophe before it."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_RUN_BY_SPREADSHEETS) else cell


def json_lines(table: ResultTable) -> str:
    """A JSON object on each line."""
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in table.rows())


def write_parquet(table: ResultTable, file: Path) -> None:
    """A Parquet file with units in the metadata of its columns.

    Raises:
        ConfigError: pyarrow is not installed.
        OSError: the file cannot be written.
    """
    try:
        from pyarrow import parquet
    except ImportError:
        raise missing_library("pyarrow", "parquet", "Arrow and Parquet") from None
    parquet.write_table(table.to_arrow(), file)
