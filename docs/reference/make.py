"""Write the reference pages from the code: nothing in them is typed.

    python docs/reference/make.py            write the pages beside this file
    python docs/reference/make.py --check    say which of them are not what the code says; exit code 1 if any

A page is a function of the models, switches, costs, machines, commands and result types alone, so
the same code gives the same bytes.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from commands import commands_page  # noqa: E402
from markdown import cell, table  # noqa: E402
from metrics import metrics_page  # noqa: E402
from sections import loads_page, study_file_page  # noqa: E402

from coalsim.profiles.costs import KernelCosts  # noqa: E402
from coalsim.profiles.profile import cost_names, load_profile, profile_names  # noqa: E402
from coalsim.profiles.switches import Switches  # noqa: E402
from coalsim.provenance import Sourced  # noqa: E402
from coalsim.sweep.json_schema import field_docstrings, study_schema  # noqa: E402
from coalsim.topology.machine import Machine  # noqa: E402
from coalsim.topology.presets import load_preset, preset_names  # noqa: E402


def switches_page() -> str:
    """Every switch, with its choices, its meaning, and its value in each profile."""
    told = dict(field_docstrings(Switches))
    profiles = [load_profile(name) for name in profile_names()]
    values = {profile.name: profile.switches_as_text() for profile in profiles}
    schema = _kernel_properties()
    lines = [
        "# Kernel switches",
        "",
        "`[kernel]` of a study, `--set kernel.NAME=VALUE`: in which kernels differ, apart from costs. A",
        "profile sets all of them; a study changes what it names.",
        "",
        table(
            ("profile", "what it is"), [(f"`{profile.name}`", cell(profile.title)) for profile in profiles]
        ),
    ]
    for name, meaning in (
        (name, told.get(name, "")) for name in values[profiles[0].name] | _left_out(values)
    ):
        by_value: dict[str, list[str]] = {}
        for profile in profiles:
            by_value.setdefault(values[profile.name].get(name, ""), []).append(profile.name)
        lines += ["", f"## {name}", "", cell(meaning) or "(see its section)", ""]
        if choices := _choices(schema.get(name)):
            lines += [f"One of {', '.join(f'`{choice}`' for choice in choices)}.", ""]
        lines.append(
            table(
                ("value", "profiles"),
                [
                    (f"`{value}`" if value else "(empty)", ", ".join(names))
                    for value, names in by_value.items()
                ],
            )
        )
    return "\n".join(lines) + "\n"


def _left_out(values: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Switches that no profile sets: those that name a class of the user's own."""
    known = [name for name, _ in field_docstrings(Switches)]
    return {name: "" for name in known if not any(name in of for of in values.values())}


def _kernel_properties() -> Mapping[str, object]:
    kernel = study_schema()["properties"]
    assert isinstance(kernel, dict)
    properties = kernel["kernel"]["properties"]
    assert isinstance(properties, dict)
    return properties


def _choices(schema: object) -> Sequence[str]:
    if not isinstance(schema, dict):
        return ()
    choices = schema.get("enum")
    return [str(choice) for choice in choices] if isinstance(choices, list) else ()


def costs_page() -> str:
    """Every cost of every profile with value, unit, status and source."""
    told = dict(field_docstrings(KernelCosts))
    first, *others = [load_profile(name) for name in profile_names()]
    common = dict(first.costs_table)
    lines = [
        "# Kernel costs",
        "",
        "`[kernel.cost]` of a study, `--set kernel.cost.NAME=12ns`: what the steps of the kernel's paths",
        "cost beside moving cache lines and waiting. Cycles are cycles of the machine's clock.",
        "**measured** was read in the source, **derived** follows from such numbers by the arithmetic",
        "that is given, **assumed** is nobody's measurement; [calibration](../calibration.md) has the",
        "derivations.",
        "",
        f"## Costs of `{first.name}`",
        "",
        _sourced_table(((name, common[name], told.get(name, "")) for name in cost_names()), "cost"),
    ]
    for profile in others:
        differs = [
            (name, profile.costs_table[name], told.get(name, ""))
            for name in cost_names()
            if profile.costs_table[name] != common[name]
        ]
        lines += ["", f"## Costs of `{profile.name}`", ""]
        lines.append(
            _sourced_table(iter(differs), "cost") if differs else f"The same as those of `{first.name}`."
        )
        if differs:
            lines += ["", f"All others as `{first.name}`."]
    return "\n".join(lines) + "\n"


def _sourced_table(rows: Iterator[tuple[str, Sourced, str]], what: str) -> str:
    """A table of numbers with their status; the sources are numbered below it."""
    numbers: dict[str, int] = {}
    cells = []
    has_meaning = False
    for name, entry, meaning in rows:
        number = numbers.setdefault(entry.source, len(numbers) + 1)
        has_meaning = has_meaning or bool(meaning)
        cells.append((f"`{name}`", f"{entry.value} {entry.unit}", entry.status, str(number), cell(meaning)))
    head = (what, "value", "status", "source", "what it is")
    width = len(head) if has_meaning else len(head) - 1
    sources = [f"{number}. {cell(source)}" for source, number in numbers.items()]
    return "\n".join([table(head[:width], [row[:width] for row in cells]), "", "Sources:", "", *sources])


def machines_page() -> str:
    """Every preset with all parameters and their sources."""
    machines = [load_preset(name) for name in preset_names()]
    lines = [
        "# Machines",
        "",
        "The presets, with every number, its status and its source. `coalsim machines show NAME` prints",
        "one of them, with a drawing; [machines](../machines.md) says how to import or write one. `--set",
        "machine.KEY=VALUE` replaces a number.",
        "",
        table(
            ("machine", "sockets", "cores", "CPUs", "nodes", "what it is"),
            [
                (
                    f"[`{machine.name}`](#{machine.name})",
                    str(machine.num_sockets),
                    str(machine.num_cores),
                    str(machine.num_cpus),
                    str(machine.num_nodes),
                    cell(machine.title),
                )
                for machine in machines
            ],
        ),
    ]
    for machine in machines:
        lines += ["", f"## {machine.name}", "", f"{cell(machine.title)}.", "", _machine_table(machine)]
    return "\n".join(lines) + "\n"


def _machine_table(machine: Machine) -> str:
    """The parameters of a machine; entries that repeat for each node stand once."""
    return _sourced_table(((key, entry, "") for key, entry in machine.parameters()), "key")


PAGES: Mapping[str, Callable[[], str]] = {
    "study_file": study_file_page,
    "loads": loads_page,
    "switches": switches_page,
    "costs": costs_page,
    "machines": machines_page,
    "commands": commands_page,
    "metrics": metrics_page,
}
"""Every page of the reference, by the name of its file."""


def stale() -> list[str]:
    """Pages that are not what the code says."""
    return [
        name
        for name, page in PAGES.items()
        if not (file := HERE / f"{name}.md").exists() or file.read_text(encoding="utf-8") != page()
    ]


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        if names := stale():
            print(f"run {Path(__file__).name}; not what the code says: {', '.join(names)}")
            sys.exit(1)
    else:
        for page_name, page_text in PAGES.items():
            (HERE / f"{page_name}.md").write_text(page_text(), encoding="utf-8")
