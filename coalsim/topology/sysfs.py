"""A copy of /sys/devices/system/{node,cpu}: a directory (/sys itself too) or a tar.

Read are, per node, `cpulist`, `meminfo`, `distance` and HMAT's idea of the own
memory (`access0/initiators/read_latency`, `read_bandwidth`), and per CPU
`topology/` and the L3's `shared_cpu_list`.  Nothing is followed out of the copy.

A CPU that is offline has no `topology` and is left out.  HMAT is firmware's word, not
a measurement, and comes in as `assumed`.
Source: Linux, Documentation/ABI/stable/sysfs-devices-node, sysfs-devices-system-cpu.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from coalsim.errors import InputError, Problem
from coalsim.guarded import DEFAULT_MAX_INPUT, clean, refusal, unreadable
from coalsim.provenance import Sourced
from coalsim.topology.assembly import Found, FoundNode, assembled
from coalsim.topology.check import MAX_CPUS, MAX_NODES
from coalsim.topology.machine import Machine
from coalsim.topology.placing import FoundCpu
from coalsim.topology.tar_members import MAX_MEMBER, text_members
from coalsim.units import KIB

_WANTED = re.compile(
    r"(?:|.*/)(?P<key>node/node\d{1,5}/(?:cpulist|meminfo|distance|access0/initiators/read_(?:latency|bandwidth))"
    r"|cpu/cpu\d{1,6}/(?:topology/(?:physical_package_id|die_id|core_id)"
    r"|cache/index\d/(?:level|shared_cpu_list)))\Z"
)
_NODE = re.compile(r"node/node(\d+)/")
_CPU = re.compile(r"cpu/cpu(\d+)/topology/")
_TOTAL = re.compile(r"MemTotal:\s*(\d{1,15}) kB")
_RANGE = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?\Z")
_COPY = "copy devices/system/node and devices/system/cpu of /sys"

Files = Mapping[str, str]
"""``node/node0/meminfo`` and the like, to their text."""


def machine_from_sysfs(path: Path, max_input: int = DEFAULT_MAX_INPUT) -> Machine:
    """The machine whose /sys was copied, with assumed costs where HMAT is silent.

    Raises:
        InputError: no such copy, a dangerous one, or a machine that cannot be.
    """
    files = _from_directory(path) if path.is_dir() else _from_tar(path, max_input)
    if not any(key.startswith("node/") for key in files):
        raise refusal(path, "no devices/system/node in it", _COPY)
    source = f"sysfs copy {clean(path.name)}"
    problems: list[Problem] = []
    nodes = _numbers(_NODE, files)
    if len(nodes) > MAX_NODES or len(_numbers(_CPU, files)) > MAX_CPUS:
        raise refusal(path, f"more than {MAX_NODES} nodes or {MAX_CPUS} CPUs", _COPY)
    cpus = list(_cpus(files, nodes, str(path), problems))
    found_nodes = [_node(files, node, source, str(path), problems) for node in nodes]
    if problems:
        raise InputError(problems)
    return assembled(
        Found(
            name=path.stem or "sysfs",
            title=f"imported from {path.name or path}",
            where=clean(str(path)),
            source=source,
            cpus=cpus,
            nodes=found_nodes,
            slit=_slit(files, nodes),
        )
    )


def _from_directory(root: Path) -> Files:
    """The wanted files below `root`, links inside of it allowed, links out of it refused."""
    base = next((found for place in ("", "devices/system", "sys/devices/system")
                 if (found := root / place / "node").is_dir()), None)  # fmt: skip
    if base is None:
        raise refusal(root, "no devices/system/node in it", _COPY)
    inside = Path(os.path.realpath(root))
    files: dict[str, str] = {}
    for pattern in (
        "node/node[0-9]*/cpulist",
        "node/node[0-9]*/meminfo",
        "node/node[0-9]*/distance",
        "node/node[0-9]*/access0/initiators/read_*",
        "cpu/cpu[0-9]*/topology/*_id",
        "cpu/cpu[0-9]*/cache/index[0-9]/*",
    ):
        for file in sorted(base.parent.glob(pattern)):
            key = _WANTED.match(file.relative_to(base.parent).as_posix())
            if key:
                files[key["key"]] = _small_text(file, inside)
    return files


def _small_text(file: Path, inside: Path) -> str:
    if not Path(os.path.realpath(file)).is_relative_to(inside):
        raise refusal(file, "a link leads out of the copy", _COPY)
    if not file.is_file():
        raise refusal(file, "not a plain file", _COPY)
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_MEMBER + 1)
    except OSError as failure:
        raise unreadable(file, failure) from None
    if len(content) > MAX_MEMBER:
        raise refusal(file, "larger than any file of /sys", _COPY)
    return content.rstrip(b"\0").decode("utf-8", errors="replace")


def _from_tar(path: Path, max_input: int) -> Files:
    members = text_members(path, lambda name: bool(_WANTED.match(name)), max_input)
    return {found["key"]: text for name, text in members.items() if (found := _WANTED.match(name))}


def _numbers(pattern: re.Pattern[str], files: Files) -> list[int]:
    return sorted({int(found[1]) for key in files if (found := pattern.match(key))})


def _cpus(files: Files, nodes: Sequence[int], where: str, problems: list[Problem]) -> Iterator[FoundCpu]:
    node_of: dict[int, int] = {}
    for node in nodes:
        key = f"node/node{node}/cpulist"
        for cpu in _list(files.get(key, ""), where, key, problems):
            node_of.setdefault(cpu, node)
    for cpu in _numbers(_CPU, files):
        if cpu not in node_of:
            problems.append(
                Problem(
                    where=where, key=f"cpu/cpu{cpu}", message="online, but in no node's cpulist", remedy=_COPY
                )
            )
            continue
        prefix = f"cpu/cpu{cpu}/topology/"
        package = _integer(files, f"{prefix}physical_package_id", where, problems)
        die = files.get(f"{prefix}die_id", "0").strip()
        yield FoundCpu(
            os_index=cpu,
            node=node_of[cpu],
            socket=package,
            cluster=_l3(files, cpu) or ("die", die),
            core=(die, _integer(files, f"{prefix}core_id", where, problems)),
        )


def _l3(files: Files, cpu: int) -> str:
    """The CPUs that share this CPU's L3, as text; empty if the copy has no caches."""
    for index in range(10):
        prefix = f"cpu/cpu{cpu}/cache/index{index}/"
        if files.get(f"{prefix}level", "").strip() == "3":
            return files.get(f"{prefix}shared_cpu_list", "").strip()
    return ""


