"""Reading tables of sourced numbers from TOML, collecting every mistake.

A source may name an entry of the file's ``[sources]`` table: ``"@c2c, median of
the pairs in one socket"`` stands for that entry's text with the rest behind it.

Invariant: what a `Reader` returns is usable; whatever is not became a `Problem`,
and the caller raises them together with `Reader.finish`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches

from coalsim.errors import ConfigError, Problem
from coalsim.provenance import STATUSES, Sourced, Status, sourced
from coalsim.topology.distance import Distance
from coalsim.topology.toml_text import line_of

TIMES = ("ps", "ns", "us", "cycles")
_REFERENCE = re.compile(r"@(\w+)")

Table = Mapping[str, object]


class Reader:
    """One TOML document; `problems` grows while it is read."""

    def __init__(self, document: Table, where: str, lines: Mapping[str, int]) -> None:
        self.document = document
        self.where = where
        self.problems: list[Problem] = []
        self.lines = lines
        self._sources = self.table("sources")

    def finish(self) -> None:
        """Raise what was found, if anything was."""
        if self.problems:
            raise ConfigError(self.problems)

    def refuse(self, key: str, message: str, remedy: str, value: str = "") -> None:
        """Note one mistake."""
        line = line_of(self.lines, key)
        self.problems.append(
            Problem(where=self.where, line=line, key=key, value=value, message=message, remedy=remedy)
        )

    def only(self, table: Table, known: Iterable[str], prefix: str = "") -> None:
        """Refuse keys that mean nothing."""
        names = tuple(known)
        for key in table:
            if key not in names:
                near = get_close_matches(key, names, n=1)
                remedy = f"did you mean {near[0]}?" if near else f"known are {', '.join(names)}"
                self.refuse(f"{prefix}{key}", "unknown key", remedy)

    def table(self, key: str) -> Table:
        """A table of the document; empty if it is missing."""
        found = self.document.get(key, {})
        if isinstance(found, dict):
            return found
        self.refuse(key, "not a table", f"write [{key}] and keys below it")
        return {}

    def text(self, table: Table, key: str, default: str) -> str:
        """A text on one line."""
        found = table.get(key, default)
        if not isinstance(found, str) or not found.isprintable():
            self.refuse(key, "not a text on one line", f'write {key} = "..."')
            return default
        return found

    def number(self, table: Table, key: str, units: tuple[str, ...], prefix: str = "") -> Sourced | None:
        """An entry ``{value, unit, source, status}``; None (and a problem) if it is not usable."""
        dotted = f"{prefix}{key}"
        if key not in table:
            self.refuse(dotted, "missing", "write {value=, unit=, source=, status=}")
            return None
        try:
            number = sourced(table[key], where=self.where, key=dotted, units=units)
        except ConfigError as refusal:
            line = line_of(self.lines, dotted)
            self.problems += (replace(problem, line=line) for problem in refusal.problems)
            return None
        if not number.value.is_finite():
            self.refuse(dotted, "not a finite number", "give a whole or decimal number", str(number.value))
            return None
        return replace(number, source=self.source(dotted, number.source))

    def source(self, key: str, text: str) -> str:
        """A source with its references to [sources] written out."""

        def written_out(reference: re.Match[str]) -> str:
            found = self._sources.get(reference[1])
            if isinstance(found, str):
                return found
            self.refuse(key, f"{reference[0]} is not in [sources]", "name one of its keys", reference[1])
            return reference[0]

        return _REFERENCE.sub(written_out, text)

    def provenance(self, table: Table, key: str) -> tuple[str, Status]:
        """Source and status that stand in a table for all its numbers."""
        source, status = table.get("source"), table.get("status")
        if not isinstance(source, str) or not source.strip() or status not in STATUSES:
            self.refuse(key, "source or status missing", f"give source, and status {', '.join(STATUSES)}")
            return "", "assumed"
        return self.source(key, source), status  # type: ignore[return-value]

    def whole(self, table: Table, key: str, prefix: str, least: int) -> int:
        """A whole number from `least` up; `least` (and a problem) if it is not one."""
        value = table.get(
            key, least if least == 1 and key.startswith(("nodes_", "clusters_", "threads_")) else None
        )
        if isinstance(value, int) and not isinstance(value, bool) and value >= least:
            return value
        said = "missing" if value is None else f"not a whole number from {least} up"
        self.refuse(
            f"{prefix}{key}",
            said,
            f"give a whole number from {least} up",
            "" if value is None else str(value),
        )
        return least

    def by_distance(self, key: str, *, optional: bool = False) -> dict[Distance, Sourced]:
        """A table with one entry per class of distance."""
        table = self.table(key)
        known = {distance.key: distance for distance in Distance}
        self.only(table, known, f"{key}.")
        if not table and not optional:
            self.refuse(key, "missing", f"give [{key}] with {', '.join(known)}, as far as they occur")
        costs: dict[Distance, Sourced] = {}
        for name, distance in known.items():
            if name in table and (number := self.number(table, name, TIMES, f"{key}.")):
                costs[distance] = number
        return costs
