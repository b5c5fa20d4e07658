"""Topology pictures for a page: the drawing of `topology.draw_svg`, in the colours of the page.

The drawing brings a style sheet of its own, which follows the system's colours; a page has a button for
them, and allows no styles but its own.
"""

import re

from coalsim.topology.draw_svg import machine_svg
from coalsim.topology.machine import Machine

MOST_CPUS = 1024
"""Of a machine that is drawn: beyond that nobody sees the cores, and the page grows."""
_STYLE = re.compile(r"<style>.*?</style>", re.DOTALL)
_PAGE = re.compile(r'<rect [^>]*class="page"/>')


def picture_of(machine: Machine) -> str:
    """An SVG element; empty for a machine that is too large to be seen."""
    if machine.num_cpus > MOST_CPUS:
        return ""
    drawing = _PAGE.sub("", _STYLE.sub("", machine_svg(machine)), count=1)
    return drawing.replace("<svg ", '<svg class="topology" ', 1).strip()
