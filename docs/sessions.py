"""Sessions: the commands that a page shows are run, and what they print is compared with the page.

    python docs/sessions.py docs/tutorial.md            run a page and write what comes out into it

In a page, a `console` block is a session: lines that begin with ``$ `` are commands, what follows is what
they print, both streams together.  A line ``...`` stands for any lines.  A command without anything below
it is run and may print what it likes.  A `python` or `toml` block whose first line is ``# NAME.py`` or
``# NAME.toml`` is a file of that name.  The sessions of a page follow each other in one folder, which starts
empty but for what `FILES` puts there.

Invariant: a page is read as text only; nothing of it is run but its sessions.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parent
FILES = {"trace.txt.gz": DOCS.parent / "experiments" / "recordings" / "compile_excerpt.perf.txt.gz"}
"""What a page finds in its folder: a recording, as if the reader had made it."""
WIDTH = "100"
HOME = "~"
"""What the folder is called in the pages."""
SECONDS = 300.0
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# ([\w.-]+\.(?:py|toml))\n")


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command with what the page says that it prints, or a file that the page holds."""

    command: str = ""
    printed: str = ""
    file: str = ""
    content: str = ""


def steps(text: str) -> Iterator[Step]:
    """What a page does, in its order."""
    for block in _BLOCK.finditer(text):
        language, body = block.groups()
        if language in ("python", "toml") and (name := _FILE.match(body)):
            yield Step(file=name[1], content=body)
        elif language == "console":
            for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
                lines = part.splitlines(keepends=True)
                command = lines[:1]
                while command[-1].endswith("\\\n"):
                    command.append(lines[len(command)])
                yield Step(command="".join(command).rstrip("\n"), printed="".join(lines[len(command) :]))


def prepared(folder: Path) -> Path:
    """A folder with what every page finds there."""
    for name, source in FILES.items():
        shutil.copy(source, folder / name)
    return folder


def run(command: str, folder: Path) -> str:
    """What a command prints on both streams, without blanks at the ends of lines."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path, "COLUMNS": WIDTH, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    lines = [line.rstrip() for line in done.stdout.replace(str(folder), HOME).splitlines()]
    return "".join(f"{line}\n" for line in lines)


def agrees(printed: str, expected: str) -> bool:
    """Whether a command printed what the page says; nothing said is nothing promised."""
    if not expected.strip():
        return True
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == "..." else re.escape(line.rstrip()) + r"\n"
        for line in expected.rstrip("\n").splitlines()
    )
    return re.fullmatch(pattern + r"\s*", printed) is not None


def refreshed(page: Path) -> str:
    """The text of a page with what its commands print now."""
    text = page.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as made:
        folder = prepared(Path(made))
        for step in steps(text):
            if step.file:
                (folder / step.file).write_text(step.content, encoding="utf-8")
                continue
            printed = run(step.command, folder)
            if step.printed.strip() and not agrees(printed, step.printed):
                old = f"$ {step.command}\n{step.printed}"
                assert text.count(old) == 1, f"twice in the page: {step.command}"
                text = text.replace(old, f"$ {step.command}\n{printed}")
    return text


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        file = Path(argument)
        file.write_text(refreshed(file), encoding="utf-8")
