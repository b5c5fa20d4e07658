"""Reading files from strangers: what is accepted, what is refused, and how it is said."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coalsim.errors import InputError
from coalsim.guarded import GuardedLines, clean, read_guarded
from coalsim.units import KIB, MIB


def lines_of(path: Path, **limits: int) -> list[tuple[int, str]]:
    return list(GuardedLines(path, **limits))


def refused(path: Path, **limits: int) -> str:
    with pytest.raises(InputError) as refusal:
        lines_of(path, **limits)
    return str(refusal.value)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_lines_are_numbered_from_one_and_come_without_their_ends(tmp_path: Path, pack: type) -> None:
    """Plain and gzip text give the same lines; CRLF is an end of line, a last line needs none."""
    file = tmp_path / "trace"
    file.write_bytes(pack(b"one\ntwo\r\n\nfour"))
    assert lines_of(file) == [(1, "one"), (2, "two"), (3, ""), (4, "four")]


def test_lines_across_blocks_are_whole(tmp_path: Path) -> None:
    """A line that straddles two read blocks is not torn."""
    lines = [f"{i} " + "x" * (i % 211) for i in range(12_000)]  # about 1.2 MB
    file = tmp_path / "trace"
    file.write_text("\n".join(lines) + "\n")
    assert lines_of(file) == list(enumerate(lines, 1))


@given(content=st.binary(max_size=2000))
def test_any_bytes_are_lines_or_a_refusal(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """No bytes make the reader fail in any other way."""
    file = tmp_path_factory.mktemp("bytes") / "file"
    file.write_bytes(content)
    try:
        lines = [line for _, line in lines_of(file, max_input=1500, max_line=100)]
    except InputError:
        return
    assert len(content) <= 1500
    assert all(len(line) <= 100 and "\n" not in line for line in lines)


def test_a_gzip_that_unpacks_without_end_stops_at_the_limit(tmp_path: Path) -> None:
    """The limit counts unpacked bytes, and reading stops at once."""
    file = tmp_path / "bomb.gz"
    file.write_bytes(gzip.compress(b"a line\n" * 2_000_000))
    reader = GuardedLines(file, max_input=MIB)
    with pytest.raises(InputError, match=r"more than 1 MiB unpacked; raise --max-input"):
        list(reader)
    assert reader.bytes_read <= MIB


def test_a_line_without_end_is_refused_with_its_number(tmp_path: Path) -> None:
    """64 KiB is the longest line; one byte more is refused, even if the file goes on for ever."""
    file = tmp_path / "long"
    file.write_text("short\n" + "x" * (64 * KIB) + "\nshort\n")
    assert len(lines_of(file)) == 3
    file.write_text("short\n" + "x" * (64 * KIB + 1) + "\n")
    assert "long:2: a line longer than 64 KiB" in refused(file)
    file.write_text("x" * 1_000_000)
    assert "long:1: a line longer than 64 KiB" in refused(file)


def test_the_line_limit_counts_bytes_of_short_files_too(tmp_path: Path) -> None:
    """A line over the limit is found wherever it stands in a block."""
    file = tmp_path / "long"
    file.write_text("ok\n" * 10 + "y" * 33 + "\nok\n")
    assert "long:11: " in refused(file, max_line=32)


def test_a_truncated_gzip_is_named_as_one(tmp_path: Path) -> None:
    """The lines before the end are read, then comes the refusal."""
    file = tmp_path / "cut.gz"
    file.write_bytes(gzip.compress(b"a line\n" * 1000)[:-10])
    assert "the gzip ends too early; copy the file again: it is truncated" in refused(file)


def test_a_damaged_gzip_is_named_as_one(tmp_path: Path) -> None:
    """A wrong checksum or garbage inside is not mistaken for the end of the file."""
    packed = bytearray(gzip.compress(b"a line\n" * 1000))
    packed[-6] ^= 0xFF
    file = tmp_path / "bad.gz"
    file.write_bytes(bytes(packed))
    assert "the gzip is damaged" in refused(file)


def test_what_cannot_be_opened_says_why(tmp_path: Path) -> None:
    """Missing files, directories and impossible names each have their line."""
    assert "nowhere: no such file; check the path" in refused(tmp_path / "nowhere")
    assert "it is a directory" in refused(tmp_path)
    assert "zero byte" in refused(Path("a\0b"))


def test_binary_data_is_refused(tmp_path: Path) -> None:
    """A zero byte is in no text."""
    file = tmp_path / "program"
    file.write_bytes(b"\x7fELF\0\0\0")
    assert "binary data, not text; give a text file" in refused(file)


def test_a_file_without_a_known_line_is_refused_within_a_mebibyte(tmp_path: Path) -> None:
    """A reader that recognises nothing stops early; one that recognises a line goes on."""
    file = tmp_path / "other"
    file.write_text("nonsense\n" * 500_000)
    reader = GuardedLines(file, expect="perf script text")
    with pytest.raises(InputError, match="no line of perf script text in the first 1 MiB"):
        list(reader)
    assert reader.bytes_read <= 2 * MIB

    reader = GuardedLines(file, expect="perf script text")
    for _ in reader:
        reader.recognised = True
    assert reader.bytes_read == file.stat().st_size


def test_an_empty_file_is_not_what_was_expected(tmp_path: Path) -> None:
    """It is said that the file is empty, rather than that lines are missing."""
    file = tmp_path / "empty"
    file.write_bytes(b"")
    assert lines_of(file) == []
    with pytest.raises(InputError, match="the file is empty; give perf script text, plain or gzip"):
        list(GuardedLines(file, expect="perf script text"))


def test_whole_files_obey_the_limit_too(tmp_path: Path) -> None:
    """`read_guarded` unpacks and bounds as the lines do."""
    file = tmp_path / "file.gz"
    file.write_bytes(gzip.compress(b"content"))
    assert read_guarded(file) == b"content"
    with pytest.raises(InputError, match="more than 3 B unpacked"):
        read_guarded(file, max_input=3)


@pytest.mark.parametrize(
    ("raw", "safe"),
    [
        ("plain text, ünï", "plain text, ünï"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b2Jgone", "gone"),
        ("a\tb\nc", "a b c"),
        ("bell\x07 null\x00", "bell null"),
        ("right\u202eto left", "rightto left"),
        ("\x1b", ""),
    ],
)
def test_text_is_cleaned_of_everything_a_terminal_obeys(raw: str, safe: str) -> None:
    """Escapes, control and invisible characters go; what can be read stays."""
    assert clean(raw) == safe


@given(st.text())
def test_clean_text_is_printable(text: str) -> None:
    """Whatever came in; and cleaning twice changes nothing."""
    once = clean(text)
    assert once.isprintable()
    assert clean(once) == once
