"""The JSON Schema of study files, for editors: made from the models that check them.

    python -m coalsim.sweep.json_schema > coalsim/data/study.schema.json

It knows every section, switch, cost and kind of load, with what their docstrings say.  It cannot
know what depends on two keys at once, nor which machines, files and classes there are: that is
what `coalsim study check` is for.  `coalsim/data/study.schema.json` holds what is made here.
"""

import ast
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from inspect import getsource
from typing import Literal, cast, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from coalsim.profiles.profile import cost_names, profile_names
from coalsim.profiles.switches import Switches
from coalsim.study.injecting import InjectSection
from coalsim.study.loads import WORKLOADS
from coalsim.study.sections import (
    FLAG_SCHEMA,
    TIME_SCHEMA,
    EngineSection,
    RunSection,
    StudySection,
)
from coalsim.sweep.axes import MOST_POINTS
from coalsim.sweep.tables import AxisSection, RangeSection, ShowSection, StopSection

Schema = dict[str, object]
COST: Schema = {
    "type": "string",
    "pattern": r"^\s*[0-9][0-9_]*(\.[0-9]+)?\s*(cycles|cycle|cy|ps|ns|us)\s*$",
    "description": "A cost such as 12ns or 30cycles.",
}
WHAT_IF: Schema = {
    "type": "object",
    "description": "Costs made so many times as large: lock:CLASS, ipi, cost:NAME, machine:KEY.",
    "patternProperties": {"^(ipi|(lock|cost|machine):.+)$": {"type": ["number", "string"]}},
    "additionalProperties": False,
}
_OWN_CLASS = r"^[^:]+:[A-Za-z_]\w*$"
_NUMBER_OR_TEXT: Schema = {"type": ["number", "string", "boolean"]}


