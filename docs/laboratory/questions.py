"""The seven questions of the laboratory: which points each asks for, and the tables made of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Settings = Mapping[str, str]
Row = Mapping[str, str]
Cell = Callable[[Row], str]


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table: rows by columns of settings, or (`causes`) causes by columns.

    Args:
        corner: heads the first column.
        columns, rows: what is set, by the name that the table shows.
        cell: what stands in a cell.
        causes: instead of cells, which text of the point: `operation` (ns each) or `time` (percent).
        base: settings of all its points.
        study: where the points are not of the question's own study.
        saved: two rows; a last one says by how much the second is less.
        shown: causes of each point.
    """

    corner: str
    columns: Mapping[str, Settings]
    rows: Mapping[str, Settings] = field(default_factory=dict)
    cell: Cell = str
    causes: str = ""
    base: Settings = field(default_factory=dict)
    study: str = ""
    saved: tuple[str, str] | None = None
    shown: int = 5


@dataclass(frozen=True, kw_only=True)
class Question:
    """A study, the operation whose causes are kept, and the tables by name."""

    study: str
    operation: str
    tables: Mapping[str, Table]


def number(key: str, scale: float, digits: int) -> Cell:
    """A column of the file, in other units."""
    return lambda row: f"{float(row[key]) / scale:.{digits}f}" if row[key] else "-"


def cpus(*counts: int) -> dict[str, Settings]:
    """A column per number of processors."""
    return {str(count): {"workload.cpus": str(count)} for count in counts}


def values(key: str, *texts: str) -> dict[str, Settings]:
    """One setting, by its value."""
    return {text: {key: text} for text in texts}


def policies(*names: str) -> dict[str, Settings]:
    """Shootdown policies, with the copies of tables that they need."""
    copies = {"radixvm": "per_cpu", "numapte": "lazy"}
    return {
        name: {"kernel.shootdown": name}
        | ({"kernel.table_replication": copies[name]} if name in copies else {})
        for name in names
    }


def whole_and_half(first: int, *more: int) -> dict[str, Settings]:
    """Two columns per number of processors: interrupts as they are, and of half the cost."""
    columns: dict[str, Settings] = {}
    for count in (first, *more):
        setting = {"workload.cpus": str(count)}
        columns[str(count) if columns else f"{count} CPUs"] = setting
        columns[f"{count}, half"] = {**HALF, **setting}
    return columns


def where(
    corner: str,
    columns: Mapping[str, Settings],
    *,
    base: Settings | None = None,
    of: str = "operation",
    study: str = "",
    shown: int = 5,
) -> Table:
    """A table of causes by columns."""
    return Table(corner=corner, columns=columns, base=base or {}, causes=of, study=study, shown=shown)


ALL = ("serial", "broadcast", "linux", "concurrent", "early_ack", "latr", "abis", "radixvm", "numapte")
HALF = {
    "machine.ipi_flight.smt": "500ns",
    "machine.ipi_flight.socket": "500ns",
    "machine.ipi_flight.cross": "1000ns",
    "machine.ipi_send": "50ns",
}
INTERRUPTS: dict[str, Settings] = {"as they are": {}, "half": HALF}
ALL_FLUSH = "tlb_flush2"
ALL_FLUSH_RUN = {"run.warmup": "300us", "run.duration": "1500us"}
LOCKS_AND_FLUSHES = {
    f"{lock}, {flush}": {"kernel.mmap_lock": lock, "kernel.shootdown": flush}
    for lock in ("rwsem", "range")
    for flush in ("concurrent", "invlpgb")
}
FAULT_LOCKS = {
    f"{name}, {areas}": {**lock, "workload.areas": areas}
    for name, lock in (
        ("rwsem", {"kernel.mmap_lock": "rwsem", "kernel.madvise_lock": "mmap"}),
        ("per_vma", {"kernel.mmap_lock": "per_vma"}),
    )
    for areas in ("shared", "own")
}
TREES = values("kernel.table_replication", "none", "eager", "lazy")
GUESTS: dict[str, Settings] = {
    "hypercall": {"kernel.ipi": "kvm_pv", "kernel.pv_flush": "off"},
    "hypercall, flush left to the host": {"kernel.ipi": "kvm_pv", "kernel.pv_flush": "on"},
    "posted": {"kernel.ipi": "posted"},
}
SHARES = values("machine.guest.preempted_share", "0", "0.02", "0.05", "0.1", "0.2", "0.4")

