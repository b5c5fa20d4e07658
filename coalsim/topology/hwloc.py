"""lstopo XML, hwloc 2.x and 3.x (``lstopo --of xml``).

The file nests objects by containment.  A NUMANode is a memory child of the object
whose CPUs are local to it, so a PU's node is the first one found going outward::

    Package ─ L3Cache ─┬─ NUMANode          (memory child)
                       └─ Core ─ PU, PU

Clusters are the nearest L3 around a PU, else its die, group, or package.  Nodes that
no PU finds (high-bandwidth memory, expanders) become memory-only nodes.

Refused before anything is built: entity declarations, a document type with an inner
subset, text that is not UTF-8, nesting beyond 64 levels.
hwloc 1.x nested objects the other way round (NUMANode around the caches) and is refused.
Source: hwloc documentation, "Importing and exporting topologies from/to XML files".
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from coalsim.errors import InputError
from coalsim.guarded import DEFAULT_MAX_INPUT, clean, read_guarded, refusal
from coalsim.topology.assembly import Found, FoundNode, assembled
from coalsim.topology.machine import Machine
from coalsim.topology.placing import FoundCpu, Key
from coalsim.units import MIB

MAX_XML = 64 * MIB  # lstopo writes about 1 KiB per CPU
MAX_DEPTH = 64
CLUSTERS = ("L3Cache", "Die", "Group")  # what makes a cluster, the best first
_VERSION = re.compile(r"[23]\.[0-9]+\Z")
_NUMBER = re.compile(r"[0-9]{1,18}\Z")
_INNER_SUBSET = re.compile(r"<!DOCTYPE[^>\[]*\[")
_HOW = "export with lstopo --of xml"


@dataclass(slots=True)
class _Object:
    """One object around the current place in the file."""

    kind: str
    number: int  # in order of appearance: tells objects apart
    nodes: list[int] = field(default_factory=list)  # its memory children, by os_index


@dataclass(slots=True)
class _Distances:
    """The NUMALatency matrix while its text comes in pieces."""

    indexes: list[str] = field(default_factory=list)
    values: list[str] = field(default_factory=list)


class _Tree:
    """Collects PUs and nodes while expat walks the document."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parser = expat.ParserCreate("utf-8")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.EntityDeclHandler = self._entity
        self._around: list[_Object | None] = []  # None: an element that is no object
        self._objects = 0
        self._distances: _Distances | None = None
        self._text: list[str] | None = None
        self.matrix: _Distances | None = None
        self.cpus: list[tuple[int, tuple[_Object, ...]]] = []
        self.nodes: list[tuple[int, int, Key | None]] = []  # os_index, bytes, package

    def parse(self, text: str) -> None:
        try:
            self._parser.Parse(text.encode("utf-8"), True)
        except expat.ExpatError as damage:
            raise refusal(
                self._path, f"not XML: {expat.ErrorString(damage.code)}", _HOW, line=damage.lineno
            ) from None

    def _refuse(self, message: str, remedy: str, value: str = "") -> InputError:
        line = self._parser.CurrentLineNumber
        return refusal(self._path, message, remedy, line=line, value=value)

    def _entity(self, *declaration: object) -> None:
        raise self._refuse("it declares entities", f"{_HOW}; lstopo writes none")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._around:
            self._check_root(name, attributes)
        if len(self._around) >= MAX_DEPTH:
            raise self._refuse(f"nested deeper than {MAX_DEPTH}", _HOW)
        entered = None
        if name == "object":
            entered = self._object(attributes)
        elif name == "distances2" and _is_slit(attributes):
            self._distances = _Distances()
        elif self._distances and name in ("indexes", "u64values"):
            self._text = self._distances.indexes if name == "indexes" else self._distances.values
        self._around.append(entered)

    def _end(self, name: str) -> None:
        self._around.pop()
        if name in ("indexes", "u64values"):
            self._text = None
        elif name == "distances2" and self._distances:
            self.matrix = self.matrix or self._distances
            self._distances = None

    def _characters(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def _check_root(self, name: str, attributes: dict[str, str]) -> None:
        if name != "topology":
            raise self._refuse(f"<{clean(name)}> is not an lstopo topology", _HOW)
        version = attributes.get("version", "1.x")
        if not _VERSION.match(version):
            raise self._refuse(
                f"hwloc format {clean(version)[:20]} is not read", "export with lstopo of hwloc 2 or 3"
            )

    def _object(self, attributes: dict[str, str]) -> _Object:
        kind = attributes.get("type", "")
        self._objects += 1
        here = _Object(kind=kind, number=self._objects)
        if kind == "PU":
            around = tuple(outer for outer in self._around if outer)
            self.cpus.append((self._number(attributes, "os_index"), around))
        elif kind == "NUMANode":
            os_index = self._number(attributes, "os_index")
            for outer in reversed(self._around):
                if outer:
                    outer.nodes.append(os_index)
                    break
            self.nodes.append((os_index, self._number(attributes, "local_memory"), self._package()))
        return here

    def _package(self) -> Key | None:
        return next((outer.number for outer in self._around if outer and outer.kind == "Package"), None)

    def _number(self, attributes: dict[str, str], key: str) -> int:
        value = attributes.get(key, "0" if key == "local_memory" else "")
        if not _NUMBER.match(value):
            raise self._refuse(f"{key} is not a number from 0 up", _HOW, value[:40])
        return int(value)


def machine_from_hwloc(path: Path, max_input: int = DEFAULT_MAX_INPUT) -> Machine:
    """The machine in an lstopo XML file, with assumed costs.

    Raises:
        InputError: not such a file, a dangerous one, or a machine that cannot be.
    """
    content = read_guarded(path, max_input=min(max_input, MAX_XML))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise refusal(path, "not UTF-8 text", _HOW) from None
    if "<!ENTITY" in text or _INNER_SUBSET.search(text):
        raise refusal(
            path, "it declares entities or a document type of its own", f"{_HOW}; lstopo writes none"
        )
    tree = _Tree(path)
    tree.parse(text)
    where = clean(str(path))
    return assembled(
        Found(
            name=path.stem,
            title=f"imported from {path.name}",
            where=where,
            source=f"hwloc XML {clean(path.name)}",
            cpus=list(_cpus(tree)),
            nodes=[FoundNode(os_index=node, memory=size, socket=home) for node, size, home in tree.nodes],
            slit=_slit(tree.matrix),
            warnings=[] if tree.matrix else ["the file holds no node distances"],
        )
    )


def _cpus(tree: _Tree) -> Iterator[FoundCpu]:
    for os_index, around in tree.cpus:
        nearest = {outer.kind: outer.number for outer in around}  # inner ones win
        package = nearest.get("Package")
        cluster = next((nearest[kind] for kind in CLUSTERS if kind in nearest), package)
        with_memory = next((outer for outer in reversed(around) if outer.nodes), None)
        yield FoundCpu(
            os_index=os_index,
            node=min(with_memory.nodes) if with_memory else -1,
            socket=package,
            cluster=cluster,
            core=nearest.get("Core", ("no core", os_index)),
        )


def _is_slit(attributes: dict[str, str]) -> bool:
    """Whether a matrix is that of firmware's distances between nodes, by os_index."""
    return (
        attributes.get("type") == "NUMANode"
        and attributes.get("name", "NUMALatency") == "NUMALatency"
        and attributes.get("indexing", "os") == "os"
    )


def _slit(matrix: _Distances | None) -> dict[tuple[int, int], int]:
    """Distances by pair of os_index; empty when the matrix is not what it should be."""
    if matrix is None:
        return {}
    indexes, values = "".join(matrix.indexes).split(), "".join(matrix.values).split()
    if len(values) != len(indexes) ** 2 or not all(map(_NUMBER.match, indexes + values)):
        return {}
    order = [int(index) for index in indexes]
    return {(a, b): int(values[i * len(order) + j]) for i, a in enumerate(order) for j, b in enumerate(order)}