def study_schema() -> Schema:
    """The schema, ready to be written as JSON."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A coalsim study",
        "description": "One question: a machine, a kernel, a load, what varies and what is shown.",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "study": _table(StudySection),
            "machine": _machine(),
            "kernel": _kernel(),
            "workload": _workload(),
            "engine": _table(EngineSection),
            "run": _table(RunSection),
            "inject": _table_of_texts(InjectSection),
            "what_if": WHAT_IF,
            "axis": {
                "type": "array",
                "items": {**_table(AxisSection), "oneOf": [{"required": ["key"]}, {"required": ["keys"]}]},
                "description": f"What varies, as a grid of at most {MOST_POINTS} points.",
            },
            "show": _table(ShowSection),
            "stop": _table(StopSection),
            "quick": _quick(),
        },
        "$defs": {f"workload_{kind}": _parameters(model) for kind, model in WORKLOADS.items()},
    }


def schema_text() -> str:
    """The schema as the file holds it."""
    return json.dumps(study_schema(), indent=1, sort_keys=True) + "\n"


def _table(model: type[BaseModel]) -> Schema:
    """A section as its model says, with the docstrings of its fields; no key is required."""
    schema = cast(Schema, model.model_json_schema(mode="validation"))
    schema = cast(Schema, _inlined(schema, cast(Mapping[str, Schema], schema.get("$defs", {}))))
    told = dict(field_docstrings(model))
    properties = cast(dict[str, Schema], schema.get("properties", {}))
    for key, field in properties.items():
        name = next((name for name, info in model.model_fields.items() if (info.alias or name) == key), key)
        field.pop("title", None)
        if name in told:
            field["description"] = told[name]
    for key in ("title", "required", "$defs"):
        schema.pop(key, None)
    schema["properties"] = properties
    return schema


def _table_of_texts(model: type[BaseModel]) -> Schema:
    """The same for a section in which one text stands for a list of one."""
    schema = _table(model)
    properties = cast(dict[str, Schema], schema["properties"])
    for key, field in properties.items():
        if field.get("type") == "array" and _is_text(field.get("items")):
            told = {"description": field["description"]} if "description" in field else {}
            properties[key] = {"anyOf": [field, field["items"]], **told}
    return schema


def _inlined(schema: object, definitions: Mapping[str, Schema]) -> object:
    """A schema without references to definitions of its own."""
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(name := schema.get("$ref"), str):
        return _inlined(definitions[name.rpartition("/")[2]], definitions)
    return {key: _inlined(item, definitions) for key, item in schema.items() if key != "$defs"}


def _is_text(items: object) -> bool:
    return isinstance(items, dict) and items.get("type") == "string"


def _machine() -> Schema:
    numbers: Schema = {"anyOf": [_NUMBER_OR_TEXT, {"$ref": "#/properties/machine/$defs/numbers"}]}
    return {
        "description": "A preset, a file, a synthetic string; or a table with name and numbers.",
        "anyOf": [
            {"type": "string"},
            {
                "type": "object",
                "properties": {"name": {"type": "string"}},
                "additionalProperties": numbers,
            },
        ],
        "$defs": {"numbers": {"type": "object", "additionalProperties": numbers}},
    }


def _kernel() -> Schema:
    told = dict(field_docstrings(Switches))
    switches = {
        field.name: {
            **_switch(field.name),
            **({"description": told[field.name]} if field.name in told else {}),
        }
        for field in fields(Switches)
    }
    return {
        "type": "object",
        "description": "A profile, and what is changed in it: switches, and costs in [kernel.cost].",
        "additionalProperties": False,
        "properties": {
            "profile": {"enum": [*profile_names()], "description": "Whose switches and costs are taken."},
            **switches,
            "cost": {
                "type": "object",
                "additionalProperties": False,
                "properties": dict.fromkeys(cost_names(), COST),
            },
        },
    }


def _switch(name: str) -> Schema:
    """What a switch may be, as `profiles/reading.py` reads it."""
    (field,) = (field for field in fields(Switches) if field.name == name)
    hint = get_type_hints(Switches)[name]
    if field.metadata.get("kind") == "time":
        return dict(TIME_SCHEMA)
    if get_origin(hint) is Literal:
        return {"enum": [*get_args(hint)]}
    if hint is bool:
        return dict(FLAG_SCHEMA)
    if hint is int:
        return {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": r"^\s*-?[0-9_]+\s*$"}]}
    if hint is str:
        return {"type": "string"}
    return {
        "anyOf": [
            {"type": "array", "items": {"type": "integer"}},
            {"type": "integer"},
            {"type": "string", "pattern": r"^[\[\]0-9, ]*$"},
        ]
    }


def _workload() -> Schema:
    of_kind = [
        {
            "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
            "then": {"$ref": f"#/$defs/workload_{kind}"},
        }
        for kind in WORKLOADS
    ]
    own: Schema = {"type": "string", "pattern": _OWN_CLASS, "description": "Your own class, ./file.py:Class."}
    return {
        "type": "object",
        "description": "What the CPUs do.",
        "properties": {"kind": {"anyOf": [{"enum": [*WORKLOADS]}, own]}},
        "allOf": of_kind,
    }


def _parameters(model: type[BaseModel]) -> Schema:
    schema = _table_of_texts(model)
    properties = cast(dict[str, Schema], schema["properties"])
    schema["properties"] = {"kind": {"type": "string"}, **properties}
    return schema


def _quick() -> Schema:
    return {
        "type": "object",
        "description": "The short variant, for --quick: keys that are laid over, and axes with fewer values.",
        "properties": {"axis": {"type": "object", "additionalProperties": _table(RangeSection)}},
        "additionalProperties": True,
    }


def field_docstrings(owner: type) -> Iterator[tuple[str, str]]:
    """The text under each field of a class and of those that it is made from, in one line each."""
    for part in reversed(owner.__mro__):
        if part.__module__.startswith("coalsim."):
            yield from _own_docstrings(part)


def _own_docstrings(owner: type) -> Iterator[tuple[str, str]]:
    tree = _classes(owner.__module__)[owner.__name__]
    for line, below in zip(tree.body, tree.body[1:], strict=False):
        is_text = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and is_text:
            value = cast(ast.Constant, cast(ast.Expr, below).value).value
            if isinstance(value, str):
                yield line.target.id, " ".join(value.split())


@cache  # a module has many classes
def _classes(module: str) -> Mapping[str, ast.ClassDef]:
    tree = ast.parse(getsource(sys.modules[module]))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


if __name__ == "__main__":
    sys.stdout.write(schema_text())
