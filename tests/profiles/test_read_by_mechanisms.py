"""A switch or a cost that nothing reads would promise a difference that there is not."""

import ast
from importlib.resources import files
from pathlib import Path

import pytest

import coalsim
from coalsim.profiles.profile import cost_names, switch_names


def attributes_read() -> set[str]:
    """Every attribute that some module outside the profiles reads, and what sums of costs read."""
    root = Path(str(files(coalsim)))
    found: set[str] = set()
    for path in sorted(root.rglob("*.py")):
        inside = path.is_relative_to(root / "profiles")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                by_self = isinstance(node.value, ast.Name) and node.value.id == "self"
                if not inside or (path.name == "costs.py" and by_self):
                    found.add(node.attr)
    return found


READ = attributes_read()
THROUGH_A_SUM = {"hz": "tick_period", "kmalloc_classes": "kmalloc_sizes"}
"""Switches that are read through a property of theirs."""

AWAITED = {
    "thp": "its only value is never: there are no huge pages yet, so nothing asks",
}
"""What has to wait for its mechanism, and why."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=pytest.mark.xfail(reason=AWAITED[name], strict=True) if name in AWAITED else ()
        )
        for name in (*switch_names(), *cost_names())
    ],
)
def test_a_mechanism_reads_it(name: str) -> None:
    """Each switch and each cost by itself, so that the one that is dead has its name in the report."""
    assert name in READ or THROUGH_A_SUM.get(name) in READ
