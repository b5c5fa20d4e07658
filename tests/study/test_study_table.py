"""The table of virtual memory's loads in docs/studies.md: keys, their values and defaults."""

from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from coalsim.study.document import named_studies, read_document
from coalsim.study.parameters import ModeParameters, Parameters, TeamParameters
from coalsim.study.vm_loads import VM_WORKLOADS

DOCS = Path(__file__).parents[2] / "docs" / "studies.md"
SHARED = {*TeamParameters.model_fields, *ModeParameters.model_fields}
"""Keys that many loads have; the sentences around the table tell them."""


def _values(field: FieldInfo) -> str:
    """What a key may be, if that is a choice."""
    annotation: Any = field.annotation
    while get_origin(annotation) in (Union, UnionType):
        annotation = next(part for part in get_args(annotation) if part is not type(None))
    return "\\|".join(get_args(annotation)) if get_origin(annotation) is Literal else ""


def _default(model: type[BaseModel], name: str) -> str:
    """As a study file would write it."""
    value = model().model_dump(mode="json")[name]
    return "none" if value is None else str(value)


def _keys(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        own_default = field.default != (ModeParameters.model_fields.get(name) or field).default
        if name in SHARED and not own_default and issubclass(model, TeamParameters):
            continue
        if name in Parameters.model_fields and not own_default:
            continue
        values = _values(field)
        yield f"`{name}` {f'{values}, ' if values else ''}{_default(model, name)}"


def row(kind: str) -> str:
    """A load's row of the table."""
    model = VM_WORKLOADS[kind]
    studies = [name for name, path in named_studies().items() if _kind(path) == kind]
    extra = " (`mode`, `start`)" if issubclass(model, ModeParameters) else ""
    names = ", ".join(f"`{name}`" for name in studies)
    return f"| `{kind}`{extra} | {names} | {'; '.join(_keys(model)) or 'no others'} |"


def _kind(path: Path) -> object:
    load = read_document(path).raw["workload"]
    assert isinstance(load, dict)
    return load["kind"]


@pytest.mark.parametrize("kind", VM_WORKLOADS)
def test_the_table_tells_every_key_of_a_load(kind: str) -> None:
    """With its values and its default, as the parameter model has them, and the studies that run it."""
    assert row(kind) in DOCS.read_text(encoding="utf-8").splitlines()


def test_the_sentences_tell_the_keys_that_loads_share() -> None:
    """Those that the rows leave out."""
    text = DOCS.read_text(encoding="utf-8")
    for name in SHARED:
        assert f"`{name}` (" in text
