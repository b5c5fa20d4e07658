"""Running the real command line inside a test."""

import json

import pytest

from coalsim.cli import main as command_line


def accepted(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command prints that is carried out, which says nothing on stderr."""
    code = command_line.run(arguments)
    printed = capsys.readouterr()
    assert (printed.err, code) == ("", 0)
    return printed.out


def json_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    """The one document that a command prints with ``--json``."""
    document: dict[str, object] = json.loads(accepted(capsys, *arguments, "--json"))
    return document


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 2) -> list[str]:
    """The mistakes that a command names: exit code 2, a line for each on stderr, nothing on stdout."""
    assert command_line.run(arguments) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Traceback" not in printed.err
    lines = printed.err.splitlines()
    if code == 2:
        assert lines
        assert all(line.startswith("error: ") for line in lines)
        assert all(line.isprintable() for line in lines)
    return [line.removeprefix("error: ") for line in lines]
