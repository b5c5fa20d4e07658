"""Drawings: every machine fits its page, and texts from files are harmless."""

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from coalsim.topology.draw import WIDTH, machine_text, provenance_text
from coalsim.topology.draw_svg import machine_svg
from coalsim.topology.presets import load_machine, preset_names
from coalsim.topology.ranges import ranges

MACHINES = [*preset_names(), "pack:16 numa:1 l3:8 core:4 pu:2", "numa:40 pack:1 core:1 pu:1", "pu:1"]
SVG = "{http://www.w3.org/2000/svg}"

COAL = """\
coal: a small NUMA machine: 2 nodes, 4 CPUs
2 sockets, 4 cores, 4 CPUs, 2 memory nodes, 4 GiB, 2.5 GHz

┌─ socket 0 ──────────────┐  ┌─ socket 1 ──────────────┐
│ node 0   2 GiB, 20 GB/s │  │ node 1   2 GiB, 20 GB/s │
│   CPUs     0-1          │  │   CPUs     2-3          │
└─────────────────────────┘  └─────────────────────────┘

Links between all sockets, 10 GB/s each.

Memory latency, ns (rows: from the CPUs of a node, columns: to the memory of a node)
               0      1
        0     80    140
        1    140     80

Between CPUs, ns       hand-over   occupancy   interrupt
  same CPU                   6.4         6.4        1000
  same socket                 50          50        1000
  other socket               130         130        2000

Interrupts by x2apic_cluster: one write reaches up to 16 CPUs

Address translation (coal)
  TLB, 4 KiB pages   L1 64 4-way; L2 1,536 12-way, 8 cycles more
  TLB, 2 MiB pages   L1 32 4-way; in L2 too
  tags               4,096
  walk               8 cycles, and one access per level; 32/4/2 upper entries cached
  table line in      L1 4 cycles, L2 14 cycles, L3 50 cycles
  flush              page 230 cycles, each further 225 cycles
                     tag 150 cycles, all 940 cycles
  without interrupts not in the hardware"""


def test_the_default_machine_is_drawn_like_this() -> None:
    """Character by character."""
    assert "\n".join(machine_text(load_machine("coal"))) == COAL


@pytest.mark.parametrize("name", MACHINES)
def test_text_fits_a_hundred_columns(name: str) -> None:
    """Drawing and provenance, whatever the machine."""
    machine = load_machine(name)
    lines = [*machine_text(machine), *provenance_text(machine)]
    assert max(map(len, lines)) <= WIDTH
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize("name", MACHINES)
def test_an_svg_shows_every_cpu_inside_the_page(name: str) -> None:
    """Well-formed, one strip per CPU, nothing beyond the right or lower edge."""
    machine = load_machine(name)
    root = ElementTree.fromstring(machine_svg(machine))
    strips = [rect for rect in root.iter(f"{SVG}rect") if rect.get("class") == "core"]
    assert len(strips) == machine.num_cpus
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for right, low in _extents(root, 0, 0):
        assert right <= width
        assert low <= height


def _extents(element: ElementTree.Element, x: float, y: float) -> list[tuple[float, float]]:
    """Right and lower edge of every box, translations added up."""
    if move := element.get("transform"):
        dx, dy = move.removeprefix("translate(").removesuffix(")").split()
        x, y = x + float(dx), y + float(dy)
    found = []
    if element.tag == f"{SVG}rect":
        right = x + float(element.attrib["x"]) + float(element.attrib["width"])
        found.append((right, y + float(element.attrib["y"]) + float(element.attrib["height"])))
    for child in element:
        found += _extents(child, x, y)
    return found


def test_texts_mean_themselves() -> None:
    """A title from a file cannot become markup."""
    machine = replace(load_machine("coal"), title='</title><script>alert("x & y")</script>')
    drawing = machine_svg(machine)
    assert "<script" not in drawing
    texts = ElementTree.fromstring(drawing).itertext()
    assert machine.title in texts


def test_drawings_know_dark_pages() -> None:
    """One style sheet for both."""
    assert "prefers-color-scheme: dark" in machine_svg(load_machine("coal"))


def test_ranges_are_short() -> None:
    """Runs become first-last."""
    assert ranges([]) == ""
    assert ranges([3]) == "3"
    assert ranges([0, 1, 2, 4, 6, 7]) == "0-2,4,6-7"
