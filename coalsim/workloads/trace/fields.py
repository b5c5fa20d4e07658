"""The body of a memory event: `call_site=... ptr=... bytes_req=...` to numbers.

Trace events are no stable interface, so each body is read twice over: first by the layout of
recent kernels, cutting at the names of the fields in their usual order (fast), and whenever that
does not come out as numbers, by looking every field up by its name (slow, any order, unknown fields
between, fields missing).  Both need the same fields and give the same answer.

Invariant: what leaves this file is in range: pointers below 2^64, sizes below 2^48, orders up to
`MAX_ORDER`, blocks aligned to their size; names and call sites cleaned of control characters.
Source: the TP_printk lines of include/trace/events/kmem.h, Linux 3.10 to 6.18.
"""

import re
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from coalsim.guarded import clean
from coalsim.workloads.trace.records import MAX_ORDER, Kind

POINTER_BITS = 64
SIZE_BITS = 48
MAX_CACHED = 65_536  # texts that one cache keeps: no hostile trace grows it further

_NULLS = ("(nil)", "(null)", "(efault)")
_SITE_END = re.compile(r"[/ ]")
_FIELD = re.compile(r"(?:^|\s)(\w+)=")


class Body(NamedTuple):
    """What a body says; the fields are those of `Record`."""

    key: int
    size: int
    alloc: int
    name: str
    site: str


Decoded: TypeAlias = tuple[int, int, int, str, str]
Decoder: TypeAlias = Callable[[str], Decoded]


class CleanTexts(dict[str, str]):
    """Cleaned texts by their raw form: a trace repeats few texts many times."""

    def __missing__(self, raw: str) -> str:
        if len(self) >= MAX_CACHED:
            self.clear()
        self[raw] = cleaned = self.cleaned(raw)
        return cleaned

    def cleaned(self, raw: str) -> str:
        """Compute one text."""
        return clean(raw).strip()


class CallSites(CleanTexts):
    """`call_site=name+0xoff/0xsize [module]` to `name+0xoff`, as perf prints it."""

    def cleaned(self, raw: str) -> str:
        """Without the field's name, the size of the function and the module."""
        site, *_ = _SITE_END.split(raw.removeprefix("call_site="), maxsplit=1)
        return clean(site).strip()


class CacheNames(CleanTexts):
    """Names of slab caches; a field that a newer kernel put behind the name is cut off."""

    def cleaned(self, raw: str) -> str:
        """Up to the next field."""
        return clean(_FIELD.split(raw, maxsplit=1)[0]).strip()


