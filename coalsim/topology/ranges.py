"""Numbers in few characters: ``0-12,52-64``."""

from collections.abc import Iterable


def ranges(numbers: Iterable[int]) -> str:
    """Ascending numbers as ranges, as in /sys.

    >>> ranges([0, 1, 2, 5, 7, 8])
    '0-2,5,7-8'
    """
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1] = runs[-1][0], number
        else:
            runs.append((number, number))
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
