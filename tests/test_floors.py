"""Imports point down.

Every module stands on a floor.  It may import its own part and lower floors,
never a higher one and never a sibling part on its own floor.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "coalsim"

# Part: its floor.  A part is a module or a package; the longest name that fits a module counts.
FLOORS: dict[str, float] = {
    "coalsim.units": 0,
    "coalsim.stats": 1.05,
    "coalsim.errors": 1,
    "coalsim.provenance": 1.1,
    "coalsim.plugins": 1.1,
    "coalsim.guarded": 1.1,
    "coalsim.engine": 2,
    "coalsim.topology": 2,
    "coalsim.profiles": 2,
    "coalsim.cpus": 3,
    "coalsim.locks": 4,
    "coalsim.mm": 5.9,
    "coalsim.mm.stats": 5.8,
    "coalsim.mm.phys": 5.1,
    "coalsim.mm.kmem": 5.2,
    "coalsim.mm.paging": 5.3,
    "coalsim.mm.shootdown": 5.4,
    "coalsim.mm.virt": 5.5,
    "coalsim.mm.reclaim": 5.6,
    "coalsim.mm.debug": 5.25,
    "coalsim.mm.cache": 5.45,
    "coalsim.boot_pressure": 6.05,
    "coalsim.injection": 6.04,
    "coalsim.workloads": 6,
    "coalsim.observe": 6,
    "coalsim.boot_vm": 6.05,
    "coalsim.boot_injection": 6.05,
    "coalsim.boot_reach": 6.06,
    "coalsim.boot_stuck": 6.05,
    "coalsim.boot_room": 6.05,
    "coalsim.boot_leak_scan": 6.05,
    "coalsim.boot": 6.1,
    "coalsim.study": 7,
    "coalsim.sweep": 7.1,
    "coalsim.analysis": 7.2,
    "coalsim.kits": 7.25,
    "coalsim.report": 7.3,
    "coalsim.api": 7.5,
    "coalsim.cli": 8,
    "coalsim.__main__": 8.1,
}
FACES = {"coalsim"}
"""Package fronts that gather names for users: they may import anything, and only users import them."""


def part_of(module: str) -> str:
    """The part that a module belongs to; empty if the table does not know it."""
    while module and module not in FLOORS:
        module = module.rpartition(".")[0]
    return module


def imports_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of everything a module imports, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            # `from coalsim.mm import kmem` names the part kmem, `from coalsim.mm import Zone` the part mm.
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                is_part = part_of(full) == full or node.module in FACES
                yield node.lineno, full if is_part else node.module or ""


def upward_imports(module: str, source: str, place: str) -> Iterator[str]:
    """What is wrong with a module's imports, one sentence each, with file and line."""
    own = part_of(module)
    if not own:
        yield f"{place}:1: {module} has no floor; add its part to FLOORS in tests/test_floors.py"
        return
    for line, target in imports_of(ast.parse(source)):
        if target.partition(".")[0] != "coalsim" or target == "coalsim.__version__":
            continue
        other = part_of(target)
        if target in FACES:
            yield f"{place}:{line}: imports the package front {target}; import the module that is meant"
        elif not other:
            yield f"{place}:{line}: {target} has no floor"
        elif other != own and FLOORS[other] >= FLOORS[own]:
            relation = "a sibling of" if FLOORS[other] == FLOORS[own] else "above"
            yield f"{place}:{line}: imports {target}, which is {relation} {own}"


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the package by its dotted name."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def test_imports_point_down() -> None:
    """No module imports a higher floor or a sibling part on its own."""
    faults = [
        fault
        for module, path in modules()
        if module not in FACES
        for fault in upward_imports(module, path.read_text("utf-8"), str(path.relative_to(PACKAGE.parent)))
    ]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("module", "source", "says"),
    [
        (
            "coalsim.engine.clock",
            "from coalsim.locks.mcs import McsLock",
            "coalsim.locks.mcs, which is above",
        ),
        ("coalsim.engine.clock", "import coalsim.boot", "coalsim.boot, which is above"),
        ("coalsim.profiles.costs", "from coalsim.topology.machine import Machine", "a sibling of"),
        ("coalsim.workloads.base", "from coalsim.observe import counters", "a sibling of"),
        ("coalsim.mm.phys.zone", "from coalsim.mm import kmem", "coalsim.mm.kmem, which is above"),
        ("coalsim.mm.phys.zone", "def f():\n    from coalsim.mm.manager import Manager", ":2: imports"),
        ("coalsim.locks.mcs", "from coalsim import boot", "coalsim.boot, which is above"),
        ("coalsim.locks.mcs", "import coalsim", "package front"),
        ("coalsim.surprise", "", "has no floor"),
    ],
)
def test_a_planted_upward_import_is_found(module: str, source: str, says: str) -> None:
    """The guard detects each kind of mistake and names file and line."""
    (fault,) = upward_imports(module, source, "planted.py")
    assert fault.startswith("planted.py:")
    assert says in fault


def test_downward_and_own_imports_are_left_alone() -> None:
    """Lower floors, the own part and other packages may be imported."""
    source = (
        "import simpy\nfrom coalsim import __version__\n"
        "from coalsim.units import Time\nfrom coalsim.mm.kmem.slab import Slab\n"
    )
    assert not list(upward_imports("coalsim.mm.kmem.cache", source, "planted.py"))
