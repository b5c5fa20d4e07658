"""Results as files: CSV, JSON Lines, Parquet.

Invariant: the same results give the same text; the bytes of Parquet also depend on pyarrow's version.
"""

import csv
import io
import json
from pathlib import Path

from coalsim.report.libraries import missing_library
from coalsim.report.tables import ResultTable

FORMATS = ("csv", "jsonl", "parquet")


def csv_text(table: ResultTable) -> str:
    """Comma-separated values with a heading; empty where a number is missing."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table.names)
    writer.writerows(zip(*(column.cells for column in table.columns), strict=True))
    return out.getvalue()


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