QUESTIONS = (
    Question(
        study="shootdown_cost",
        operation="madvise",
        tables={
            "call": Table(
                corner="policy",
                rows=policies(*ALL, "invlpgb", "tlbi", "rar"),
                columns=cpus(2, 4, 8, 15, 30, 60, 120),
                cell=number("latency_ns", 1e3, 2),
            ),
            "where": where(
                "ns per call, 120 CPUs",
                policies("serial", "broadcast", "concurrent", "radixvm", "rar", "invlpgb", "latr"),
                base={"workload.cpus": "120"},
                shown=3,
            ),
        },
    ),
    Question(
        study="flush_ceiling",
        operation="munmap",
        tables={
            f"{what}{others}": Table(
                corner="ceiling",
                rows=values("kernel.flush_ceiling", "0", "33", "1000000"),
                columns=values("workload.pages", "1", "4", "8", "16", "32", "48", "64", "128"),
                cell=cell,
                base={"workload.others": others},
            )
            for others in ("64", "1024")
            for what, cell in (
                (
                    "both",
                    lambda row: f"{(float(row['call_ns']) + float(row['refill_ns'])) / 1e3:.2f}",
                ),
                ("refill", number("refill_ns", 1e3, 2)),
            )
        },
    ),
    Question(
        study="cheaper_ipi",
        operation="madvise",
        tables={
            "alone": Table(
                corner="interrupts",
                rows=INTERRUPTS,
                columns=cpus(2, 4, 16, 32, 64),
                cell=number("shootdown_ns", 1, 0),
                saved=("as they are", "half"),
            ),
            "rate": Table(
                corner="interrupts",
                rows=INTERRUPTS,
                columns=cpus(2, 4, 16, 32, 64),
                cell=number("ops_per_s", 1e6, 2),
                study=ALL_FLUSH,
                base=ALL_FLUSH_RUN,
            ),
            "where": where("ns per madvise", whole_and_half(2, 16, 64)),
            "where_all": where(
                "ns per madvise, all flush", whole_and_half(4, 32), base=ALL_FLUSH_RUN, study=ALL_FLUSH
            ),
        },
    ),
    Question(
        study="next_bottleneck",
        operation="munmap",
        tables={
            "rate": Table(
                corner="lock, flush",
                rows=LOCKS_AND_FLUSHES,
                columns=cpus(1, 4, 16, 48),
                cell=number("ops_per_s", 1e6, 2),
            ),
            "where": where(
                "% of the time, 16 CPUs", LOCKS_AND_FLUSHES, base={"workload.cpus": "16"}, of="time"
            ),
            "munmap": where(
                "ns per munmap, 48 CPUs", LOCKS_AND_FLUSHES, base={"workload.cpus": "48"}, shown=3
            ),
            "where48": where(
                "% of the time, 48 CPUs", LOCKS_AND_FLUSHES, base={"workload.cpus": "48"}, of="time", shown=4
            ),
        },
    ),
    Question(
        study="fault_locks",
        operation="fault",
        tables={
            "rate": Table(
                corner="lock, areas",
                rows=FAULT_LOCKS,
                columns=cpus(1, 4, 16, 32, 64),
                cell=number("faults_per_s", 1e6, 2),
            ),
            "where": where(
                "ns per fault, 32 CPUs",
                {name: FAULT_LOCKS[name] for name in ("rwsem, own", "per_vma, shared", "per_vma, own")},
                base={"workload.cpus": "32"},
            ),
        },
    ),
    Question(
        study="table_distance",
        operation="fault",
        tables={
            "alone": Table(
                corner="one thread on node 0",
                rows={"ns per read": {}},
                columns={
                    f"tables on {place}": {"kernel.table_placement": place, "workload.cpus": "1"}
                    for place in ("node:0", "node:1", "node:3")
                },
                cell=number("latency_ns", 1, 0),
            ),
            "four": Table(
                corner="four threads, ns per read",
                rows={
                    "one tree": TREES["none"],
                    "a copy per node, eager": TREES["eager"],
                    "a copy per node, lazy": TREES["lazy"],
                },
                columns=values("workload.rounds", "200", "1000"),
                cell=number("latency_ns", 1, 0),
            ),
            "fault": Table(
                corner="ns per fault",
                rows={"four threads, 200 rounds": {"workload.rounds": "200"}},
                columns={"one tree": TREES["none"], "eager": TREES["eager"], "lazy": TREES["lazy"]},
                cell=number("fault_ns", 1, 0),
            ),
        },
    ),
    Question(
        study="guest_flush",
        operation="madvise",
        tables={
            "rate": Table(
                corner="share of the time that a vCPU is away",
                rows=GUESTS,
                columns=SHARES,
                cell=number("ops_per_s", 1e3, 1),
            ),
            "left": Table(
                corner="per flush",
                rows={"vCPUs left to the host": GUESTS["hypercall, flush left to the host"]},
                columns=SHARES,
                cell=number("left_to_host", 1, 2),
            ),
            "where": where(
                "ns per madvise, share 0.1", GUESTS, base={"machine.guest.preempted_share": "0.1"}
            ),
        },
    ),
)
