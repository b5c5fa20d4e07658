"""Settings laid over a study: ``--set kernel.lock=mcs``, and the values of its axes.

A value is read as TOML where that gives a number, a truth value, a quoted text
or a list, and is taken as it stands otherwise, so that nobody has to quote
quotes for a shell.

Invariant: a document keeps, for every key set here, the option as it was typed, or the part of the
file that gave it.
"""

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import isfinite

from coalsim.errors import ConfigError, Problem
from coalsim.study.document import Document

NAMED_TABLES = ("machine",)
"""Keys that are a name or a table with a name: setting something inside turns the name into the table."""

_KEY = re.compile(r"[\w-]+(\.[\w-]+)*")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One key set, and the option as it was typed, or (`at`) the part of the study file that sets it."""

    key: str
    value: object
    option: str = ""
    at: str = ""


def parse_settings(texts: Sequence[str]) -> tuple[Setting, ...]:
    """The settings of several ``--set`` options.

    Raises:
        ConfigError: every text that is not KEY=VALUE.
    """
    problems: list[Problem] = []
    settings: list[Setting] = []
    for text in texts:
        key, equals, value = text.partition("=")
        key = key.strip()
        option = f"--set {text}"
        if not equals or not all(
            part.replace("-", "_").isidentifier() or part.isdigit() for part in key.split(".")
        ):
            problems.append(
                Problem(where=option, message="not KEY=VALUE", remedy="write it like --set kernel.lock=mcs")
            )
        else:
            settings.append(Setting(key=key, value=parse_value(value.strip()), option=option))
    if problems:
        raise ConfigError(problems)
    return tuple(settings)


def parse_value(text: str) -> object:
    """A value as TOML reads it, or the text itself.

    >>> parse_value("8"), parse_value("false"), parse_value("exp:56.3ns")
    (8, False, 'exp:56.3ns')
    """
    if "\n" in text:
        return text
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, ValueError, RecursionError):
        return text
    if isinstance(value, float) and not isfinite(value):
        return text
    return value if isinstance(value, bool | int | float | str | list) else text


def with_settings(document: Document, settings: Iterable[Setting]) -> Document:
    """The document with settings laid over it, later ones over earlier ones.

    Raises:
        ConfigError: a setting reaches into something that is not a table.
    """
    raw = _copied(document.raw)
    options, moved = dict(document.options), dict(document.moved)
    problems: list[Problem] = []
    for setting in settings:
        outer, _, last = setting.key.rpartition(".")
        place = _table(raw, outer)
        if place is None:
            remedy = f"set {outer} itself"
            if setting.at:
                problems.append(document.problem(setting.at, f"{outer} is not a table", remedy))
            else:
                where = setting.option
                problems.append(Problem(where=where, message=f"{outer} is not a table", remedy=remedy))
            continue
        place[last] = setting.value
        given, other = (moved, options) if setting.at else (options, moved)
        given[setting.key] = setting.at or setting.option
        other.pop(setting.key, None)
    if problems:
        raise ConfigError(problems)
    return replace(document, raw=raw, options=options, moved=moved)


def _table(raw: dict[str, object], path: str) -> dict[str, object] | None:
    """The table under a path, made where there is none; None if something else is in the way."""
    place = raw
    for name in path.split(".") if path else ():
        inner = place.setdefault(name, {})
        if place is raw and name in NAMED_TABLES and isinstance(inner, str):
            inner = place[name] = {"name": inner}
        if not isinstance(inner, dict):
            return None
        place = inner
    return place


def _copied(value: object) -> dict[str, object]:
    """A copy whose tables can be changed."""
    assert isinstance(value, dict)
    return {key: _copied(item) if isinstance(item, dict) else item for key, item in value.items()}
