"""Whether a value read from JSON has the shape that a type says.

The types are those of `document.py`: TypedDict, list, dict, unions and the plain JSON
types, so the schema is written once.  Every mistake is reported, each with the path to
it.  Keys that the type does not know are let through: a newer coalsim may write them.
"""

import types
from collections.abc import Iterator, Mapping
from functools import cache
from typing import (
    NamedTuple,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", type(None): "null"}


class Fault(NamedTuple):
    """A place in the value, and what should be there."""

    path: tuple[str | int, ...]
    message: str

    @property
    def key(self) -> str:
        """The path as people write it: ``locks[3].name``."""
        text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)
        return text.removeprefix(".")


def faults(value: object, kind: object, path: tuple[str | int, ...] = ()) -> Iterator[Fault]:
    """Every place where `value` is not of the type `kind`."""
    origin = get_origin(kind)
    if origin in (Required, NotRequired):
        yield from faults(value, get_args(kind)[0], path)
    elif isinstance(kind, type) and is_typeddict(kind):
        yield from _record_faults(value, kind, path)
    elif origin is list:
        if isinstance(value, list):
            for at, item in enumerate(value):
                yield from faults(item, get_args(kind)[0], (*path, at))
        else:
            yield Fault(path, f"should be a list, not {_word(value)}")
    elif origin is dict:
        if isinstance(value, dict):
            for key, item in value.items():
                yield from faults(item, get_args(kind)[1], (*path, key))
        else:
            yield Fault(path, f"should be an object, not {_word(value)}")
    elif not _is_plain(value, kind):
        yield Fault(path, f"should be {_kind_word(kind)}, not {_word(value)}")


def _record_faults(value: object, kind: type, path: tuple[str | int, ...]) -> Iterator[Fault]:
    if not isinstance(value, dict):
        yield Fault(path, f"should be an object, not {_word(value)}")
        return
    required: frozenset[str] = getattr(kind, "__required_keys__")  # noqa: B009 - not on `object`
    for key, part in _parts(kind).items():
        if key in value:
            yield from faults(value[key], part, (*path, key))
        elif key in required:
            yield Fault((*path, key), "missing")


@cache  # resolving the names of a type is slow beside looking at one row
def _parts(kind: type) -> Mapping[str, object]:
    return get_type_hints(kind)


def _is_plain(value: object, kind: object) -> bool:
    if kind is object:
        return True
    if get_origin(kind) in (Union, types.UnionType):
        return any(_is_plain(value, part) for part in get_args(kind))
    if kind is float:
        return type(value) in (int, float)
    return type(value) is kind


def _kind_word(kind: object) -> str:
    if get_origin(kind) in (Union, types.UnionType):
        words = [
            _kind_word(part) for part in get_args(kind) if part is not int or float not in get_args(kind)
        ]
        return " or ".join(words)
    assert isinstance(kind, type)
    return _WORDS[kind]


def _word(value: object) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return f"{value!r}" if isinstance(value, bool | int | float) else _WORDS[type(value)]
