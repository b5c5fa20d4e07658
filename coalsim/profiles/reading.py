"""Reading one switch or one cost, from a profile's TOML or from a user's text.

Both roads end in the same checks: a switch is an integer, a truth value, a time,
a list of orders, a free name, or one of the words that its type lists.

Invariant: what is returned has the type of the field.
"""

import re
from collections.abc import Sequence
from dataclasses import fields
from decimal import Decimal
from difflib import get_close_matches
from functools import cache
from typing import Literal, get_args, get_origin, get_type_hints

from coalsim.errors import ConfigError, Problem
from coalsim.profiles.switches import Switches
from coalsim.provenance import Sourced
from coalsim.units import parse_time

TRUTH = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}
_COST = re.compile(r"\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*(cycles|cycle|cy|ps|ns|us)\s*\Z")


@cache
def _kind(key: str) -> tuple[str, tuple[str, ...]]:
    """What a switch holds: a kind, and the words to choose from if it has some."""
    (field,) = (field for field in fields(Switches) if field.name == key)
    hint = get_type_hints(Switches)[key]
    if field.metadata.get("kind") == "time":
        return "time", ()
    if get_origin(hint) is Literal:
        return "word", get_args(hint)
    return {int: "int", bool: "bool", str: "name"}.get(hint, "orders"), ()


def switch_from_toml(key: str, value: object) -> object:
    """A switch as a TOML document gives it: numbers and lists are what they are, the rest is text."""
    if isinstance(value, bool):
        return switch_from_text(key, "1" if value else "0")
    if isinstance(value, list):
        return switch_from_text(key, ",".join(str(item) for item in value))
    return switch_from_text(key, str(value))


def switch_from_text(key: str, text: str) -> object:
    """A switch as a user writes it.

    Raises:
        ConfigError: the text does not fit the switch.
    """
    kind, words = _kind(key)
    text = text.strip()
    try:
        match kind:
            case "int":
                return int(text)
            case "bool":
                return TRUTH[text.lower()]
            case "time":
                return 0 if text == "0" else parse_time(text)
            case "orders":
                return tuple(int(part) for part in text.strip("[]").replace(" ", "").split(",") if part)
            case "name":
                return text
    except (ValueError, KeyError):
        raise _refusal(key, text, f"not {NEEDED[kind][0]}", NEEDED[kind][1]) from None
    if text in words:
        return text
    raise _refusal(key, text, "no such choice", _choice(text, words))


def switch_to_text(key: str, value: object) -> str:
    """A switch as `switch_from_text` reads it."""
    match _kind(key)[0]:
        case "time":
            return f"{value}ps"
        case "bool":
            return "true" if value else "false"
        case "orders" if isinstance(value, tuple):
            return ",".join(str(order) for order in value)
    return str(value)


NEEDED = {
    "int": ("a whole number", "write it like 63"),
    "bool": ("a truth value", "write true or false, 1 or 0"),
    "time": ("a time", "write it like 15s, or 0"),
    "orders": ("a list of whole numbers", "write it like 0,1,2,3,9"),
}


def cost_from_text(key: str, text: str) -> Sourced:
    """A cost as a user writes it: ``12ns``, ``30 cycles``.

    Raises:
        ConfigError: it is not a number with a unit.
    """
    found = _COST.match(text)
    if not found:
        raise _refusal(key, text, "not a cost", "write it like 12ns, 1.5us or 30cycles")
    unit = "cycles" if found[2].startswith("cy") else found[2]
    value = Decimal(found[1].replace("_", ""))
    return Sourced(value=value, unit=unit, source="set by the user", status="assumed")


def _choice(text: str, words: Sequence[str]) -> str:
    near = get_close_matches(text, words, n=1)
    return (f"did you mean {near[0]}? " if near else "") + f"the choices are {', '.join(words)}"


def _refusal(key: str, value: str, message: str, remedy: str) -> ConfigError:
    return ConfigError([Problem(key=f"kernel.{key}", value=value, message=message, remedy=remedy)])
