"""How a machine sends interrupts to its own CPUs, and what a hypervisor adds.

Only data: the models themselves are code of a higher floor, which knows them by these
names.  A machine without `GuestCosts` is no guest; a guest's model on it takes those
of `assumptions.toml`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from difflib import get_close_matches

from coalsim.errors import Problem
from coalsim.provenance import Sourced, Status
from coalsim.topology.cost_reader import TIMES, Reader
from coalsim.units import SEC

IPI_MODELS = {
    "x2apic_cluster": "one write reaches up to 16 CPUs",
    "x2apic_physical": "one write for each CPU",
    "kvm_exit": "a guest: each write leaves to the hypervisor",
    "kvm_pv": "a guest: one call to the hypervisor for up to 128 CPUs",
    "posted": "a guest whose hardware delivers without leaving",
}


@dataclass(frozen=True, kw_only=True)
class IpiModel:
    """One of `IPI_MODELS`, with its provenance."""

    name: str
    source: str
    status: Status


@dataclass(frozen=True, kw_only=True)
class GuestCosts:
    """What a hypervisor takes.

    Args:
        vm_exit: the sender leaves the guest for one write and comes back.
        hypercall: the sender leaves on purpose, for many targets at once.
        per_target: the host's work for each target, while the sender waits.
        post: the sender's hardware posts an interrupt, without leaving the guest.
        kick: from the host's work to the handler of a vCPU that runs.
        notify: the same from the posting, by hardware alone.
        resume: until a vCPU that the host has preempted runs again.
        preempted_share: share of the time that a vCPU is preempted, from 0 to below 1.
    """

    vm_exit: Sourced
    hypercall: Sourced
    per_target: Sourced
    post: Sourced
    kick: Sourced
    notify: Sourced
    resume: Sourced
    preempted_share: Sourced

    def numbers(self) -> Iterator[tuple[str, Sourced]]:
        """Every number with its key."""
        for key in GUEST_KEYS:
            yield key, self[key]

    def __getitem__(self, key: str) -> Sourced:
        number = getattr(self, key)
        assert isinstance(number, Sourced), key
        return number


def with_costs(guest: GuestCosts, numbers: Mapping[str, Sourced]) -> GuestCosts:
    """A copy with some numbers replaced."""
    return GuestCosts(**{**dict(guest.numbers()), **numbers})


GUEST_KEYS = tuple(field.name for field in fields(GuestCosts))
SHARE = "preempted_share"


def read_ipi_model(reader: Reader) -> IpiModel | None:
    """The `ipi_model` of a machine file; None if it has none, or (with a problem) an unusable one."""
    entry = reader.document.get("ipi_model")
    match entry:
        case None:
            return None
        case {"value": str(name)}:
            assert isinstance(entry, dict)
            reader.only(entry, ("value", "source", "status"), "ipi_model.")
            source, status = reader.provenance(entry, "ipi_model")
            if name in IPI_MODELS:
                return IpiModel(name=name, source=source, status=status)
            reader.refuse("ipi_model", UNKNOWN, nearest(name), name if name.isprintable() else "")
        case _:
            reader.refuse("ipi_model", "not a model with its provenance", "write {value=, source=, status=}")
    return None


UNKNOWN = "no model of interrupts of that name"


def nearest(name: str) -> str:
    """What somebody who wrote `name` may have meant."""
    near = get_close_matches(name, IPI_MODELS, n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(IPI_MODELS)}"


def read_guest(reader: Reader) -> GuestCosts | None:
    """The `[guest]` of a machine file; None if it has none, or (with problems) an unusable one."""
    table = reader.table("guest")
    if not table:
        return None
    reader.only(table, GUEST_KEYS, "guest.")
    read = {key: reader.number(table, key, units_of(key), "guest.") for key in GUEST_KEYS}
    numbers = {key: number for key, number in read.items() if number}
    return GuestCosts(**numbers) if len(numbers) == len(GUEST_KEYS) else None


def units_of(key: str) -> tuple[str, ...]:
    """The units that a number of `GuestCosts` may have."""
    return ("",) if key == SHARE else TIMES


def interrupt_problems(model: IpiModel, guest: GuestCosts | None, clock_ghz: Decimal) -> Iterator[Problem]:
    """Every mistake in how a machine sends."""
    if model.name not in IPI_MODELS:
        yield Problem(key="ipi_model", value=model.name, message=UNKNOWN, remedy=nearest(model.name))
    for key, number in guest.numbers() if guest else ():
        if remedy := _mistake(key, number, clock_ghz):
            yield Problem(
                key=f"guest.{key}",
                value=f"{number.value} {number.unit}".strip(),
                message="not a cost that a hypervisor can have",
                remedy=remedy,
            )


def _mistake(key: str, number: Sourced, clock_ghz: Decimal) -> str:
    value = number.value
    if key == SHARE:
        fits = number.unit == "" and value.is_finite() and 0 <= value < 1
        return "" if fits else "give a share from 0 to below 1, without a unit"
    if number.unit not in TIMES:
        return f"give a time in {', '.join(TIMES)}"
    if not value.is_finite() or value > SEC or number.picoseconds(clock_ghz) > SEC:
        return "give less than a second"
    if key in ("kick", "notify") and number.picoseconds(clock_ghz) < 1:
        return "nothing crosses in no time: give at least 1 ps"
    return ""
