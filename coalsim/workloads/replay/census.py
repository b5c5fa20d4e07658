"""Which CPUs a trace has, before it is replayed.

Where a CPU of the trace runs depends on how many there are, and the last one may show up at the
end.  So the text is scanned once beforehand, which costs a tenth of reading it.

Invariant: memory is bounded by one block and one line.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from coalsim.guarded import DEFAULT_MAX_INPUT, MAX_LINE, guarded_blocks, refusal

_MOST_CPUS = 8_192  # of any Linux build
_CPU = re.compile(rb"\[[ \t]*+(\d{1,5})\][ \t]++(?:\S++[ \t]++)?\d{1,12}\.\d{6,9}:")


@dataclass(frozen=True, kw_only=True)
class Census:
    """What the scan found: CPU numbers, ascending, and the unpacked length of the text."""

    cpus: tuple[int, ...]
    bytes: int


def take_census(path: Path, max_input: int = DEFAULT_MAX_INPUT) -> Census:
    """Scan a trace, plain or gzip.

    Raises:
        InputError: it cannot be read, or has more CPUs than any machine.
    """
    known: dict[bytes, None] = {}
    rest = b""
    total = 0
    for block in guarded_blocks(path, max_input=max_input):
        total += len(block)
        text = rest + block
        whole = text.rfind(b"\n") + 1
        known.update(dict.fromkeys(_CPU.findall(text, 0, whole)))
        if len(known) > _MOST_CPUS:
            raise refusal(path, f"more than {_MOST_CPUS} CPUs in it", "check the file")
        rest = text[whole:][-MAX_LINE:]
    known.update(dict.fromkeys(_CPU.findall(rest)))
    return Census(cpus=tuple(sorted(dict.fromkeys(int(number) for number in known))), bytes=total)


def refuse_pipe(path: Path) -> None:
    """Refuse what can be read only once, before anybody reads from it.

    Raises:
        InputError: it is there, and neither a file nor a directory.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise refusal(path, "not a file: it can be read only once", "write the trace to a file first")
