"""Document: a study as it was written, before anybody checks what it says.

A document is a tree of plain values that remembers where each came from: a line
of a file, or an option of the command line.  `spec.py` makes sense of it.

Invariant: every message about a key can name its file and line, or its option.
"""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.resources import as_file, files
from pathlib import Path

from coalsim.errors import ConfigError, Problem
from coalsim.guarded import read_guarded
from coalsim.plugins import Asked
from coalsim.study.lines import key_lines, line_of
from coalsim.units import MIB

MAX_STUDY = MIB  # no study that a person wrote is larger
_TOML_LINE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)")


@dataclass(frozen=True, kw_only=True)
class Document:
    """A raw study.

    Args:
        raw: the tree of values.
        where: the file, empty if there is none.
        lines: line of each key path.
        options: for each key path that the command line gave, the option as typed.
        moved: for each key path that another part of the file gave (an axis, the quick variant), that part.
        folder: what relative paths in the file are relative to.
    """

    raw: Mapping[str, object]
    where: str = ""
    lines: Mapping[str, int] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    moved: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path()

    def problem(self, key: str, message: str, remedy: str, value: object = "") -> Problem:
        """A mistake at a key, with the place where the key was given."""
        option = self._option(key)
        return Problem(
            where=option or self.where,
            line=0 if option else self._line(key),
            key=key,
            value=show(value),
            message=message,
            remedy=remedy,
        )

    def asked(self, key: str, *, trust: bool) -> Asked:
        """Who asked for a class under this key: the command line is trusted, a file as far as it is told."""
        option = self._option(key)
        return Asked(
            key=key,
            where=option or self.where,
            line=0 if option else self._line(key),
            trust=trust or bool(option),
            folder=Path() if option else self.folder,
        )

    def path(self, key: str, given: str) -> str:
        """A path given under a key, as seen from where we are: one in a file is relative to the file."""
        return given if self._option(key) or not given else os.path.join(self.folder, given)

    def _option(self, key: str) -> str:
        """The option that gave a key or a table around it; empty if the file did."""
        given = _nearest(key, self.options, self.moved)
        return self.options.get(given, "")

    def _line(self, key: str) -> int:
        """The line where the file gives a key, wherever it stands."""
        given = _nearest(key, self.moved)
        return line_of(self.lines, self.moved[given] if given else key)


def _nearest(key: str, *tables: Mapping[str, str]) -> str:
    """The longest part of a key path that one of the tables has; a machine is also named by its `name`."""
    if key == "machine" and not any(key in table for table in tables):
        key = "machine.name" if any("machine.name" in table for table in tables) else key
    while key and not any(key in table for table in tables):
        key = key.rpartition(".")[0]
    return key


def show(value: object) -> str:
    """A value as its author would write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(show(item) for item in value)
    return str(value)


def read_document(path: Path) -> Document:
    """Read a study file, TOML or (named .json) JSON.

    Raises:
        ConfigError: missing, unreadable, too large, or not in that language.
    """
    where = str(path)
    content = read_guarded(path, max_input=MAX_STUDY)
    try:
        text = content.decode("utf-8")
        if path.suffix == ".json":
            raw, lines = _json(text), {}
        else:
            raw = tomllib.loads(text)
            lines = key_lines(text)
    except UnicodeDecodeError:
        raise ConfigError([_unreadable(where, 0, "not a text in UTF-8", "save it as UTF-8")]) from None
    except tomllib.TOMLDecodeError as error:
        found = _TOML_LINE.search(str(error))
        line = int(found[1]) if found and found[1] else text.count("\n") + 1
        message = f"not TOML: {_TOML_LINE.sub('', str(error)).lower()}"
        raise ConfigError([_unreadable(where, line, message, "correct this line")]) from None
    except json.JSONDecodeError as error:
        message = f"not JSON: {error.msg.lower()}"
        raise ConfigError([_unreadable(where, error.lineno, message, "correct this line")]) from None
    except (ValueError, RecursionError):
        message = "nested too deeply, or a number too long"
        raise ConfigError([_unreadable(where, 0, message, "write it flatter")]) from None
    return Document(raw=raw, where=where, lines=lines, folder=path.parent)


def _json(text: str) -> dict[str, object]:
    raw = json.loads(text)
    if not isinstance(raw, dict):
        raise json.JSONDecodeError("the outermost value is not an object", text, 0)
    return raw


def _unreadable(where: str, line: int, message: str, remedy: str) -> Problem:
    return Problem(where=where, line=line, message=message, remedy=remedy)


def find_study(name: str) -> Path:
    """The file of a study: a path, or the name of one that coalsim brings along.

    Raises:
        ConfigError: there is no such named study.
    """
    if "/" in name or Path(name).suffix in (".toml", ".json"):
        return Path(name)
    known = named_studies()
    if name in known:
        return known[name]
    if Path(name).exists():
        return Path(name)
    near = get_close_matches(name, known, n=1)
    remedy = f"did you mean {near[0]}?" if near else f"use one of {', '.join(known)}, or the path of a file"
    raise ConfigError([Problem(where=name, message="no such study", remedy=remedy)])


def named_studies() -> dict[str, Path]:
    """The studies that coalsim brings along, by name: in the package, or beside it in a source checkout."""
    with as_file(files("coalsim")) as package:
        for folder in (package / "experiments", package.parent / "experiments"):
            if folder.is_dir():
                return {path.stem: path for path in sorted(folder.glob("*.toml"))}
    return {}
