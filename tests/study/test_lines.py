"""The scanner finds the line of every key that the parser finds."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coalsim.study.lines import key_lines, line_of

DOCUMENT = '''\
# a comment with [brackets] and = signs
title = "a # that is no comment"

[kernel]
lock = 'mcs'  # behind
cost.pcp_pop = "12ns"
text = """
[not.a.table]
key = 1
"""
"quoted key" = 1
plain = {a = 1, "b.c" = [1,
  {deep = 2}], d.e = 3}

[[axes]]
key = "workload.cpus"
values = [ # in several lines
  1,
  2,
]
[[axes]]
key = "kernel.lock"
[axes.more]
x = 1979-05-27 07:32:00
[run]
"\\u0073eed" = 1
'''


def paths(value: object, prefix: str = "") -> list[str]:
    """Every key path of a parsed document, with list positions as numbers."""
    items: list[tuple[str, object]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = [(str(position), item) for position, item in enumerate(value)]
    found = []
    for key, item in items:
        path = f"{prefix}.{key}" if prefix else key
        found += [path, *paths(item, path)]
    return found


def test_every_key_path_has_its_line() -> None:
    """Tables, dotted and quoted keys, inline tables, lists and multi-line texts are followed."""
    lines = key_lines(DOCUMENT)
    assert sorted(lines) == sorted(paths(tomllib.loads(DOCUMENT)))
    text = DOCUMENT.splitlines()
    for path, starts in {
        "kernel": "[kernel]",
        "kernel.cost": "cost.pcp_pop",
        "kernel.cost.pcp_pop": "cost.pcp_pop",
        "kernel.quoted key": '"quoted key"',
        "kernel.plain.a": "plain =",
        "kernel.plain.b.c.1.deep": "  {deep",
        "kernel.plain.d.e": "  {deep",
        "axes.0.values.1": "  2,",
        "axes.1.key": 'key = "kernel.lock"',
        "axes.1.more.x": "x = 1979",
        "run.seed": '"\\u0073eed"',
    }.items():
        assert text[lines[path] - 1].startswith(starts), path


def test_line_ends_of_dos_do_not_count_twice() -> None:
    """CR LF is one line end."""
    assert key_lines("a = 1\r\n\r\nb = 2\r\n") == {"a": 1, "b": 3}


def test_an_unknown_path_gets_the_line_of_the_table_around_it() -> None:
    """What is missing is reported where it should stand."""
    lines = key_lines("[run]\nseed = 1\n")
    assert line_of(lines, "run.seed") == 2
    assert line_of(lines, "run.duration") == 1
    assert line_of(lines, "engine.run_ahead") == 0


KEYS = st.text(alphabet="ab-_1", min_size=1, max_size=3)
SCALARS = st.one_of(
    st.integers(-9, 9).map(str),
    st.booleans().map(lambda flag: str(flag).lower()),
    st.sampled_from(
        ['"x"', "'y'", '"a\\"b"', '"""\nm\n"""', "'''\nn'''", '"#"', "'[k]'", "1.5", '""', "''''x'''"]
    ),
)


@given(
    st.dictionaries(
        KEYS,
        st.recursive(
            SCALARS,
            lambda inner: st.one_of(
                st.lists(inner, max_size=3).map(lambda items: "[\n" + " ,\n".join(items) + " # c\n]"),
                st.dictionaries(KEYS, inner, max_size=3).map(
                    lambda table: "{" + ", ".join(f"{k} = {v}" for k, v in table.items()) + "}"
                ),
            ),
            max_leaves=6,
        ),
        max_size=4,
    ),
    st.lists(KEYS, max_size=3, unique=True),
)
def test_any_document_that_parses_is_followed(body: dict[str, str], tables: list[str]) -> None:
    """Whatever tomllib accepts, the scanner gives a line to exactly its key paths."""
    assignments = "".join(f"{key} = {value} # comment\n" for key, value in body.items())
    text = assignments + "".join(f"[t.{table}]\n{assignments}" for table in tables)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert sorted(key_lines(text)) == sorted(paths(document))


@pytest.mark.parametrize("table", ["[a.b]\nx=1\n[a]\ny=2\n"])
def test_a_table_named_after_its_part_is_found_where_it_first_appears(table: str) -> None:
    """`[a.b]` also makes `a`."""
    assert key_lines(table) == {"a": 1, "a.b": 1, "a.b.x": 2, "a.y": 4}
