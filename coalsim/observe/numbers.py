"""Numbers as cells of a table: no blanks and no group marks inside, so that awk can use them."""

from coalsim.observe.quantities import Count, Nanoseconds
from coalsim.units import format_time

_RATES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def count(number: Count) -> str:
    """A count; means over replications are rounded to whole ones."""
    return str(round(number))


def share(part: Count, whole: Count) -> str:
    """`part` in percent of `whole`, without the sign; a dash when there is no whole."""
    return f"{100 * part / whole:z.1f}" if whole else "-"


def ns(time: Nanoseconds) -> str:
    """ns with one decimal."""
    return f"{time:.1f}"


def us(time: Nanoseconds) -> str:
    """us with two decimals, of a time in ns."""
    return f"{time / 1000:.2f}"


def rate(per_second: Count, what: str) -> str:
    """Four digits and a prefix, for people: ``98.77 M ops/s``."""
    for size, prefix in _RATES:
        if per_second >= size:
            return f"{per_second / size:.4g} {prefix} {what}/s"
    return f"{per_second:.4g} {what}/s"


def span(nanoseconds: Nanoseconds) -> str:
    """A time of ns with the unit that suits it, for people."""
    return format_time(round(nanoseconds * 1000))
