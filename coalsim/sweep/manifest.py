"""Manifest: study.json, which says what a sweep's folder is about.

It holds all of the results but the runs: the words of the study, its axes and points, what to
show, when to stop, and the configuration of each point as what it changes in the study's own.

Invariant: the text of a manifest depends on the study alone.  Its digest, which is made of the keys
of its points, tells whether two folders, or a folder and a shard, belong together.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from coalsim.errors import InputError, Problem
from coalsim.guarded import clean, read_guarded, refusal
from coalsim.sweep.agenda import Demand
from coalsim.sweep.filesystem import canonical_json, write_atomically
from coalsim.sweep.points import Axis, Point, Show, Stop
from coalsim.units import MIB

if TYPE_CHECKING:
    from coalsim.sweep.sweep_spec import SweepSpec

FILE = "study.json"
FORMAT = 1
MAX_MANIFEST = 256 * MIB
MOST_PROBLEMS = 20
_REMEDY = "give the folder that coalsim run --out wrote, or run the study again"


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a point has that is not so in the study's own configuration.

    Args:
        put: tables with the keys that differ.
        removed: paths of keys that the point does not have.
    """

    put: dict[str, object]
    removed: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a sweep's folder is about; `changes` has one entry for each point."""

    coalsim_sweep: int
    name: str
    title: str
    question: str
    expectation: str
    reading: str
    axes: tuple[Axis, ...]
    show: Show
    stop: Stop | None
    replications: int
    seed: int
    points: tuple[Point, ...]
    changes: tuple[Change, ...]
    config: dict[str, object]
    versions: dict[str, str]

    @property
    def demand(self) -> Demand:
        """How many runs each point has."""
        return Demand(replications=self.replications, seed=self.seed, stop=self.stop)

    @property
    def digest(self) -> str:
        """What tells its runs from those of every other; words and the places of files do not count."""
        keys = [point.key for point in self.points]
        stop = None if self.stop is None else asdict(self.stop)
        told = (self.coalsim_sweep, self.name, keys, self.replications, self.seed, stop)
        return sha256(canonical_json(told).encode()).hexdigest()

    def config_of(self, number: int) -> dict[str, object]:
        """The resolved configuration of a point."""
        return changed(self.config, self.changes[number])

    def write(self, folder: Path) -> None:
        """Write study.json.

        Raises:
            InputError: it cannot be written.
        """
        text = json.dumps(asdict(self), sort_keys=True, indent=1, allow_nan=False)
        write_atomically(folder / FILE, text + "\n")


def manifest_of(spec: "SweepSpec") -> Manifest:
    """The manifest of a study that was opened."""
    from coalsim.sweep.keys import versions

    base = plain(spec.base.resolved())
    words = base.get("study", {})
    assert isinstance(words, dict), "[study] of a resolved configuration is a table"
    configs = [{**plain(spec.task_config(point)), "study": words} for point in spec.points]
    return Manifest(
        coalsim_sweep=FORMAT,
        name=spec.base.name,
        title=spec.base.title,
        question=spec.base.question,
        expectation=str(words.get("expectation", "")),
        reading=str(words.get("reading", "")),
        axes=spec.axes,
        show=spec.show,
        stop=spec.stop,
        replications=spec.replications,
        seed=spec.seed,
        points=spec.points,
        changes=tuple(difference(base, config) for config in configs),
        config=base,
        versions=dict(versions()),
    )


def read_manifest(folder: Path) -> Manifest:
    """The manifest in a folder.

    Raises:
        InputError: there is none, or it is damaged or of a newer coalsim.
    """
    from pydantic import TypeAdapter, ValidationError

    file = folder / FILE
    content = read_guarded(file, max_input=MAX_MANIFEST)
    try:
        raw = json.loads(content)
    except (ValueError, RecursionError) as damage:
        line = getattr(damage, "lineno", 0)
        raise refusal(file, "not JSON", _REMEDY, line=line) from None
    if not isinstance(raw, dict) or "coalsim_sweep" not in raw:
        raise refusal(file, "not the manifest of a study", _REMEDY)
    if isinstance(raw["coalsim_sweep"], int) and raw["coalsim_sweep"] > FORMAT:
        raise refusal(file, "written by a newer coalsim", "use that coalsim, or run the study again")
    try:
        manifest = TypeAdapter(Manifest).validate_python(raw)
    except ValidationError as error:
        raise InputError(
            [_problem(file, detail["loc"], detail["msg"]) for detail in error.errors()[:MOST_PROBLEMS]]
        ) from None
    faults = [*_faults(manifest)]
    if faults:
        raise InputError([_problem(file, (), fault) for fault in faults])
    return manifest


def _faults(manifest: Manifest) -> Sequence[str]:
    """What cannot be in a manifest, though each part has the right type."""
    found = []
    if len(manifest.changes) != len(manifest.points):
        found.append(f"{len(manifest.points)} points, but {len(manifest.changes)} configurations")
    if [point.number for point in manifest.points] != [*range(len(manifest.points))]:
        found.append("the points are not numbered from 0")
    keys = [key for axis in manifest.axes for key in axis.keys]
    if any([key for key, _ in point.settings] != keys for point in manifest.points):
        found.append("the settings of the points are not those of the axes")
    if manifest.stop is not None and not 2 <= manifest.stop.least <= manifest.stop.most:
        found.append("a stopping rule that cannot be")
    return found


def _problem(file: Path, path: Sequence[int | str], message: str) -> Problem:
    where, key = clean(str(file)), clean(".".join(map(str, path)))
    return Problem(where=where, key=key, message=clean(message[:1].lower() + message[1:]), remedy=_REMEDY)


def plain(value: Mapping[str, object]) -> dict[str, object]:
    """A configuration as it is once it was written as JSON and read again."""
    read = json.loads(json.dumps(value))
    assert isinstance(read, dict)
    return read


def difference(base: Mapping[str, object], other: Mapping[str, object]) -> Change:
    """What to change in one configuration to get another."""
    put: dict[str, object] = {}
    removed = [(key,) for key in base if key not in other]
    for key, value in other.items():
        old = base.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            inner = difference(old, value)
            if inner.put:
                put[key] = inner.put
            removed += [(key, *path) for path in inner.removed]  # type: ignore[misc]
        elif key not in base or old != value:
            put[key] = value
    return Change(put=put, removed=tuple(removed))


def changed(base: Mapping[str, object], change: Change) -> dict[str, object]:
    """A configuration with a change made."""
    gone = {path[0] for path in change.removed if len(path) == 1}
    made: dict[str, object] = {}
    for key in dict.fromkeys([*base, *change.put]):
        if key in gone:
            continue
        old, new = base.get(key), change.put.get(key)
        inner = tuple(path[1:] for path in change.removed if path[0] == key and len(path) > 1)
        if isinstance(old, dict) and (isinstance(new, dict) or key not in change.put):
            made[key] = changed(old, Change(put=new if isinstance(new, dict) else {}, removed=inner))
        else:
            made[key] = change.put.get(key, old)
    return made
