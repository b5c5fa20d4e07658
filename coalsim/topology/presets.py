"""Machines by name: presets, and whatever else can stand behind `--machine`.

One word may be a preset (``clx2``), a machine file (``mine.toml``), an hwloc
synthetic string (``"pack:2 core:4 pu:2"``), or a description of a real machine: lstopo
XML, `numactl -H` text, a copy of /sys as a directory or tar.  Files are told apart
by what is in them, machine files by their suffix.
"""

import re
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from coalsim.errors import ConfigError, Problem
from coalsim.guarded import DEFAULT_MAX_INPUT, clean, guarded_blocks, refusal
from coalsim.topology.machine import Machine

PRESETS = Path(__file__).with_name("machines")
_KINDS = "give lstopo XML, numactl -H text, a copy of /sys (directory or tar), or a machine file (.toml)"
_USTAR = slice(257, 262)  # where a tar header says so
_NUMACTL = re.compile(rb"^(?:available:\s+\d+ node|node\s+\d+ (?:cpus|size):)", re.MULTILINE)


@cache
def preset_names() -> tuple[str, ...]:
    """The machines that come with coalsim, in alphabetical order."""
    return tuple(sorted(file.stem for file in PRESETS.glob("*.toml")))


def load_preset(name: str) -> Machine:
    """A machine that comes with coalsim.

    Raises:
        ConfigError: there is none of that name; says which are near.
    """
    from coalsim.topology.machine_file import read_machine_file

    if name in preset_names():
        return read_machine_file(PRESETS / f"{name}.toml")
    near = get_close_matches(name, preset_names(), n=3)
    remedy = f"did you mean {', '.join(near)}?" if near else f"the presets are {', '.join(preset_names())}"
    message = "no machine of that name, and no such file"
    raise ConfigError([Problem(key="machine", value=clean(name)[:200], message=message, remedy=remedy)])


def load_machine(what: str, max_input: int = DEFAULT_MAX_INPUT) -> Machine:
    """The machine behind a name, a path, or a synthetic string.

    Raises:
        ConfigError: nothing of the kind, or a machine that cannot be.
    """
    from coalsim.topology.synthetic import is_synthetic, machine_from_synthetic

    if what in preset_names():
        return load_preset(what)
    if is_synthetic(what) and not _exists(what):
        return machine_from_synthetic(what)
    if _exists(what) or "/" in what or what.endswith((".toml", ".xml", ".txt", ".tar", ".gz")):
        return import_machine(Path(what), max_input)
    return load_preset(what)


def import_machine(path: Path, max_input: int = DEFAULT_MAX_INPUT) -> Machine:
    """The machine that a file or a directory describes, whichever format it has.

    Raises:
        InputError: missing, damaged, of no known kind, or a machine that cannot be.
    """
    from coalsim.topology.hwloc import machine_from_hwloc
    from coalsim.topology.machine_file import read_machine_file
    from coalsim.topology.numactl import machine_from_numactl
    from coalsim.topology.sysfs import machine_from_sysfs

    if path.is_dir():
        return machine_from_sysfs(path, max_input)
    beginning = next(guarded_blocks(path, max_input=max_input), b"")
    if path.suffix == ".toml":
        return read_machine_file(path, max_input)
    if beginning[_USTAR] == b"ustar":
        return machine_from_sysfs(path, max_input)
    if beginning.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        return machine_from_hwloc(path, max_input)
    if not _NUMACTL.search(beginning):
        raise refusal(path, "describes no machine in any way that is known", _KINDS)
    return machine_from_numactl(path, max_input)


def _exists(what: str) -> bool:
    try:
        return Path(what).exists()
    except (OSError, ValueError):  # too long, or a NUL in it
        return False
