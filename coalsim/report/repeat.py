"""How to repeat a study: a study file made of what the results say was asked, and the commands.

Invariant: opened by the coalsim that made the results, the file has the same points with the same keys,
so that running it in the folder of the results finds nothing to do.
"""

import json
from dataclasses import asdict

from coalsim.sweep.points import Axis
from coalsim.sweep.results import StudyResults


def study_text(results: StudyResults) -> str:
    """The study as a JSON study file, every default written out."""
    config: dict[str, object] = dict(results.config)
    if results.axes:
        config["axis"] = [_axis(axis) for axis in results.axes]
        config["show"] = {key: value for key, value in asdict(results.show).items() if value or key == "log"}
    if results.stop is not None:
        config["stop"] = asdict(results.stop)
    return json.dumps(config, indent=1, ensure_ascii=False) + "\n"


def _axis(axis: Axis) -> dict[str, object]:
    written: dict[str, object] = {"label": axis.label}
    if axis.scale != "none":
        written["scale"] = axis.scale
    if len(axis.keys) == 1:
        return {"key": axis.keys[0], "values": [row[0] for row in axis.values], **written}
    return {"keys": [*axis.keys], "values": [[*row] for row in axis.values], **written}


def file_stem(name: str) -> str:
    """A study's name as the name of a file that every system takes."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in name)[:60] or "study"


def command_lines(results: StudyResults) -> tuple[str, ...]:
    """The commands that repeat a study and make its report, to be typed as they are."""
    stem = file_stem(results.name)
    trust = " --trust" if _names_files(results) else ""
    return (
        f"coalsim run {stem}.json{trust} --out {stem}",
        f"coalsim report {stem} --out {stem}.html",
    )


def _names_files(results: StudyResults) -> bool:
    """Whether some class is the user's own, which a study file may name but with --trust."""
    from coalsim.plugins import names_code
    from coalsim.study.spec import CLASS_KEYS

    for point in results.points:
        for key in CLASS_KEYS:
            table, _, name = key.partition(".")
            section = point.config.get(table)
            value = section.get(name) if isinstance(section, dict) else None
            if isinstance(value, str) and names_code(value):
                return True
    return False
