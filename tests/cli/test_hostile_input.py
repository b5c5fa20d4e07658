"""Input made to do harm: it is refused within bounds, or cleaned, and nothing is written elsewhere."""

import gzip
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import accepted, json_of, refused

EXCERPT = Path(__file__).parents[1] / "data" / "compile_excerpt.perf.txt.gz"
LINE = b" cc1 100 [000] 1.000000001: kmem:kfree: call_site=x+0x1 ptr=0x10\n"
ESCAPES = {
    "title": "\x1b]0;owned\x07",
    "colour": "\x1b[31m",
    "clear": "\x1b[2J",
    "one-byte": "\x9b31m",
    "turned": "\u202e",
    "bell": "\x07\x08",
}
"""What a terminal would obey, or show another way round."""
FORBIDDEN = tuple("\x1b\x07\x08\x9b\u202e")


def gzip_without_end(path: Path, line: bytes, mib: int = 8) -> Path:
    """A small file that unpacks to far more than anybody wants."""
    with gzip.open(path, "wb", compresslevel=9) as packed:
        block = line * (2**20 // len(line))
        for _ in range(mib):
            packed.write(block)
    assert path.stat().st_size < 1_000_000
    return path


@pytest.mark.parametrize("command", ["replay", "machine", "show", "import", "study", "snapshots"])
def test_a_gzip_without_end_is_refused_past_max_input(
    command: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Wherever a file can be named."""
    lines = {"replay": LINE, "study": b"a = 1\n", "snapshots": b"==== /proc/zoneinfo (before)\n"}
    bomb = str(gzip_without_end(tmp_path / "bomb.gz", lines.get(command, b"node 0 size: 4096 MB\n")))
    arguments = {
        "replay": ["replay", bomb],
        "machine": ["run", "lock_loop", "--machine", bomb],
        "show": ["machines", "show", bomb],
        "import": ["machines", "import", bomb],
        "study": ["run", bomb],
        "snapshots": ["replay", str(EXCERPT), "--snapshots", bomb],
    }[command]
    (mistake,) = refused(capsys, *arguments, "--max-input", "2MiB")
    assert mistake.startswith(bomb)
    assert "unpacked; " in mistake


@pytest.mark.parametrize(
    "document_type",
    [
        '<!DOCTYPE t [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        '<!DOCTYPE t [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE t [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]>',
    ],
    ids=["nested", "external", "parameter"],
)
def test_an_xml_that_declares_entities_is_refused(
    document_type: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Before anything is expanded or opened."""
    path = tmp_path / "bomb.xml"
    path.write_text(
        f'<?xml version="1.0"?>{document_type}<topology version="2.0"><object type="Machine"/></topology>'
    )
    for command in (["run", "lock_loop", "--machine"], ["machines", "show"], ["machines", "import"]):
        (mistake,) = refused(capsys, *command, str(path))
        assert mistake.startswith(f"{path}: it declares entities or a document type of its own; ")


def tar_with(path: Path, name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> Path:
    """A tar of one member."""
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, link
        member.size = 4 if kind == tarfile.REGTYPE else 0
        archive.addfile(member, io.BytesIO(b"0-3\n"))
    return path


@pytest.mark.parametrize("name", ["../../escaped", "a/../../escaped", "{tmp}/escaped"])
def test_a_tar_whose_paths_climb_out_is_refused_and_nothing_is_written(
    name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A tar is never unpacked to disk at all."""
    tar = tar_with(tmp_path / "climb.tar", name.format(tmp=tmp_path))
    (mistake,) = refused(capsys, "machines", "import", str(tar))
    assert "leads out of the archive" in mistake
    assert [path.name for path in tmp_path.iterdir()] == ["climb.tar"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_not_followed(
    kind: bytes, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What they point at is never read."""
    tar = tar_with(tmp_path / "link.tar", "devices/system/node/node0/cpulist", kind, "/etc/passwd")
    for mistake in refused(capsys, "machines", "import", str(tar)):
        assert mistake.startswith(str(tar))
        assert ":0:" not in mistake, "a line of the password file"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "lines",
    [
        LINE + b"a" * 1_000_000 + b"\n",
        b" cc1 100 [000] 1.0: kmem:kfree: call_site=" + b"a" * 1_000_000 + b" ptr=0x10\n",
        b"a" * 1_000_000,
    ],
    ids=["after a known line", "in an event", "without an end"],
)
def test_a_line_of_a_million_characters_is_refused(
    lines: bytes, packed: bool, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Lines may have 64 KiB; the line is named."""
    path = tmp_path / "long.txt"
    path.write_bytes(gzip.compress(lines) if packed else lines)
    (mistake,) = refused(capsys, "replay", str(path))
    number = 2 if lines.startswith(LINE) else 1
    assert mistake == (
        f"{path}:{number}: a line longer than 64 KiB; no known format has such lines: check the file"
    )


def test_a_file_with_a_mebibyte_and_no_known_line_is_refused_there(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """However long it goes on."""
    path = gzip_without_end(tmp_path / "prose.gz", b"It was a dark and stormy night.\n")
    (mistake,) = refused(capsys, "replay", str(path))
    assert mistake.startswith(
        f"{path}: no line of perf script, ftrace or trace-cmd text in the first 1 MiB; "
    )


def texts_in(value: object) -> Iterator[str]:
    """Every key and text of a document."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from texts_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts_in(item)
    elif isinstance(value, str):
        yield value


@pytest.fixture(scope="module")
def escaped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real trace whose command, call site, cache and event names hold what a terminal obeys."""
    text = gzip.decompress(EXCERPT.read_bytes()).decode()
    for word, escape in zip(
        ("record.sh", "call_site=", "name=vm_area_struct", "name=filp", "anon_vma", "GFP_KERNEL"),
        ESCAPES.values(),
        strict=True,
    ):
        text = text.replace(word, word[:6] + escape + word[6:])
    path = tmp_path_factory.mktemp("hostile") / "escaped.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_terminal_escapes_in_a_trace_reach_neither_text_nor_json(
    escaped: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Summary, document, every file of the output folder, and every table made from it."""
    folder = tmp_path / "result"
    replay = ("replay", str(escaped), "--machine", "clx2", "--clone", "8", "--mode", "closed")
    shown = [accepted(capsys, *replay, "--out", str(folder))]
    shown += texts_in(json_of(capsys, *replay))
    for file in folder.iterdir():
        text = file.read_text(encoding="utf-8")
        shown += [text, *(texts_in(json.loads(text)) if file.suffix == ".json" else ())]
    for table in (
        ("locks",),
        ("locks", "-t"),
        ("locks", "-l"),
        ("locks", "--lock-stat"),
        ("locks", "-x,"),
        ("mem",),
        ("where",),
        ("where", "--per-cpu"),
        ("where", "--folded", "-"),
    ):
        shown.append(accepted(capsys, table[0], str(folder), *table[1:]))
    for name in ("locks", "mem", "where"):
        shown += texts_in(json_of(capsys, name, str(folder)))
    for text in shown:
        assert not any(mark in text for mark in FORBIDDEN), repr(text)
    assert "owned" not in shown[0], "the whole sequence is gone, not only its first byte"
    assert "vm_area_struct" in shown[0]


@pytest.mark.parametrize("escape", ESCAPES.values(), ids=ESCAPES)
def test_terminal_escapes_in_names_that_are_typed_or_written_are_cleaned(
    escape: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Files, studies, machines, keys and values that do not exist."""
    name = f"n{escape}ope"
    for arguments in (
        [name],
        ["run", name],
        ["run", f"./{name}.toml"],
        ["replay", name],
        ["locks", name],
        ["validate", name],
        ["machines", "show", name],
        ["machines", "show", "coal", "--svg", str(tmp_path / name / "x.svg")],
        ["run", "lock_loop", "--machine", name],
        ["run", "lock_loop", "--set", f"{name}=1"],
        ["run", "lock_loop", "--set", f"workload.cpus={name}"],
        ["run", "lock_loop", "--set", f"kernel.lock={name}"],
        ["run", "lock_loop", "--set", f"kernel.profile={name}"],
        ["run", "lock_loop", "--set", f"workload.think={name}"],
    ):
        for mistake in refused(capsys, *arguments):
            assert not any(mark in mistake for mark in FORBIDDEN)


def test_terminal_escapes_in_a_study_file_are_cleaned(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Its name is shown; a mistake in it is shown too."""
    study = tmp_path / "study.toml"
    study.write_text(
        '[study]\nname = "a\\u001b[31mred\\u0007 one"\n[workload]\nkind = "kmalloc_pairs"\n'
        '[run]\nduration = "1us"\n'
    )
    text = accepted(capsys, "run", str(study))
    assert "simulated: ared one on coal" in text
    assert not any(mark in text for mark in FORBIDDEN)
    study.write_text('[workload]\nkind = "lock_loop"\n"c\\u001b[2Jpus" = "\\u001b[31m"\n')
    (mistake,) = refused(capsys, "run", str(study))
    assert mistake.startswith(f"{study}:3: workload.cpus: no such key; ")


def test_everything_that_a_run_writes_is_in_its_output_folder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names inside a study or trace do not choose where files go."""
    place = tmp_path / "deep" / "place"
    place.mkdir(parents=True)
    monkeypatch.chdir(place)
    study = tmp_path / "study.toml"
    study.write_text(
        '[study]\nname = "../../escaped"\n[workload]\nkind = "kmalloc_pairs"\n[run]\nduration = "1us"\n'
    )
    accepted(capsys, "run", str(study), "--out", "result")
    accepted(capsys, "replay", str(EXCERPT), "--out", "replayed")
    written = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    files = ("config.json", "result.json", "summary.txt")
    assert written == [
        *(f"deep/place/replayed/{name}" for name in files),
        *(f"deep/place/result/{name}" for name in files),
        "study.toml",
    ]