class BodyReader:
    """Reads bodies; holds the cached texts of one trace.

    All methods raise ValueError where the body is not what it should be.
    """

    def __init__(self) -> None:
        self._sites = CallSites()
        self._names = CacheNames()

    def decoder(self, kind: Kind) -> Decoder:
        """The fast reader for a kind of event."""
        return {
            Kind.KMALLOC: self._kmalloc,
            Kind.CACHE_ALLOC: self._cache_alloc,
            Kind.KFREE: self._kfree,
            Kind.CACHE_FREE: self._cache_free,
            Kind.PAGE_FREE: self._page,
            Kind.PAGE_FREE_BATCHED: self._page,
        }.get(kind, self._typed_page)

    def _kmalloc(self, body: str) -> Decoded:
        site, _, rest = body.partition(" ptr=")
        pointer, _, rest = rest.partition(" bytes_req=")
        asked, _, rest = rest.partition(" bytes_alloc=")
        key, size, alloc = int(pointer, 16), int(asked), int(rest.partition(" ")[0])
        if key >> POINTER_BITS or size >> SIZE_BITS or alloc >> SIZE_BITS:
            raise ValueError(body)
        return key, size, alloc, "", self._sites[site]

    def _cache_alloc(self, body: str) -> Decoded:
        site, _, rest = body.partition(" ptr=")
        pointer, _, rest = rest.partition(" name=")
        name, _, rest = rest.partition(" bytes_req=")
        asked, _, rest = rest.partition(" bytes_alloc=")
        key, size, alloc = int(pointer, 16), int(asked), int(rest.partition(" ")[0])
        if key >> POINTER_BITS or size >> SIZE_BITS or alloc >> SIZE_BITS:
            raise ValueError(body)
        return key, size, alloc, self._names[name], self._sites[site]

    def _kfree(self, body: str) -> Decoded:
        site, _, pointer = body.partition(" ptr=")
        key = 0 if pointer == "(nil)" else int(pointer, 16)
        if key >> POINTER_BITS:
            raise ValueError(body)
        return key, 0, 0, "", self._sites[site]

    def _cache_free(self, body: str) -> Decoded:
        site, _, rest = body.partition(" ptr=")
        pointer, _, name = rest.partition(" name=")
        key = int(pointer, 16)
        if key >> POINTER_BITS:
            raise ValueError(body)
        return key, 0, 0, self._names[name], self._sites[site]

    def _page(self, body: str) -> Decoded:
        _, _, rest = body.partition(" pfn=")
        frame, _, order_text = rest.partition(" order=")
        key, order = int(frame, 0), int(order_text)
        if key >> POINTER_BITS or not 0 <= order <= MAX_ORDER or (order and key & (1 << order) - 1):
            raise ValueError(body)
        return key, order, 0, "", ""

    def _typed_page(self, body: str) -> Decoded:
        _, _, rest = body.partition(" pfn=")
        frame, _, rest = rest.partition(" order=")
        order_text, _, rest = rest.partition(" migratetype=")
        key, order, migrate_type = int(frame, 0), int(order_text), int(rest.partition(" ")[0])
        if key >> POINTER_BITS or not 0 <= order <= MAX_ORDER or (order and key & (1 << order) - 1):
            raise ValueError(body)
        return key, order, migrate_type, "", ""

    def by_name(self, kind: Kind, body: str) -> Body:
        """Read any body, field by field; slow."""
        fields = fields_of(body)
        if kind >= Kind.PAGE_ALLOC:
            order, migrate_type = int(fields.get("order", "0")), int(fields.get("migratetype", "0"))
            return Body(_frame(fields, order), order, migrate_type, "", "")
        name = self._names[fields["name"]] if "name" in fields else ""
        site = self._sites[fields.get("call_site", "")]
        size = alloc = 0
        if kind in (Kind.KMALLOC, Kind.CACHE_ALLOC):
            size = _size(fields, "bytes_req")
            alloc = _size(fields, "bytes_alloc") if "bytes_alloc" in fields else size
        return Body(_pointer(fields), size, alloc, name, site)


def fields_of(body: str) -> dict[str, str]:
    """`a=1 b=two words c=3` by name; of a name that comes twice the first counts."""
    _, *pieces = _FIELD.split(body)
    fields: dict[str, str] = {}
    for name, value in zip(pieces[::2], pieces[1::2], strict=True):
        fields.setdefault(name, value.strip())
    return fields


def _pointer(fields: dict[str, str]) -> int:
    text = _required(fields, "ptr")
    return 0 if text in _NULLS else _in_range(int(text, 16), POINTER_BITS)


def _frame(fields: dict[str, str], order: int) -> int:
    text = _required(fields, "pfn")  # hexadecimal with 0x, decimal on old kernels
    is_hex = text[:2] in ("0x", "0X")
    first = _in_range(int(text, 16 if is_hex else 10), POINTER_BITS)
    if not 0 <= order <= MAX_ORDER or first & (1 << order) - 1:
        raise ValueError(f"no block of order {order} at frame {first:#x}")
    return first


def _size(fields: dict[str, str], name: str) -> int:
    return _in_range(int(_required(fields, name)), SIZE_BITS)


def _required(fields: dict[str, str], name: str) -> str:
    if name not in fields:
        raise ValueError(f"no field {name}")
    return fields[name]


def _in_range(number: int, bits: int) -> int:
    if number >> bits:
        raise ValueError(f"{number.bit_length()} bits")
    return number
