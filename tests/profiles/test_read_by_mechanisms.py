"""A switch or a cost that nothing reads would promise a difference that there is not."""

import ast
from dataclasses import fields
from importlib.resources import files
from pathlib import Path

import pytest

import coalsim
from coalsim.profiles.profile import cost_names, switch_names
from coalsim.profiles.vm_costs import VmCosts
from coalsim.profiles.vm_switches import VmSwitches


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

AWAITED = {field.name for part in (VmSwitches, VmCosts) for field in fields(part)} - READ
"""Virtual memory is being built on these; empty this when it is there."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.xfail(reason="not built yet") if name in AWAITED else ())
        for name in (*switch_names(), *cost_names())
    ],
)
def test_a_mechanism_reads_it(name: str) -> None:
    """Each switch and each cost by itself, so that the one that is dead has its name in the report."""
    assert name in READ or THROUGH_A_SUM.get(name) in READ
