"""The reference of study files: every key of every section and load, from the models that check them."""

import re
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from markdown import cell, code, table
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from coalsim.study.document import named_studies, read_document
from coalsim.study.injecting import InjectSection
from coalsim.study.loads import WORKLOADS
from coalsim.study.sections import EngineSection, RunSection, StudySection
from coalsim.sweep.json_schema import field_docstrings, study_schema
from coalsim.sweep.tables import AxisSection, ShowSection, StopSection
from coalsim.units import MS, NS, SEC, US

Schema = Mapping[str, Any]
SECTIONS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("[study]", StudySection),
    ("[run]", RunSection),
    ("[engine]", EngineSection),
    ("[inject]", InjectSection),
    ("[[axis]]", AxisSection),
    ("[show]", ShowSection),
    ("[stop]", StopSection),
)
WORDS = (
    ("^(const|exp", "a law such as `exp:56.3ns`"),
    ("ps|ns|us", "a time such as `2ms`"),
    ("kKmMgGtT", "bytes, or a size such as `4KiB`"),
)
"""What texts are, by a mark in their pattern."""
UNITS = (("s", SEC), ("ms", MS), ("us", US), ("ns", NS), ("ps", 1))
TIMES = re.compile(r"\b(\d+)ps\b")


def study_file_page() -> str:
    """Every section that is the same for every study."""
    schema: Schema = study_schema()["properties"]  # type: ignore[assignment]
    lines = [
        "# Keys of a study file",
        "",
        "[Study files](../study_files.md) explains them with examples; `coalsim study schema` prints",
        "the JSON Schema for editors. `machine` is a name or a table ([machines](machines.md)),",
        "`[kernel]` has the [switches](switches.md) and `[kernel.cost]` the [costs](costs.md),",
        "`[workload]` the keys of its [load](loads.md). `[quick]` takes any of these keys, and",
        '`[quick.axis."KEY"]` those of an axis.',
    ]
    for title, model in SECTIONS:
        name = title.strip("[]")
        properties = schema[name]
        properties = properties.get("items", properties)["properties"]
        lines += [
            "",
            f"## {title.replace('[', chr(92) + '[').replace(']', chr(92) + ']')}",
            "",
            _told(model),
            "",
        ]
        lines.append(_keys(model, properties))
    return "\n".join(lines) + "\n"


def loads_page() -> str:
    """Every kind of load with its keys."""
    definitions: Schema = study_schema()["$defs"]  # type: ignore[assignment]
    studies = _studies()
    lines = [
        "# Loads",
        "",
        "`[workload]` of a study: `kind` is one of these, or a class of your own",
        "([extending](../extending.md)). Defaults are the load's; a study that comes along may set",
        "others.",
    ]
    for kind, model in WORKLOADS.items():
        lines += ["", f"## {kind}", "", _told(model), ""]
        if used := studies.get(kind):
            lines += [f"Studies: {', '.join(code(name) for name in used)}.", ""]
        lines.append(_keys(model, definitions[f"workload_{kind}"]["properties"]))
    return "\n".join(lines) + "\n"


def _studies() -> dict[str, list[str]]:
    """The studies that come along, by kind of load."""
    found: dict[str, list[str]] = {}
    for name, path in named_studies().items():
        load = read_document(path).raw["workload"]
        assert isinstance(load, dict)
        found.setdefault(str(load["kind"]), []).append(name)
    return found


def _told(model: type[BaseModel]) -> str:
    return cell((model.__doc__ or "").split("\n\n")[0])


def _keys(model: type[BaseModel], properties: Schema) -> str:
    told = dict(field_docstrings(model))
    rows = []
    for name, field in model.model_fields.items():
        key = field.alias or name
        kind = " ".join(dict.fromkeys(_values(field.annotation, properties.get(key, {}))))
        default = "" if field.default is PydanticUndefined else _default(model, name)
        rows.append((code(key), kind, default, cell(told.get(name, ""))))
    return table(("key", "value", "default", "meaning"), rows)


def _values(annotation: Any, schema: Schema) -> Iterator[str]:
    """What a key may be, in words."""
    for part in _parts(annotation):
        if get_origin(part) is Literal:
            yield ", ".join(code(str(choice)) for choice in get_args(part))
            if int in _parts(annotation):  # a time beside a word
                yield "or a time such as `2ms`"
            return
    patterns = " ".join(str(choice.get("pattern", "")) for choice in (schema, *schema.get("anyOf", [])))
    if {str, int} <= {*_parts(annotation)}:
        yield "number or text"
        return
    for mark, words in WORDS:
        if mark in patterns:
            yield words
            return
    kinds = {
        "integer": "whole number",
        "number": "number",
        "string": "text",
        "boolean": "true or false",
        "array": "list",
    }
    for choice in (*schema.get("anyOf", []), schema):
        if kind := kinds.get(str(choice.get("type"))):
            limits = [
                f"{word} {choice[key]}"
                for word, key in (
                    ("from", "minimum"),
                    ("above", "exclusiveMinimum"),
                    ("to", "maximum"),
                    ("below", "exclusiveMaximum"),
                )
                if key in choice
            ]
            yield " ".join([kind, *limits])
            return


def _parts(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) in (Union, UnionType):
        for part in get_args(annotation):
            yield from _parts(part)
    elif get_origin(annotation) is Annotated:
        yield from _parts(get_args(annotation)[0])
    else:
        yield annotation


def _default(model: type[BaseModel], name: str) -> str:
    """The default as a study file would write it."""
    field = model.model_fields[name]
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "none"
    if isinstance(value, bool):
        return code(str(value).lower())
    written = model.__pydantic_serializer__.to_python(
        model.model_construct(**{name: value}), mode="json", include={name}
    )
    shown = written.get(name, value) if isinstance(written, dict) else value
    if isinstance(shown, list | tuple):
        return code(", ".join(map(str, shown))) or "none"
    return code(TIMES.sub(_time, str(shown))) or "empty"


def _time(found: re.Match[str]) -> str:
    """A time in the largest unit in which it is whole."""
    value = int(found[1])
    unit, size = next((name, size) for name, size in UNITS if value % size == 0)
    return f"{value // size}{unit}" if value else "0"
