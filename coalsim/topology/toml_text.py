"""TOML from strangers: guarded reading, and where in the text a key stands.

tomllib keeps no line numbers, so `key_lines` scans for table headers and for keys
at the start of a line.  It is a finding aid for messages, not a parser: a key that
it misses is reported without a line.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from coalsim.guarded import DEFAULT_MAX_INPUT, clean, read_guarded, refusal
from coalsim.units import MIB

MAX_FILE = 64 * MIB  # a machine of 8,192 CPUs takes a few
_AT_LINE = re.compile(r"\(at line (\d+)")

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]#]+?)\s*\]\]?\s*(?:#.*)?\Z")
_KEY = re.compile(r"\s*([A-Za-z0-9_\-.\"' ]+?)\s*=")


def read_toml(path: Path, max_input: int = DEFAULT_MAX_INPUT) -> tuple[Mapping[str, object], str]:
    """A TOML file, parsed and as text."""
    content = read_guarded(path, max_input=min(max_input, MAX_FILE))
    try:
        text = content.decode("utf-8").replace("\r\n", "\n")
        return tomllib.loads(text), text
    except UnicodeDecodeError:
        raise refusal(path, "not UTF-8 text", "give a machine file in TOML") from None
    except (ValueError, RecursionError) as damage:
        found = _AT_LINE.search(str(damage))
        line = int(found[1]) if found else 0
        raise refusal(path, f"not TOML: {clean(str(damage))}", "correct the syntax", line=line) from None


def key_lines(text: str) -> Mapping[str, int]:
    """Dotted key to line number; entries of arrays of tables count from 0: ``dram.1.pairs``."""
    lines: dict[str, int] = {}
    entries: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.split("\n"), 1):
        if header := _HEADER.match(line):
            table = _plain(header[2])
            if header[1] == "[[":
                entries[table] = entries.get(table, -1) + 1
                table = f"{table}.{entries[table]}"
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines.setdefault(f"{table}.{_plain(key[1])}" if table else _plain(key[1]), number)
    return lines


def line_of(lines: Mapping[str, int], key: str) -> int:
    """The line of `key`, or of the innermost table around it that was found; 0 for none."""
    while key:
        if key in lines:
            return lines[key]
        key = key.rpartition(".")[0]
    return 0


def _plain(key: str) -> str:
    return re.sub(r"[\"' ]", "", key)
