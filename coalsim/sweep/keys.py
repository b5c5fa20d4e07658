"""Keys: what the results of a point depend on, in one SHA-256.

    the resolved configuration, without the study's words, its seed and how often it is repeated
    what is in every file that it names: machine, trace, snapshots, classes
    the versions of coalsim, numpy and simpy
    the fingerprint of the package: every *.py and *.toml of it but for the studies it brings along

So two studies that have a point in common share its results, and no result of an older program is
ever taken for one of a newer.

Invariant: the key of a point is the same in every process, folder and order of its settings.
"""

import json
import sys
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import as_file, files
from pathlib import Path

from coalsim import __version__
from coalsim.study.planning import Plan
from coalsim.sweep.named_files import file_digest, with_digests

STUDIES = "experiments"
"""The folder of the package whose files are studies: nothing that runs depends on them."""


@cache
def fingerprint() -> str:
    """SHA-256 over the programs and data of the installed package, by name and content."""
    with as_file(files("coalsim")) as package:
        return folder_fingerprint(package)


def folder_fingerprint(package: Path) -> str:
    """The same for a package in a folder."""
    digest = sha256()
    for path in sorted([*package.rglob("*.py"), *package.rglob("*.toml")]):
        name = path.relative_to(package)
        if name.parts[0] != STUDIES:
            digest.update(f"{name.as_posix()}\0".encode())
            digest.update(sha256(path.read_bytes()).digest())
    return digest.hexdigest()


@cache
def versions() -> Mapping[str, str]:
    """The programs on which results depend, by name."""
    return {"coalsim": __version__, "numpy": version("numpy"), "simpy": version("simpy")}


def point_key(config: Mapping[str, object], classes: Mapping[str, str]) -> str:
    """The key of a point.

    Args:
        config: its resolved configuration.
        classes: digests of the classes that others brought along, by key (`foreign_classes`).
    """
    content = {
        "config": _what_matters(with_digests(config)),
        "classes": classes,
        "versions": versions(),
        "fingerprint": fingerprint(),
    }
    return sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _what_matters(config: Mapping[str, object]) -> dict[str, object]:
    kept = {table: keys for table, keys in config.items() if table != "study"}
    dropped = {"run": ("replications", "seed"), "workload": ("max_input",)}
    for table, names in dropped.items():
        keys = kept.get(table)
        if isinstance(keys, dict):
            kept[table] = {key: value for key, value in keys.items() if key not in names}
    return kept


def foreign_classes(plan: Plan) -> dict[str, str]:
    """A digest of the file of every class of a plan that is not coalsim's own.

    Files that such a class imports in its turn are not looked at.
    """
    config = plan.config
    classes = {
        "kernel.lock": config.lock,
        "load_lock": config.load_lock,
        "kernel.placement": config.placement,
        "kernel.shootdown": config.shootdown,
        "kernel.allocator": config.allocator,
        "kernel.victim": config.victim,
        "workload.kind": type(plan.spec.workload),
    }
    digests = {}
    for key, found in classes.items():
        if found is None or found.__module__.startswith("coalsim."):
            continue
        file = getattr(sys.modules.get(found.__module__), "__file__", None)
        digests[key] = f"{found.__qualname__}:{file_digest(Path(file)) if file else ''}"
    return digests
