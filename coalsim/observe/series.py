"""Memory over time, as tables and small charts: the `series` part of the result document.

Sizes and frames are as they were at each sample; counters are rates, over the time since the
sample before.  A column that is 0 throughout is left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from coalsim.guarded import clean
from coalsim.observe import numbers
from coalsim.observe.proc_vmstat import in_order
from coalsim.observe.quantities import Count, Nanoseconds
from coalsim.observe.series_document import SeriesEntry, ZoneSeries
from coalsim.observe.tables import PLAIN, Style, Table, columns, render

NS_PER_SECOND = 1_000_000_000
CHART_WIDTH = 60
_SIZES = (
    *("free", "percpu", "user", "cache", "page_tables", "slab", "kernel"),
    *("reserve", "moving", "reserved"),
)
_LEVELS = "▁▂▃▄▅▆▇█"
_PLAIN_LEVELS = "01234567"

Columns = dict[str, Sequence[Count]]


def series_text(series: SeriesEntry, style: Style = PLAIN) -> str:
    """Tables of the machine, of each zone and of the rates, then a chart of each column."""
    rates: Columns = {**rates_of(series)}
    tables = [
        ("memory over time, bytes", _moving(_sizes(series["bytes"]))),
        *((_zone_title(zone), _of_zone(zone)) for zone in series["zones"]),
        ("counters over time, per second", _moving(rates)),
    ]
    drawn = [_table(title, series["time_ns"], found) for title, found in tables if found]
    return "\n".join(render(table, style) for table in [*drawn, _charts(tables, style)])


def with_rates(series: SeriesEntry) -> SeriesEntry:
    """The series and its rates."""
    return {**series, "rates": rates_of(series)}


def rates_of(series: SeriesEntry) -> dict[str, list[float]]:
    """Each counter per second, since the sample before; 0 at the first."""
    times = series["time_ns"]
    counters = series["counters"]
    return {name: [*_rates(times, counters[name])] for name in in_order(counters)}


def _rates(times: Sequence[Nanoseconds], counts: Sequence[Count]) -> Iterator[float]:
    yield 0.0
    for at in range(1, len(times)):
        yield (counts[at] - counts[at - 1]) * NS_PER_SECOND / (times[at] - times[at - 1])


def sparkline(values: Sequence[Count], style: Style = PLAIN, width: int = CHART_WIDTH) -> str:
    """The course of a column between its least and its greatest value, in one line.

    More values than fit are averaged, as many for each character as for the next one, give or take one.
    """
    levels = _LEVELS if style.unicode else _PLAIN_LEVELS
    cells = min(width, len(values))
    edges = [len(values) * cell // cells for cell in range(cells + 1)] if cells else []
    means = [sum(values[first:last]) / (last - first) for first, last in pairwise(edges)]
    least, span = min(means, default=0), max(means, default=0) - min(means, default=0)
    steps = len(levels) - 1
    return "".join(levels[round((mean - least) / span * steps) if span else 0] for mean in means)


def _sizes(sizes: Mapping[str, Sequence[Count]]) -> Columns:
    return {name: sizes[name] for name in _SIZES if name in sizes}


def _moving(found: Columns) -> Columns:
    """The columns that are not 0 throughout."""
    return {name: values for name, values in found.items() if any(values)}


def _of_zone(zone: ZoneSeries) -> Columns:
    sizes = {name: values for name, values in _sizes(zone["bytes"]).items() if name != "free"}
    found: Columns = {"free_pages": zone["free_pages"]}
    found |= {f"unusable_{order}": values for order, values in _by_order(zone["unusable"])}
    found |= {f"extfrag_{order}": values for order, values in _by_order(zone["extfrag"])}
    return {**found, **_moving(sizes)}


def _by_order(indices: Mapping[str, Sequence[int]]) -> list[tuple[str, Sequence[int]]]:
    return sorted(indices.items(), key=lambda item: int(item[0]))


def _zone_title(zone: ZoneSeries) -> str:
    marks = ", ".join(f"{name} {numbers.count(zone[name])}" for name in ("min", "low", "high"))
    return (
        f"node {zone['node']}, zone {clean(zone['zone'])}: pages, indices in thousandths by order, bytes "
        f"(marks: {marks})"
    )


def _table(title: str, times: Sequence[Nanoseconds], found: Columns) -> Table:
    heads = [name.replace("_", "-") for name in found]
    rows = [
        (f"{time / 1000:.3f}", *(numbers.count(round(values[at])) for values in found.values()))
        for at, time in enumerate(times)
    ]
    return Table(columns(" ".join(["time-us", *heads]), left=0), tuple(rows), title=title)


def _charts(tables: Sequence[tuple[str, Columns]], style: Style) -> Table:
    """A line for each column of each table that changes."""
    rows = []
    for title, found in tables:
        where = title.partition(":")[0] if title.startswith("node") else "machine"
        for name, values in found.items():
            if min(values) != max(values):
                cells = (numbers.count(round(value)) for value in (min(values), max(values), values[-1]))
                place = where.replace(", ", "/").replace(" ", "-")
                rows.append((place, name.replace("_", "-"), *cells, sparkline(values, style)))
    heads = columns("where column least greatest last course", left=2)
    return Table((*heads[:-1], columns("course")[0]), tuple(rows), title="course of each column that changes")
