"""The files that a configuration names: where they are, and what is in them.

A worker may run in another folder, so a configuration that travels has whole paths.  A key must
not depend on where a file is, only on what it holds, so there a path gives way to a digest.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import entry_points
from pathlib import Path

from coalsim.plugins import names_code, names_file
from coalsim.study.replay_load import ReplayLoad
from coalsim.study.spec import CLASS_KEYS
from coalsim.topology.presets import preset_names

_GROUPS = {
    "kernel.lock": "coalsim.locks",
    "kernel.placement": "coalsim.placements",
    "kernel.shootdown": "coalsim.shootdowns",
    "kernel.allocator": "coalsim.allocators",
    "kernel.victim": "coalsim.victims",
    "workload.kind": "coalsim.loads",
}
"""Of entry points, by the key that names one."""
_DATA_KEYS = ("machine.name", *(f"workload.{key}" for key in ReplayLoad.paths))


def with_whole_paths(config: Mapping[str, object]) -> dict[str, object]:
    """A resolved configuration that asks the same from whichever folder it is run."""
    return _with_files(config, lambda path, rest: f"{path.resolve()}{rest}")


def with_digests(config: Mapping[str, object]) -> dict[str, object]:
    """A resolved configuration with what its files hold in place of where they are."""
    return _with_files(config, lambda path, rest: f"sha256:{file_digest(path)}{rest}")


def names_own_code(config: Mapping[str, object]) -> bool:
    """Whether a configuration names a class by file, module or entry point."""
    return any(_own_code(config))


def with_own_code(config: Mapping[str, object]) -> str:
    """The classes of a configuration that are not coalsim's, for words about its run; may be empty."""
    told = ", ".join(f"{key} = {name}" for key, name in _own_code(config))
    return f", with {told}" if told else ""


def _own_code(config: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for key in CLASS_KEYS:
        name = _value(config, key)
        if isinstance(name, str) and (names_code(name) or name in _installed(_GROUPS[key])):
            yield key, name


@lru_cache
def _installed(group: str) -> frozenset[str]:
    return frozenset(entry_points(group=group).names)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, or of all files of a folder with their names."""
    status = path.stat()
    if path.is_dir():
        return _folder_digest(path)
    return _digest(path, status.st_size, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=256)  # the points of a study name the same few files; a changed file is another entry
def _digest(path: Path, size: int, changed: int, inode: int) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _folder_digest(folder: Path) -> str:
    digest = sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{file_digest(path)}\0".encode())
    return digest.hexdigest()


def _with_files(config: Mapping[str, object], write: Callable[[Path, str], str]) -> dict[str, object]:
    changed = {key: dict(table) if isinstance(table, dict) else table for key, table in config.items()}
    for key, path, rest in _files(config):
        table, _, name = key.partition(".")
        inner = changed[table]
        assert isinstance(inner, dict), "it was one when the file was found in it"
        inner[name] = write(path, rest)
    return changed


def _files(config: Mapping[str, object]) -> Iterator[tuple[str, Path, str]]:
    """Key, path, and what stands behind the path, of every file that is there."""
    for key in _DATA_KEYS:
        name = _value(config, key)
        if isinstance(name, str) and name and not (key == "machine.name" and name in preset_names()):
            path = Path(name)
            if _exists(path):
                yield key, path, ""
    for key in CLASS_KEYS:
        name = _value(config, key)
        if isinstance(name, str) and names_file(name):
            file, colon, rest = name.rpartition(":")
            if _exists(path := Path(file)):
                yield key, path, colon + rest


def _value(config: Mapping[str, object], key: str) -> object:
    table, _, name = key.partition(".")
    inner = config.get(table)
    return inner.get(name) if isinstance(inner, dict) else None


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a synthetic machine can be too long for a file name
        return False
