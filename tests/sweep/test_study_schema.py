"""The JSON Schema for editors: up to date, true of every study that comes along, and of use."""

import json
import tomllib
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import coalsim
from coalsim.study.document import named_studies
from coalsim.sweep.json_schema import schema_text
from coalsim.sweep.new_study import new_study_text

FILE = Path(coalsim.__file__).parent / "data" / "study.schema.json"
VALIDATOR = Draft202012Validator(json.loads(FILE.read_text(encoding="utf-8")))


def test_the_shipped_schema_is_the_one_that_the_models_make() -> None:
    """If not: python -m coalsim.sweep.json_schema > coalsim/data/study.schema.json."""
    assert FILE.read_text(encoding="utf-8") == schema_text()
    Draft202012Validator.check_schema(json.loads(schema_text()))


def test_every_study_that_comes_along_fits_the_schema() -> None:
    """And so does a new one."""
    texts = {name: path.read_text(encoding="utf-8") for name, path in named_studies().items()}
    for name, text in {**texts, "new": new_study_text("new")}.items():
        faults = [error.message for error in VALIDATOR.iter_errors(tomllib.loads(text))]
        assert not faults, f"{name}: {faults}"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("titel = 1", []),
        ("[kernel]\npcp_bach = 1", ["kernel"]),
        ('[kernel]\nslab = "slob"', ["kernel", "slab"]),
        ("[kernel.cost]\npcp_pop = 12", ["kernel", "cost", "pcp_pop"]),
        ('[workload]\nkind = "lock_lop"', ["workload", "kind"]),
        ('[workload]\nkind = "lock_loop"\nthink = "4us"', ["workload", "think"]),
        ('[workload]\nkind = "lock_loop"\npages = 4', ["workload"]),
        ('[run]\nduration = "2"', ["run", "duration"]),
        ("[run]\nreplications = 0", ["run", "replications"]),
        ("[[axis]]\nvalues = [1]", ["axis", 0]),
        ('[show]\nlog = ["z"]', ["show", "log"]),
        ("[stop]\nrelative = 2", ["stop", "relative"]),
    ],
)
def test_a_mistake_is_underlined_where_it_is(text: str, path: list[object]) -> None:
    """What an editor needs to know."""
    (error,) = VALIDATOR.iter_errors(tomllib.loads(text))
    assert [*error.absolute_path] == path


def test_keys_are_explained() -> None:
    """The docstrings of the models come along."""
    schema = json.loads(FILE.read_text(encoding="utf-8"))
    assert "pilot" in schema["properties"]["run"]["properties"]["warmup"]["description"]
    assert "/" not in schema["$defs"]["workload_lock_loop"]["properties"]["hold"]["description"]
    assert schema["properties"]["kernel"]["properties"]["hz"]["description"].startswith("Timer interrupts")
