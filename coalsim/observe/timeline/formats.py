"""Formats by name, and the file that a timeline goes into; a name that ends in .gz is packed.

| name         | opens in                                  | has                                   |
|--------------|-------------------------------------------|---------------------------------------|
| `chrome`     | ui.perfetto.dev, chrome://tracing         | everything, exact to the ps           |
| `perfetto`   | ui.perfetto.dev                           | everything, times in whole ns         |
| `speedscope` | speedscope.app                            | what CPUs do, exact to the ps         |
| `folded`     | flame graph tools                         | sums of what CPUs do, in whole ns     |
| `text`       | a pager                                   | everything, one line each             |

The same timeline gives the same bytes, packed too.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from gzip import GzipFile
from pathlib import Path
from typing import IO, cast

from coalsim.observe.timeline.chrome import write_chrome
from coalsim.observe.timeline.folded import write_folded
from coalsim.observe.timeline.perfetto import write_perfetto
from coalsim.observe.timeline.speedscope import write_speedscope
from coalsim.observe.timeline.text import write_text
from coalsim.observe.timeline.timeline import Timeline

FORMATS: Mapping[str, Callable[[Timeline, IO[bytes]], None]] = {
    "chrome": write_chrome,
    "perfetto": write_perfetto,
    "speedscope": write_speedscope,
    "folded": write_folded,
    "text": write_text,
}


def write_timeline(timeline: Timeline, format_: str, path: Path) -> None:
    """Write a timeline into a file.

    Raises:
        OSError: it cannot be written.
        ConfigError: the format needs a package that is not installed.
    """
    with ExitStack() as stack:
        file = stack.enter_context(path.open("wb"))
        if path.suffix == ".gz":
            packed = GzipFile(filename="", mode="wb", fileobj=file, compresslevel=6, mtime=0)
            FORMATS[format_](timeline, cast("IO[bytes]", stack.enter_context(packed)))
        else:
            FORMATS[format_](timeline, file)
