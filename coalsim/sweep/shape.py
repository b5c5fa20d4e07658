"""Whether a value read from JSON has the shape that a type says: yes or no, and fast.

`observe/schema.py` says what is wrong and where; asked of thousands of runs that are all well it
takes most of the time of loading them.  Here each type becomes a function once.

Invariant: a value passes if and only if `schema.faults` finds nothing in it.
"""

import types
from collections.abc import Callable
from functools import cache
from typing import NotRequired, Required, Union, get_args, get_origin, get_type_hints, is_typeddict

Check = Callable[[object], bool]


@cache
def shape_of(kind: object) -> Check:
    """The function that says whether a value is of a type: TypedDict, list, dict, union or plain."""
    origin = get_origin(kind)
    if origin in (Required, NotRequired):
        return shape_of(get_args(kind)[0])
    if isinstance(kind, type) and is_typeddict(kind):
        return _record(kind)
    if origin is list:
        of_item = _late(get_args(kind)[0])
        return lambda value: type(value) is list and all(map(of_item, value))
    if origin is dict:
        of_value = _late(get_args(kind)[1])
        return lambda value: type(value) is dict and all(map(of_value, value.values()))
    plain = _plain(kind)
    return (lambda value: True) if object in plain else (lambda value: type(value) in plain)


def _late(kind: object) -> Check:
    """The function of a type that is looked up when it is needed: documents hold documents."""
    found: list[Check] = []

    def check(value: object) -> bool:
        if not found:
            found.append(shape_of(kind))
        return found[0](value)

    return check


def _record(kind: type) -> Check:
    parts = {key: _late(part) for key, part in get_type_hints(kind).items()}
    required: frozenset[str] = getattr(kind, "__required_keys__")  # noqa: B009 - not on `object`

    def check(value: object) -> bool:
        if type(value) is not dict or not required <= value.keys():
            return False
        return all(parts[key](item) for key, item in value.items() if key in parts)

    return check


def _plain(kind: object) -> frozenset[object]:
    """The types that a value may have; a whole number is a number."""
    if get_origin(kind) in (Union, types.UnionType):
        return frozenset(found for part in get_args(kind) for found in _plain(part))
    return frozenset((int, float)) if kind is float else frozenset((kind,))
