"""Where each key of a TOML document stands.

The standard parser gives no line numbers, and an error without one sends people
searching.  This scanner runs over a text that `tomllib` has already accepted, so
it may take well-formedness for granted: it follows table headers, dotted keys,
arrays, inline tables and strings, and notes the line of every key.

Invariant: every key path of the parsed document is in the result, with list
positions as numbers: ``axes.0.key``.
"""

import re
from collections.abc import Iterator, Mapping

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\n]+")
_STRINGS = (
    re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}', re.DOTALL),
    re.compile(r"'''.*?'{3,5}", re.DOTALL),
    re.compile(r'"(?:[^"\\\n]|\\.)*"'),
    re.compile(r"'[^'\n]*'"),
)
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))")
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}


def key_lines(text: str) -> dict[str, int]:
    """Line, counted from 1, of every key path of a TOML document that parses."""
    lines: dict[str, int] = {}
    for path, line in _Scanner(text).key_paths():
        lines.setdefault(path, line)
    return lines


def line_of(lines: Mapping[str, int], path: str) -> int:
    """The line of a key path, or of the nearest table around it; 0 if none is known."""
    while path:
        if path in lines:
            return lines[path]
        path = path.rpartition(".")[0]
    return 0


class _Scanner:
    """One pass over the text; `at` is the next character."""

    def __init__(self, text: str) -> None:
        self.text = text.replace("\r\n", "\n")
        self.at = 0
        self._counted_to = 0
        self._line = 1

    def key_paths(self) -> Iterator[tuple[str, int]]:
        """Every key path with its line, in the order of the text."""
        table: tuple[str, ...] = ()
        lengths: dict[tuple[str, ...], int] = {}  # arrays of tables: how many there are by now
        while self._skip_blank():
            if self._peek("["):
                line, is_array = self._here(), self.text.startswith("[[", self.at)
                self.at += 2 if is_array else 1
                table = self._through_arrays(self._dotted_key(), lengths, is_array)
                self.at += 2 if is_array else 1
                yield from _prefixes(table, line)
            else:
                yield from self._assignment(table)

    def _through_arrays(
        self, key: tuple[str, ...], lengths: dict[tuple[str, ...], int], is_array: bool
    ) -> tuple[str, ...]:
        """The path of a header: parts that are arrays of tables get the position of their last table."""
        path: tuple[str, ...] = ()
        for depth, part in enumerate(key, 1):
            path += (part,)
            if is_array and depth == len(key):
                lengths[path] = lengths.get(path, 0) + 1
            if path in lengths:
                path += (str(lengths[path] - 1),)
        return path

    def _assignment(self, table: tuple[str, ...]) -> Iterator[tuple[str, int]]:
        line = self._here()
        path = table + self._dotted_key()
        yield from _prefixes(path, line)
        self._skip_blank()
        self.at += 1  # the equals sign
        self._skip_blank()
        yield from self._value(path)

    def _value(self, path: tuple[str, ...]) -> Iterator[tuple[str, int]]:
        if self._peek("["):
            yield from self._array(path)
        elif self._peek("{"):
            yield from self._inline_table(path)
        elif (end := self._string_end()) is not None:
            self.at = end
        else:
            self._match(_SCALAR)

    def _array(self, path: tuple[str, ...]) -> Iterator[tuple[str, int]]:
        self.at += 1
        position = 0
        while self._skip_blank() and not self._peek("]"):
            if self._peek(","):
                self.at += 1
                continue
            item = (*path, str(position))
            yield ".".join(item), self._here()
            yield from self._value(item)
            position += 1
        self.at += 1

    def _inline_table(self, path: tuple[str, ...]) -> Iterator[tuple[str, int]]:
        self.at += 1
        while self._skip_blank() and not self._peek("}"):
            if self._peek(","):
                self.at += 1
                continue
            yield from self._assignment(path)
        self.at += 1

    def _dotted_key(self) -> tuple[str, ...]:
        parts: list[str] = []
        while True:
            self._skip_blank()
            if (end := self._string_end()) is not None:
                parts.append(_unquoted(self.text[self.at : end]))
                self.at = end
            else:
                parts.append(self._match(_BARE))
            self._skip_blank()
            if not self._peek("."):
                return tuple(parts)
            self.at += 1

    def _string_end(self) -> int | None:
        for pattern in _STRINGS:
            if found := pattern.match(self.text, self.at):
                return found.end()
        return None

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        assert found, f"no TOML at line {self._here()}: the scanner runs only over what tomllib accepted"
        self.at = found.end()
        return found[0]

    def _skip_blank(self) -> bool:
        """Step over spaces, line ends and comments; whether anything follows."""
        found = _BLANK.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return self.at < len(self.text)

    def _peek(self, character: str) -> bool:
        return self.text.startswith(character, self.at)

    def _here(self) -> int:
        self._line += self.text.count("\n", self._counted_to, self.at)
        self._counted_to = self.at
        return self._line


def _prefixes(path: tuple[str, ...], line: int) -> Iterator[tuple[str, int]]:
    """A key and the tables around it: ``[kernel.cost]`` also makes ``kernel``, if nothing did before."""
    for depth in range(1, len(path) + 1):
        yield ".".join(path[:depth]), line


def _unquoted(quoted: str) -> str:
    """What a quoted key says."""
    if quoted[0] == "'":
        return quoted[1:-1]

    def plain(found: re.Match[str]) -> str:
        code = found[1] or found[2]
        return chr(int(code, 16)) if code else _ESCAPED.get(found[3], found[3])

    return _ESCAPE.sub(plain, quoted[1:-1])
