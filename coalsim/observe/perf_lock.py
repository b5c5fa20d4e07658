"""Lock contention as `perf lock contention` prints it, in its three views.

    caller    type and call site (the default)      the `waiters` of the lock rows
    thread    pid and comm, here CPU and its thread  `lock_waits_by_cpu`
    address   address and symbol                     `lock_instances`

Every view prints the same fields in the order asked for.  Times are whole ns: scaled
to `%.2f` of h, m, s, ms or us in the table, bare in the csv form, as perf does.  The
first line says that the data is simulated.
Source: tools/perf/builtin-lock.c of Linux 6.18, struct lock_key contention_keys,
lock_stat_key_print_time(), print_header_stdio(), print_header_csv().
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from coalsim.errors import ConfigError, Problem
from coalsim.guarded import clean
from coalsim.observe.document import CpuWaits, LockEntry, LockInstance, ResultDocument, Waiter, excerpt
from coalsim.observe.quantities import Count, Nanoseconds

View = Literal["caller", "thread", "address"]

_SCALES = ((3600e9, "h "), (60e9, "m "), (1e9, "s "), (1e6, "ms"), (1e3, "us"))


class Contention(NamedTuple):
    """One row of any view: who waited (`first` and `second`, after the view's headings) and how long."""

    first: str
    second: str
    contended: Count
    wait_total: Nanoseconds
    wait_max: Nanoseconds
    wait_min: Nanoseconds
    kind: str = ""  # the lock's type, where the first column does not hold it

    @property
    def wait_avg(self) -> Nanoseconds:
        """Mean wait; 0 when nobody waited."""
        return self.wait_total / self.contended if self.contended else 0


@dataclass(frozen=True)
class Field:
    """One column: perf's key, its heading, its width, and whether it is a time."""

    key: str
    heading: str
    width: int
    value: Callable[[Contention], Nanoseconds]
    is_time: bool = True


FIELDS = {
    field.key: field
    for field in (
        Field("contended", "contended", 10, lambda row: row.contended, is_time=False),
        Field("wait_total", "total wait", 12, lambda row: row.wait_total),
        Field("wait_max", "max wait", 12, lambda row: row.wait_max),
        Field("wait_min", "min wait", 12, lambda row: row.wait_min),
        Field("avg_wait", "avg wait", 12, lambda row: row.wait_avg),
    )
}
DEFAULT_FIELDS = ("contended", "wait_total", "wait_max", "avg_wait")
DEFAULT_KEY = "wait_total"
_NEEDS: dict[View, tuple[str, str]] = {  # part of the document, option that asks for it
    "caller": ("locks", "--callers"),
    "thread": ("lock_waits_by_cpu", "-t"),
    "address": ("lock_instances", "-l"),
}
_HEADINGS: dict[View, tuple[str, str]] = {
    "caller": ("type", "caller"),
    "thread": ("pid", "comm"),
    "address": ("address", "symbol"),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `-t|-l`, `-k`, `-F`, `-E` and `-x` say.

    Args:
        entries: how many rows; None is all.
        separator: the csv form with this text between fields; None is the table.

    Raises:
        ConfigError: a field that does not exist, no fields, or no rows.
    """

    view: View = "caller"
    key: str = DEFAULT_KEY
    fields: tuple[str, ...] = DEFAULT_FIELDS
    entries: int | None = None
    separator: str | None = None

    def __post_init__(self) -> None:
        problems = [_unknown("-k", self.key)] if self.key not in FIELDS else []
        problems += [_unknown("-F", name) for name in self.fields if name not in FIELDS]
        if not self.fields:
            problems.append(Problem(key="-F", message="no fields", remedy=_choices()))
        if self.entries is not None and self.entries < 1:
            wrong = f"{self.entries} rows cannot be printed"
            problems.append(Problem(key="-E", message=wrong, remedy="give 1 or more"))
        if self.separator is not None and not self.separator.isprintable() and self.separator != "\t":
            problems.append(
                Problem(
                    key="-x", message="a separator that cannot be printed", remedy="give a mark like , or ;"
                )
            )
        if problems:
            raise ConfigError(problems)


def _unknown(option: str, name: str) -> Problem:
    return Problem(key=option, value=clean(name), message="no such field", remedy=_choices())


def _choices() -> str:
    return f"choose from {', '.join(FIELDS)}"


def perf_lock(document: ResultDocument, options: Options) -> str:
    """The whole report.

    Raises:
        ConfigError: the result does not hold what the view needs.
    """
    rows = contention_rows(document, options)
    lines = [f"# coalsim {clean(document['coalsim'])} simulated, perf-lock-contention layout"]
    if options.separator is None:
        lines += _table(rows, options)
    else:
        lines += _csv(rows, options, options.separator)
    return "\n".join(lines) + "\n"


def perf_lock_json(document: ResultDocument, options: Options) -> dict[str, object]:
    """The rows of the view as the document has them, with all columns; by caller, the lock classes.

    Raises:
        ConfigError: the result does not hold what the view needs.
    """
    _require(document, options.view)
    key = FIELDS[options.key].value
    if options.view == "thread":
        waits = sorted(
            document.get("lock_waits_by_cpu", []), key=lambda row: (-key(_of_cpu(row)), row["cpu"])
        )
        return excerpt(document, lock_waits_by_cpu=waits[: options.entries])
    if options.view == "address":
        locks = document.get("lock_instances", [])
        instances = sorted(locks, key=lambda row: (-key(_of_instance(row)), row["address"]))
        return excerpt(document, lock_instances=instances[: options.entries])
    classes = sorted(document["locks"], key=lambda row: (-key(_of_class(row)), row["name"], row["type"]))
    return excerpt(document, locks=classes[: options.entries])


def contention_rows(document: ResultDocument, options: Options) -> list[Contention]:
    """The rows of the view that have waited, largest key first, cut to the wanted number."""
    _require(document, options.view)
    rows = [row for row in _ROWS[options.view](document) if row.contended]
    key = FIELDS[options.key].value
    rows.sort(key=lambda row: (-key(row), row.second, row.first))
    return rows[: options.entries]


def _require(document: ResultDocument, view: View) -> None:
    """Refuse a view that the result was not recorded for: an empty table would look like no waiting."""
    part, option = _NEEDS[view]
    if part not in document:
        raise ConfigError(
            [Problem(key=option, message=f"no {part} in this result", remedy="leave the option out")]
        )


def _by_caller(document: ResultDocument) -> list[Contention]:
    return [_of_site(lock, site) for lock in document["locks"] for site in lock["waiters"]]


def _by_thread(document: ResultDocument) -> list[Contention]:
    return [_of_cpu(waits) for waits in document.get("lock_waits_by_cpu", [])]


def _by_address(document: ResultDocument) -> list[Contention]:
    return [_of_instance(lock) for lock in document.get("lock_instances", [])]


def _of_site(lock: LockEntry, site: Waiter) -> Contention:
    return Contention(
        lock["type"],
        site["site"],
        site["contentions"],
        site["wait_total"],
        site["wait_max"],
        site["wait_min"],
    )


def _of_cpu(waits: CpuWaits) -> Contention:
    return Contention(
        str(waits["cpu"]),
        waits["name"],
        waits["contended"],
        waits["wait_total"],
        waits["wait_max"],
        waits["wait_min"],
    )


def _of_instance(lock: LockInstance) -> Contention:
    return Contention(
        f"{lock['address']:016x}",
        lock["symbol"],
        lock["contended"],
        lock["wait_total"],
        lock["wait_max"],
        lock["wait_min"],
        lock["type"],
    )


def _of_class(lock: LockEntry) -> Contention:
    return Contention(
        lock["type"],
        lock["name"],
        lock["contentions"],
        lock["waittime_total"],
        lock["waittime_max"],
        lock["waittime_min"],
    )


_ROWS: dict[View, Callable[[ResultDocument], list[Contention]]] = {
    "caller": _by_caller,
    "thread": _by_thread,
    "address": _by_address,
}


def _table(rows: Sequence[Contention], options: Options) -> list[str]:
    fields = [FIELDS[name] for name in options.fields]
    width = 16 if options.view == "address" else 10
    first, second = _HEADINGS[options.view]
    lines = [_joined([f"{field.heading:>{field.width}}" for field in fields], first, second, width), ""]
    for row in rows:
        symbol = f"{clean(row.second)} ({clean(row.kind)})" if row.kind else clean(row.second)
        lines.append(_joined([_cell(field, row) for field in fields], clean(row.first), symbol, width))
    return lines


def _joined(cells: Sequence[str], first: str, second: str, width: int) -> str:
    return "".join(f"{cell} " for cell in cells) + f"  {first:>{width}}   {second}"


def _cell(field: Field, row: Contention) -> str:
    value = round(field.value(row))
    return scaled(value, field.width) if field.is_time else f"{value:{field.width}}"


def scaled(time: int, width: int) -> str:
    """A time of whole ns in `width` places, its unit in the last two.

    >>> scaled(66_960_000, 12)
    '    66.96 ms'
    """
    for base, unit in _SCALES:
        if time >= base:
            return f"{time / base:{width - 3}.2f} {unit}"
    return f"{time:{width - 3}} ns"


def _csv(rows: Sequence[Contention], options: Options, separator: str) -> list[str]:
    fields = [FIELDS[name] for name in options.fields]
    headings = [*(field.heading for field in fields), *_HEADINGS[options.view]]
    if options.view == "address":
        headings.append("type")
    lines = ["# output: " + f"{separator} ".join(headings)]
    for row in rows:
        names = [row.first.lstrip("0") or "0", row.second, row.kind] if row.kind else [row.first, row.second]
        values = [str(round(field.value(row))) for field in fields]
        lines.append(f"{separator} ".join([*values, *(clean(name) for name in names)]))
    total = sum(round(row.contended) for row in rows)
    return [*lines, f"# debug: total={total}, bad=0"]
