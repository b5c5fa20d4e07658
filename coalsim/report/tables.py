"""Results as tables for other programs: rows, numpy, Arrow, pandas, polars.

    import coalsim
    frame = coalsim.results("out").to_pandas()

Libraries are imported by the method that needs them; units go along where a library keeps them.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from coalsim.report.columns import Cell, DataColumn, columns_of
from coalsim.report.libraries import missing_library
from coalsim.sweep.results import StudyResults

if TYPE_CHECKING:
    import numpy
    import pandas
    import polars
    import pyarrow


class ResultTable:
    """One row for each run of a study; see `columns.py`.

    Args:
        results: the study; it stays at hand as `study`.
        metrics: dotted paths of the numbers that are wanted; all if there are none.

    Raises:
        ConfigError: a path leads nowhere.
    """

    def __init__(self, results: StudyResults, metrics: Sequence[str] = ()) -> None:
        self.study = results
        self.columns: tuple[DataColumn, ...] = columns_of(results, metrics)

    def __len__(self) -> int:
        return len(self.columns[0].cells)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in their order."""
        return tuple(column.name for column in self.columns)

    @property
    def units(self) -> dict[str, str]:
        """The unit of each column that has one."""
        return {column.name: column.unit for column in self.columns if column.unit}

    def rows(self) -> list[dict[str, Cell]]:
        """Each run as a dict; None where it has no such number."""
        cells = zip(*(column.cells for column in self.columns), strict=True)
        return [dict(zip(self.names, row, strict=True)) for row in cells]

    def to_numpy(self) -> "numpy.ndarray[tuple[int], numpy.dtype[numpy.void]]":
        """A structured array; a number that is missing is NaN, and its column one of floats."""
        import numpy

        def kind(column: DataColumn) -> str:
            if column.kind == "text":
                return f"U{max(1, *(len(str(cell or '')) for cell in column.cells), 1)}"
            return "i8" if column.kind == "int" and None not in column.cells else "f8"

        def cells(column: DataColumn) -> list[object]:
            missing: object = "" if column.kind == "text" else numpy.nan
            return [missing if cell is None else cell for cell in column.cells]

        array = numpy.empty(len(self), dtype=[(column.name, kind(column)) for column in self.columns])
        for column in self.columns:
            array[column.name] = cells(column)
        return array

    def to_arrow(self) -> "pyarrow.Table":
        """An Arrow table; the unit of a column is in its metadata.

        Raises:
            ConfigError: pyarrow is not installed.
        """
        try:
            import pyarrow
        except ImportError:
            raise missing_library("pyarrow", "parquet", "Arrow and Parquet") from None
        types = {"int": pyarrow.int64(), "float": pyarrow.float64(), "text": pyarrow.string()}
        fields = [
            pyarrow.field(
                column.name, types[column.kind], metadata={"unit": column.unit} if column.unit else None
            )
            for column in self.columns
        ]
        arrays = [
            pyarrow.array(column.cells, type=field.type)
            for column, field in zip(self.columns, fields, strict=True)
        ]
        schema = pyarrow.schema(fields, metadata={"coalsim_study": self.study.name})
        return pyarrow.Table.from_arrays(arrays, schema=schema)

    def to_pandas(self) -> "pandas.DataFrame":
        """A pandas frame; units are in ``frame.attrs["units"]``.

        Raises:
            ConfigError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise missing_library("pandas", "", "to_pandas()") from None
        types = {"int": "int64", "float": "float64", "text": "str"}
        frame = pandas.DataFrame(
            {
                column.name: pandas.Series(
                    list(column.cells),
                    dtype="Int64" if column.kind == "int" and None in column.cells else types[column.kind],
                )
                for column in self.columns
            }
        )
        frame.attrs["units"] = self.units
        return frame

    def to_polars(self) -> "polars.DataFrame":
        """A polars frame.

        Raises:
            ConfigError: polars is not installed.
        """
        try:
            import polars
        except ImportError:
            raise missing_library("polars", "", "to_polars()") from None
        types = {"int": polars.Int64, "float": polars.Float64, "text": polars.String}
        return polars.DataFrame(
            [polars.Series(column.name, column.cells, dtype=types[column.kind]) for column in self.columns]
        )