def _node(files: Files, node: int, source: str, where: str, problems: list[Problem]) -> FoundNode:
    prefix = f"node/node{node}/"
    total = _TOTAL.search(files.get(f"{prefix}meminfo", ""))
    if not total:
        problems.append(Problem(where=where, key=f"{prefix}meminfo", message="no MemTotal", remedy=_COPY))
    hmat = f"{source}: what firmware's HMAT says"
    return FoundNode(
        os_index=node,
        memory=int(total[1]) * KIB if total else 0,
        latency=_hmat(files, f"{prefix}access0/initiators/read_latency", Decimal(1), "ns", hmat),
        bandwidth=_hmat(
            files, f"{prefix}access0/initiators/read_bandwidth", Decimal("0.001048576"), "GB/s", hmat
        ),
    )


def _hmat(files: Files, key: str, factor: Decimal, unit: str, source: str) -> Sourced | None:
    """A number of HMAT (ns, MiB/s); None where it is missing or the 0 that means unknown."""
    text = files.get(key, "").strip()
    if not re.fullmatch(r"[1-9][0-9]{0,6}", text):
        return None
    return Sourced(value=int(text) * factor, unit=unit, source=source, status="assumed")


def _slit(files: Files, nodes: Sequence[int]) -> dict[tuple[int, int], int]:
    slit: dict[tuple[int, int], int] = {}
    for node in nodes:
        words = files.get(f"node/node{node}/distance", "").split()
        if len(words) == len(nodes) and all(re.fullmatch(r"[0-9]{1,3}", word) for word in words):
            slit.update({(node, other): int(word) for other, word in zip(nodes, words, strict=True)})
    return slit


def _integer(files: Files, key: str, where: str, problems: list[Problem]) -> int:
    text = files.get(key, "").strip()
    if re.fullmatch(r"-?[0-9]{1,9}", text):
        return int(text)
    problems.append(
        Problem(where=where, key=key, value=clean(text)[:40], message="not a number", remedy=_COPY)
    )
    return 0


def _list(text: str, where: str, key: str, problems: list[Problem]) -> list[int]:
    """CPUs of a list such as ``0-3,8``; bounded, whatever the text says."""
    cpus: list[int] = []
    for part in text.strip().split(",") if text.strip() else []:
        found = _RANGE.match(part)
        last = int(found[2] or found[1]) if found else -1
        if not found or last - int(found[1]) >= MAX_CPUS or len(cpus) > MAX_CPUS:
            problems.append(
                Problem(
                    where=where, key=key, value=clean(part)[:40], message="not a list of CPUs", remedy=_COPY
                )
            )
            return []
        cpus.extend(range(int(found[1]), last + 1))
    return cpus
